#include "app/backup/backup_beginning.hh"

#include "app/backup/hooks.hh"
#include "app/survey/unfinished.hh"
#include "app/upload/removal.hh"
#include "btrfs/host.hh"
#include "engine/offload.hh"
#include "planner/keys.hh"

#include <fmt/format.h>

#include <chrono>
#include <functional>
#include <random>
#include <utility>
#include <vector>

namespace bts3::app {

using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

// A time that no key and no snapshot carries yet, nor one that was given up since the view was
// made: those of an earlier backup must not be written again. Waits for the next second where this
// one is taken.
task<result<std::string>> backup_beginning::free_time() {
  for (;;) {
    std::string time = _common.clock.corrected().compact();
    if (time != _given_up && !_view.time_is_taken(time)) {
      co_return time;
    }
    auto waiting = _with.loop.sleep_for(std::chrono::milliseconds(200), _with.stop);
    auto waited = co_await std::move(waiting);
    if (!waited) {
      co_return std::move(waited.error());
    }
  }
}

result<backup_intent> backup_beginning::intent_at(const std::string& time) const {
  const config& settings = _with.settings;
  const planner::key_layout keys(settings.s3.prefix, _view.which.name);
  const bool full = _plan.what == planner::action::full;
  const stream_settings stream = stream_settings_of(settings, _common.host);
  backup_intent intent;
  intent.subvolume = _view.which.name;
  intent.source = _view.which.path;
  intent.kind = full ? planner::backup_kind::full : planner::backup_kind::incremental;
  intent.when = planner::timestamp::parse(time).value();
  intent.snapshot_name = btrfs::snapshot_name(_view.which.name, time, full);
  intent.snapshot_path = settings.snapshots.base_dir + "/" + intent.snapshot_name;
  intent.manifest_key = keys.manifest(intent.kind, intent.when);
  intent.keys_root = keys.root();
  intent.chunk_tag = fmt::format("{:08x}", std::random_device()());
  if (!full) {
    intent.parent_manifest = _plan.parent_manifest;
    intent.parent_snapshot = _plan.parent_snapshot;
  }
  if (_view.pointer) {
    intent.pointer_before = _view.pointer->text;
  }
  intent.endpoint_url = configured_endpoint(_with);
  intent.region = settings.s3.region;
  intent.bucket = settings.s3.bucket;
  intent.protocol = stream.protocol;
  intent.compressed_data = stream.compressed_data;
  intent.part_size = settings.s3.part_size_bytes;
  intent.chunk_size = settings.chunk_limit_bytes();
  intent.local_only = !_common.uploads();
  if (_common.sealing.wanted() && _common.uploads()) {
    auto sealing =
        _common.sealing.begin(keys.keys_object(intent.kind, intent.when, intent.chunk_tag));
    if (!sealing) {
      return std::move(sealing.error());
    }
    intent.sealing = std::move(*sealing);
  }
  return intent;
}

// On a thread of its own: the dirty data of the whole filesystem has to reach the disk first, and
// other subvolumes' uploads go on meanwhile.
task<result<btrfs::snapshot>> backup_beginning::create_snapshot(std::string time) {
  const bool full = _plan.what == planner::action::full;
  std::function<result<btrfs::snapshot>()> call = [&with = _with, which = _view.which, time, full] {
    return with.host.snapshots().create(with.settings.snapshots.base_dir, which.path, which.name,
                                        time, full);
  };
  auto creating = engine::offload(_with.loop, std::move(call));
  auto made = co_await std::move(creating);
  if (!made || !_view.source || made->info.parent_uuid == *_view.source) {
    co_return made;
  }
  error failure;
  failure.message = _view.which.path + " became another subvolume while its backup was planned";
  failure.remedy = "run the backup again";
  auto removing = remove_snapshot(_with, made->path);
  auto removed = co_await std::move(removing);
  if (!removed) {
    failure.message += "; " + removed.error().text();
  }
  co_return failure;
}

// Its time is chosen here, after whatever was waited for.
task<result<begun_backup>> backup_beginning::begin_now() {
  auto choosing = free_time();
  auto time = co_await std::move(choosing);
  if (!time) {
    co_return std::move(time.error());
  }
  _given_up = *time;
  begun_backup begun;
  auto intent = intent_at(*time);
  if (!intent) {
    co_return std::move(intent.error());
  }
  begun.intent = std::move(*intent);
  auto journalling = backup_journal::begin(_with, begun.intent);
  auto record = co_await std::move(journalling);
  if (!record) {
    co_return std::move(record.error());
  }
  begun.journal = std::move(*record);
  auto creating = create_snapshot(*time);
  auto snapshot = co_await std::move(creating);
  if (!snapshot) {
    // The journal stays when even its removal fails: the next run then finds nothing to undo.
    auto removing = begun.journal->remove();
    auto removed = co_await std::move(removing);
    if (!removed) {
      _with.log.write(log_level::warning, "backup", "journal_left",
                      {{"error", removed.error().text()}});
    }
    co_return std::move(snapshot.error());
  }
  begun.snapshot = std::move(*snapshot);
  snapshot_identity identity;
  identity.uuid = begun.snapshot.info.own_uuid.text();
  identity.ctransid = begun.snapshot.info.ctransid;
  auto noting = begun.journal->note_snapshot(std::move(identity));
  co_await std::move(noting);
  co_return std::move(begun);
}

task<result<void>> backup_beginning::run_hook(std::string name, std::vector<std::string> argv,
                                              const std::string* snapshot,
                                              engine::stop_token stop) {
  auto told = snapshot_hook_environment(name, _with.config_path, _view.which, snapshot);
  auto running = run_configured_hook(_with, std::move(name), std::move(argv), std::move(told),
                                     _common.events, stop);
  co_return co_await std::move(running);
}

// What "before_snapshot" has stopped is started again whatever became of the snapshot, also after a
// signal.
task<result<begun_backup>> backup_beginning::begin() {
  const std::vector<std::string>& before = _with.settings.hooks.before_snapshot;
  const std::vector<std::string>& after = _with.settings.hooks.after_snapshot;
  if (before.empty() && after.empty()) {
    auto beginning = begin_now();
    co_return co_await std::move(beginning);
  }
  // One at a time: what one subvolume's hook has stopped, another's must not start.
  auto waiting = _common.between_hooks.acquire(_with.stop);
  auto turn = co_await std::move(waiting);
  if (!turn) {
    co_return std::move(turn.error());
  }
  auto stopping = run_hook("before_snapshot", before, nullptr, _with.stop);
  auto stopped = co_await std::move(stopping);
  if (!stopped) {
    co_return std::move(stopped.error());
  }
  auto beginning = begin_now();
  auto begun = co_await std::move(beginning);
  const std::string path = begun ? begun->snapshot.path : "";
  auto starting = run_hook("after_snapshot", after, &path, {});
  auto started = co_await std::move(starting);
  if (!started) {
    _with.log.write(log_level::error, "backup", "hook_failed",
                    {{"hook", "after_snapshot"},
                     {"subvolume", _view.which.name},
                     {"error", started.error().text()}});
    _hooks_after = std::move(started.error());
  }
  co_return begun;
}

}  // namespace bts3::app
