// One backup of one subvolume, from a snapshot that is journalled to its end. The snapshot is a new
// one, made by plan (backup_beginning.hh), or that of an earlier run's journal (settling.hh).
//
// The stream is sent, its parts journalled; proof that it is whole (END seen, exit status 0);
// objects completed; of an incremental proof that it can be received; the index; of a sealed backup
// the keys object; manifest; pointer; state; journal removed. `current.json` is the commit point. A
// stream that breaks although its sender is content is sent again at once. A failure of the
// producer undoes everything; an interruption, or a store that does not answer, leaves snapshot,
// uploads and journal for the next run to go on with.
//
// Afterwards the journal is gone, since the backup is published or undone, or it says all that a
// later run needs.
#pragma once

#include "app/backup/backup_common.hh"
#include "app/backup/stream_sending.hh"
#include "app/proof/incremental_proof.hh"
#include "app/records/journal_record.hh"
#include "app/store/publication.hh"
#include "app/survey/observer.hh"
#include "app/upload/backup_journal.hh"
#include "app/upload/index_putting.hh"
#include "app/upload/stream_attempts.hh"
#include "btrfs/snapshot_manager.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/manifest.hh"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

// A snapshot with its journal.
struct begun_backup {
  backup_intent intent;
  btrfs::snapshot snapshot;
  std::unique_ptr<backup_journal> journal;
  // Of an earlier run, which had begun it, and what that has uploaded.
  bool resumed = false;
  upload_stream::earlier_chunks before = {};
  std::optional<planner::index_record> index = {};  // it may have put
};

class subvolume_backup {
 public:
  // References must outlive it. `view`: as the subvolume was when the backup was decided upon.
  subvolume_backup(backup_common& common, const subvolume_view& view, begun_backup begun);

  enum class ending {
    done,
    start_again,  // undone, and a new backup should be made at once
    refused,      // undone: it could not be received, which backup_common remembers
  };
  engine::task<engine::result<ending>> run();

 private:
  engine::task<engine::result<void>> stream_and_publish();
  engine::task<engine::result<void>> work();
  engine::task<engine::result<void>> stream();
  engine::task<engine::result<void>> prove();
  engine::task<stream_outcome> send_once();
  engine::result<void> take_sent();
  engine::task<engine::result<void>> prepare_again(const stream_outcome& outcome,
                                                   after_stream next);
  void tell_why_again(const stream_outcome& outcome, after_stream next) const;
  void note_streamed(std::chrono::steady_clock::time_point started);
  engine::task<engine::result<void>> publish();
  engine::task<engine::result<void>> move_to_it();
  engine::task<engine::result<void>> remember();
  [[nodiscard]] bool was_there(const std::optional<stored_pointer>& found) const;
  [[nodiscard]] engine::result<planner::manifest> describe();
  [[nodiscard]] engine::result<void> describe_sealing(planner::manifest& value) const;
  engine::task<engine::result<void>> put_documents();
  engine::task<void> undo();
  engine::task<bool> undo_in_bucket(engine::stop_token limit);
  engine::task<bool> may_be_pointed_at(engine::stop_token limit);
  [[nodiscard]] snapshot_identity identity() const;
  [[nodiscard]] subvolume_standing standing() const;
  [[nodiscard]] made_backup told() const;

  backup_common& _common;
  const services& _with;
  const subvolume_view& _view;
  backup_intent _intent;
  planner::key_layout _keys;
  btrfs::snapshot _snapshot;
  std::unique_ptr<backup_journal> _journal;
  bool _resumed;
  upload_stream::earlier_chunks _before;     // for the next sending
  bool _had_before = false;                  // the last one had something
  std::unique_ptr<stream_sending> _sending;  // the last one
  std::vector<planner::chunk_record> _chunks;
  index_putting _index;
  std::unique_ptr<incremental_proof> _proof;  // null: none is wanted
  std::optional<bool> _proven;                // once it was asked
  double _seconds = 0;                        // of streaming
  publication_trace _trace;
  bool _worthless = false;    // nothing of it can be used by a later run
  bool _start_again = false;  // and a new backup should be made at once
  bool _refused = false;      // and that has to be a full
  bool _published = false;
};

}  // namespace bts3::app
