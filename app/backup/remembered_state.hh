// What this host remembers of its backups, while a run changes it: the state file, written by one
// at a time.
#pragma once

#include "app/records/journal_record.hh"
#include "app/records/run_clock.hh"
#include "app/records/run_report.hh"
#include "app/records/state_store.hh"
#include "app/store/services.hh"
#include "app/survey/observer.hh"
#include "engine/result.hh"
#include "engine/semaphore.hh"
#include "engine/task.hh"

#include <string>
#include <vector>

namespace bts3::app {

class remembered_state {
 public:
  // References must outlive it.
  remembered_state(const services& with, const run_clock& clock);

  // Reads the file; before anything else, or not at all with --no-s3.
  engine::result<void> load();
  [[nodiscard]] const run_state& known() const { return _state; }

  // That backup is the last one of its subvolume. `standing`: what is known of it beside that; may
  // be empty. Returns when the file has it.
  engine::task<engine::result<void>> remember(const backup_intent& intent,
                                              snapshot_identity identity,
                                              subvolume_standing standing);
  // Where the bucket knows a newer backup than the state file, and its snapshot is here. A file
  // that cannot be written is a warning: it is a cache.
  engine::task<void> adopt(const subvolume_view& view);
  // Snapshots of that subvolume, by own UUID, that count as published ones when nothing in the
  // bucket leads to them any more. A file that cannot be written is a warning.
  engine::task<void> note_published(std::string subvolume, std::vector<std::string> snapshots);

 private:
  engine::task<engine::result<void>> save();
  engine::task<void> save_or_warn();

  const services& _with;
  const run_clock& _clock;
  state_store _states;
  run_state _state;
  engine::semaphore _saving;
};

}  // namespace bts3::app
