#include "app/backup/remembered_state.hh"

#include "app/host/disk_call.hh"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <utility>

namespace bts3::app {

using engine::log_level;
using engine::result;
using engine::task;

remembered_state::remembered_state(const services& with, const run_clock& clock)
    : _with(with),
      _clock(clock),
      _states(with.settings.global.state_path, with.clock, with.log),
      _saving(with.loop, 1) {}

result<void> remembered_state::load() {
  auto state = _states.load();
  if (!state) {
    return std::move(state.error());
  }
  _state = std::move(*state);
  return engine::ok();
}

// One at a time, each with all that is known by then: none puts back what a later one has written.
task<result<void>> remembered_state::save() {
  auto waiting = _saving.acquire();
  auto turn = co_await std::move(waiting);
  if (!turn) {
    co_return std::move(turn.error());
  }
  std::function<result<void>()> call = [states = &_states, known = _state] {
    return states->save(known);
  };
  auto saving = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(saving);
}

// It is a cache: this run knows, and the next one finds out again.
task<void> remembered_state::save_or_warn() {
  auto saving = save();
  auto saved = co_await std::move(saving);
  if (!saved) {
    _with.log.write(log_level::warning, "backup", "state_not_written",
                    {{"error", saved.error().text()}});
  }
}

task<result<void>> remembered_state::remember(const backup_intent& intent,
                                              snapshot_identity identity,
                                              subvolume_standing standing) {
  subvolume_state& entry = _state.subvolumes[intent.subvolume];
  entry.last_snapshot = intent.snapshot_path;
  entry.last_manifest = intent.manifest_key;
  entry.last_backup_at = intent.when.rfc3339();
  if (intent.kind == planner::backup_kind::full) {
    entry.last_full_at = intent.when.rfc3339();
  }
  entry.snapshot_uuid = identity.uuid;
  entry.snapshot_ctransid = identity.ctransid;
  entry.last_bytes = standing.last_bytes;
  entry.chain_links = standing.links;
  entry.last_milliseconds.reset();
  if (standing.last_seconds) {
    entry.last_milliseconds =
        static_cast<std::uint64_t>(std::llround(*standing.last_seconds * 1000));
  }
  _state.last_run_at = _clock.corrected().rfc3339();
  auto saving = save();
  co_return co_await std::move(saving);
}

task<void> remembered_state::adopt(const subvolume_view& view) {
  if (view.chain.empty() || !view.parent) {
    co_return;
  }
  subvolume_state& entry = _state.subvolumes[view.which.name];
  // The earlier tool's state and manifest know no UUID: from now on this one does.
  if (view.seen.remembered_manifest == view.seen.last_key && entry.snapshot_uuid) {
    co_return;
  }
  entry.last_snapshot = view.parent->path;
  entry.last_manifest = view.seen.last_key;
  entry.last_backup_at = view.chain.back().when.rfc3339();
  entry.last_full_at = view.chain.front().when.rfc3339();
  entry.snapshot_uuid = view.parent->info.own_uuid.text();
  entry.snapshot_ctransid = view.parent->info.ctransid;
  entry.last_bytes = view.chain.back().bytes;
  entry.chain_links = view.chain.size();
  entry.last_milliseconds.reset();
  _with.log.write(log_level::info, "backup", "state_rebuilt",
                  {{"subvolume", view.which.name},
                   {"manifest", entry.last_manifest},
                   {"snapshot", entry.last_snapshot}});
  auto saving = save_or_warn();
  co_await std::move(saving);
}

task<void> remembered_state::note_published(std::string subvolume,
                                            std::vector<std::string> snapshots) {
  const auto entry = _state.subvolumes.find(subvolume);
  if (entry == _state.subvolumes.end()) {
    co_return;
  }
  std::vector<std::string>& known = entry->second.pruned_snapshots;
  const std::size_t before = known.size();
  for (std::string& one : snapshots) {
    if (std::find(known.begin(), known.end(), one) == known.end()) {
      known.push_back(std::move(one));
    }
  }
  if (known.size() > before) {
    auto saving = save_or_warn();
    co_await std::move(saving);
  }
}

}  // namespace bts3::app
