// A snapshot sent once: `btrfs send`, the inspection of its stream, its index, the upload of it,
// and what is shown of that meanwhile.
#pragma once

#include "app/backup/backup_common.hh"
#include "app/records/journal_record.hh"
#include "app/upload/index_making.hh"
#include "app/upload/stream_outcome.hh"
#include "app/upload/upload_stream.hh"
#include "btrfs/processes.hh"
#include "btrfs/stream_inspector.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace bts3::app {

class progress;

class stream_sending {
 public:
  // `parent`: the parent's snapshot, where it is known; none for a full. `before` is what an
  // earlier sending left. `described`: what is in it is wanted here, too. References must outlive
  // it.
  stream_sending(backup_common& common, const backup_intent& intent,
                 std::optional<btrfs::subvolume_info> parent, upload_ledger& ledger,
                 upload_stream::earlier_chunks before, bool described);

  // Starts the sender. Before run(), once.
  engine::result<void> start();
  // Ends in one value, when the sender has ended too.
  engine::task<stream_outcome> run();

  [[nodiscard]] upload_stream& upload() { return _upload; }
  [[nodiscard]] const upload_stream& upload() const { return _upload; }
  [[nodiscard]] const btrfs::stream_inspector& inspector() const { return _inspector; }
  // Null: none was to be made.
  [[nodiscard]] const index_making* index() const { return _index.get(); }
  // What its commands are, in a file that this host can read. Null where that was not asked for.
  [[nodiscard]] const index_making* description() const;

 private:
  // One stream, two who are told of it.
  class both_observers final : public btrfs::command_observer {
   public:
    both_observers(btrfs::command_observer& first, btrfs::command_observer& second)
        : _first(first), _second(second) {}
    void on_command(const btrfs::observed_command& command) override {
      _first.on_command(command);
      _second.on_command(command);
    }

   private:
    btrfs::command_observer& _first;
    btrfs::command_observer& _second;
  };

  void describe();
  engine::task<engine::result<void>> prove_whole();
  engine::task<void> estimate_into(progress& shown, engine::stop_token stop);
  [[nodiscard]] std::string more_progress() const;

  backup_common& _common;
  const backup_intent& _intent;
  std::optional<btrfs::subvolume_info> _parent;
  btrfs::stream_inspector _inspector;
  std::unique_ptr<index_making> _index;
  std::unique_ptr<index_making> _description;  // null: `_index` is one, or none is wanted
  std::optional<both_observers> _both;
  std::optional<age::part_seals> _seals;  // nullopt: it is not sealed
  upload_stream _upload;
  std::optional<btrfs::send_process> _send;
  bool _waited_for = false;
};

}  // namespace bts3::app
