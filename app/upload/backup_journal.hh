// The journal of a backup in the making: the ledger of its upload, kept in a file. What waits for
// the state's disk waits beside the event loop.
#pragma once

#include "app/records/journal_file.hh"
#include "app/store/services.hh"
#include "app/upload/upload_ledger.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/timestamp.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace bts3::app {

class backup_journal final : public upload_ledger {
 public:
  backup_journal(engine::reactor& loop, std::unique_ptr<journal_file> file)
      : _loop(loop), _file(std::move(file)) {}
  // Begins a new one in its place; the intent is durable then.
  static engine::task<engine::result<std::unique_ptr<backup_journal>>> begin(const services& with,
                                                                             backup_intent intent);

  engine::task<void> note_snapshot(snapshot_identity identity);
  engine::task<void> note_upload(std::uint32_t chunk, std::string id, bool checksums,
                                 std::string written_as) override;
  engine::task<void> note_part(std::uint32_t chunk, std::uint32_t number,
                               journalled_part part) override;
  engine::task<void> note_whole(std::uint32_t chunk, std::uint64_t size, std::string sha256,
                                std::string written_as) override;
  engine::task<void> note_stored(std::uint32_t chunk, std::string etag) override;
  engine::task<void> note_discarded(std::uint32_t chunk) override;
  // Its index is about to be put. Fails where that is not durable: nobody who undoes the backup
  // would know of it.
  engine::task<engine::result<void>> note_index(planner::index_record index);

  [[nodiscard]] const std::string& path() const { return _file->path(); }
  // Parts and objects that this run has noted: what a later one would not have to repeat.
  [[nodiscard]] std::size_t parts_noted() const { return _parts_noted; }
  // The backup is over, one way or the other. It must outlive the call.
  engine::task<engine::result<void>> remove();

 private:
  engine::reactor& _loop;
  std::unique_ptr<journal_file> _file;
  std::size_t _parts_noted = 0;
};

// Removes the journal at `path`, of a backup that is over.
engine::task<engine::result<void>> remove_journal_at(engine::reactor& loop, std::string path);
// What could not be removed, or not even looked at, is kept in the journal at `path` under another
// name, which makes way for the next backup's, and said.
engine::task<engine::result<void>> leave_to_later(const services& with, planner::timestamp now,
                                                  std::string path, backup_intent intent,
                                                  std::string why);

}  // namespace bts3::app
