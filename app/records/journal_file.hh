// The journal of one backup in the making, as a file: lines appended and made durable as things
// happen (journal_codec.hh has what they say).
//
// One file for each subvolume, beside the state file. The intent is durable before the snapshot is
// made. The file is removed when the backup is published and remembered, or undone.
#pragma once

#include "app/records/journal_record.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "engine/unique_fd.hh"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace bts3::app {

class journal_file {
 public:
  // Begins a new one; the intent is durable when this returns. There must be none yet. All
  // references must outlive it.
  static engine::result<std::unique_ptr<journal_file>> begin(engine::reactor& loop,
                                                             engine::log_sink& log,
                                                             std::string path,
                                                             const backup_intent& intent);
  // Goes on with the one at `path`, after dropping a torn last line.
  static engine::result<std::unique_ptr<journal_file>> reopen(engine::reactor& loop,
                                                              engine::log_sink& log,
                                                              std::string path);

  // Returns when the line is durable. A line that cannot be written is the last one, and a warning
  // says so: what is recorded stays true, and a later run repeats more than it had to.
  engine::task<void> append(std::string line);

  // Every line so far is durable.
  [[nodiscard]] bool is_whole() const { return !_broken; }
  [[nodiscard]] const std::string& path() const { return _path; }
  // The backup is over, one way or the other.
  [[nodiscard]] engine::result<void> remove() const;

 private:
  journal_file(engine::reactor& loop, engine::log_sink& log, std::string path,
               engine::unique_fd file, std::uint64_t size)
      : _loop(loop), _log(log), _path(std::move(path)), _file(std::move(file)), _size(size) {}
  void give_up(const engine::error& failure);

  engine::reactor& _loop;
  engine::log_sink& _log;
  std::string _path;
  engine::unique_fd _file;
  std::uint64_t _size;  // bytes, of whole lines
  bool _broken = false;
};

// A file that cannot be read is an error of reason system: nothing follows from it. Reason protocol
// when it makes no sense. Nullopt when there is no file, or no whole line in it.
engine::result<std::optional<journal_record>> read_journal(const std::string& path);
// Removes the file at `path`, durably; one that is not there is removed.
engine::result<void> remove_journal(const std::string& path);
// Renames it, durably; returns `to`.
engine::result<std::string> rename_journal(const std::string& from, const std::string& to);

}  // namespace bts3::app
