#include "app/restore/earlier_restore.hh"

#include "app/host/disk_call.hh"
#include "app/records/kept_parts.hh"
#include "app/restore/kept_snapshot.hh"
#include "app/restore/restore_reports.hh"
#include "app/restore/workspace_calls.hh"
#include "btrfs/host.hh"
#include "engine/assert.hh"
#include "engine/sha256.hh"
#include "engine/told_command.hh"

#include <functional>
#include <span>
#include <string_view>
#include <utility>

namespace bts3::app {

using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

btrfs::restored_mark mark_of(const chain_link& backup) {
  engine::sha256_hasher secret;
  const auto add = [&secret](std::string_view text) {
    secret.update(std::as_bytes(std::span(text)));
    secret.update(std::as_bytes(std::span("\n", 1)));
  };
  add(backup.key);
  for (const planner::chunk_record& chunk : backup.value.chunks) {
    add(chunk.sha256);
  }
  btrfs::restored_mark mark;
  mark.secret = secret.digest().hex();
  mark.made_at = backup.value.created_at.when().time_since_epoch().count();
  return mark;
}

earlier_verdict judge(const earlier_facts& facts, const std::string& wanted_key) {
  if (facts.recorded) {
    return *facts.recorded == wanted_key ? earlier_verdict::restored : earlier_verdict::another;
  }
  switch (facts.mark) {
    case btrfs::mark_finding::none:
      return earlier_verdict::unknown;
    case btrfs::mark_finding::as_made:
      return earlier_verdict::restored;
    case btrfs::mark_finding::changed:
      return earlier_verdict::written_to;
  }
  return earlier_verdict::unknown;
}

error refusal_of_target(earlier_verdict verdict, const earlier_facts& facts,
                        const btrfs::target_report& target, const std::string& subvolume) {
  BTS3_ASSERT(verdict != earlier_verdict::restored);
  error failure = btrfs::target_exists(target);
  if (verdict == earlier_verdict::another) {
    failure.message +=
        ": it holds the backup of manifest " + *facts.recorded + ", which was restored before";
    failure.remedy = "finish that restore (`" +
                     engine::told_command("restore", {{"--subvolume", subvolume},
                                                      {"--target", target.path()},
                                                      {"--manifest-key", *facts.recorded}}) +
                     "`), or name another target for this backup";
  } else if (verdict == earlier_verdict::written_to) {
    failure.message +=
        ": this backup was restored to it, completely, and it has been written to since";
    failure.remedy =
        "nothing is left to be done for that restore; to have the backup as it was, name another "
        "target";
  }
  return failure;
}

earlier_restore::earlier_restore(const services& with, const restore_request& request,
                                 btrfs::target_report target, const chain_link& wanted)
    : _with(with), _request(request), _target(std::move(target)), _wanted(wanted) {}

task<result<earlier_facts>> earlier_restore::find() {
  auto earlier = _with.host.receiving().earlier_work_at(_target);
  if (!earlier) {
    co_return std::move(earlier.error());
  }
  earlier_facts facts;
  if (earlier->published) {
    facts.recorded = earlier->published->manifest_key;
    co_return facts;
  }
  auto looking = look_at_mark();
  facts.mark = co_await std::move(looking);
  co_return facts;
}

task<result<exit_status>> earlier_restore::show() {
  auto finding = find();
  const auto facts = co_await std::move(finding);
  if (!facts) {
    co_return facts.error();
  }
  const earlier_verdict verdict = judge(*facts, _wanted.key);
  if (verdict != earlier_verdict::restored) {
    co_return refusal_of_target(verdict, *facts, _target, _request.wanted.subvolume);
  }
  report_restored_before(_with, _request, _target, _wanted, false);
  co_return exit_status::done;
}

task<result<exit_status>> earlier_restore::finish() {
  earlier_facts facts;
  bool kept = false;
  if (_target.interrupted) {
    auto finishing = finish_recorded();
    auto finished = co_await std::move(finishing);
    if (!finished) {
      co_return std::move(finished.error());
    }
    facts.recorded = std::move(finished->recorded);
    kept = finished->kept;
  }
  if (!facts.recorded) {
    // Nothing but an empty directory was left, or an interrupted restore stands beside it.
    auto looking = look_at_mark();
    facts.mark = co_await std::move(looking);
  }
  const earlier_verdict verdict = judge(facts, _wanted.key);
  if (verdict != earlier_verdict::restored) {
    co_return refusal_of_target(verdict, facts, _target, _request.wanted.subvolume);
  }
  if (!facts.recorded) {
    auto keeping = keep_received(nullptr);
    auto snapshot = co_await std::move(keeping);
    if (!snapshot) {
      co_return std::move(snapshot.error());
    }
    kept = *snapshot;
  }
  auto forgetting = forget_parts();
  co_await std::move(forgetting);
  const bool now = facts.recorded && !_request.one_of_all;
  _with.log.write(log_level::info, "restore",
                  now ? "interrupted_restore_finished" : "restored_before",
                  {{"manifest", _wanted.key}, {"target", _target.path()}});
  report_restored_before(_with, _request, _target, _wanted, kept);
  co_return exit_status::done;
}

// What is left beside the target, under its lock: of the wanted backup it is finished and removed.
task<result<earlier_restore::recorded_outcome>> earlier_restore::finish_recorded() {
  // What --discard is about is not finished.
  const auto earlier = _with.host.receiving().earlier_work_at(_target);
  const bool complete = _request.one_of_all && earlier && earlier->published;
  auto opening = open_workspace(_with, _target, _request.discard && !complete);
  auto workspace = co_await std::move(opening);
  if (!workspace) {
    co_return std::move(workspace.error());
  }
  recorded_outcome outcome;
  if (const auto published = (*workspace)->published()) {
    outcome.recorded = published->manifest_key;
  }
  const bool same = outcome.recorded == _wanted.key;
  result<bool> kept = false;
  result<void> finished = engine::ok();
  if (same) {
    auto keeping = keep_received(workspace->get());
    kept = co_await std::move(keeping);
  }
  if (same && kept) {
    // After a kill the target may not have reached the disk yet.
    std::function<result<void>()> sync = [this, path = (*workspace)->directory()] {
      return _with.host.receiving().sync(path);
    };
    auto syncing = disk_call(_with.loop, std::move(sync));
    finished = co_await std::move(syncing);
  }
  if (same && kept && finished) {
    auto tidying = tidy_up(_with, _request, **workspace, mark_of(_wanted));
    co_await std::move(tidying);
  }
  auto closing = close_workspace(_with.loop, **workspace);
  co_await std::move(closing);
  if (!kept) {
    co_return std::move(kept.error());
  }
  if (!finished) {
    co_return (*workspace)
        ->in_known_paths(std::move(finished.error()))
        .within("finishing an interrupted restore to " + _target.path());
  }
  outcome.kept = *kept;
  co_return outcome;
}

// What --keep-received asks for, of a target that an earlier run made, if what it was made of is
// still there: whether there is a snapshot now. `workspace`: null where nothing of it is.
task<result<bool>> earlier_restore::keep_received(btrfs::receive_workspace* workspace) {
  if (!_request.keep_received) {
    co_return false;
  }
  const kept_snapshot snapshot(_with, _request.wanted.subvolume, _wanted);
  const auto published = workspace == nullptr ? std::nullopt : workspace->published();
  if (published && !workspace->records().empty() &&
      workspace->records().back().own_uuid == published->own_uuid) {
    auto keeping = snapshot.keep(*workspace);
    auto kept = co_await std::move(keeping);
    if (!kept) {
      co_return std::move(kept.error());
    }
    co_return true;
  }
  const auto there = snapshot.is_there({});
  if (there && *there) {
    _with.log.write(log_level::info, "restore", "received_snapshot_kept",
                    {{"path", snapshot.path()}});
    co_return true;
  }
  _with.log.write(log_level::warning, "restore", "received_snapshot_not_kept",
                  {{"path", snapshot.path()},
                   {"reason", "what had been received was removed by the restore before" +
                                  (there ? "" : "; " + there.error().message)}});
  co_return false;
}

// Removing them was not synced: after a power cut they may be there again.
task<void> earlier_restore::forget_parts() {
  if (!_with.settings.s3.spool_enabled) {
    co_return;
  }
  kept_parts left(_with, _target.path(), _with.settings.global.spool_size_bytes);
  auto forgetting = left.forget();
  co_await std::move(forgetting);
}

// `none` also where the target is to be nobody's: with --discard, unless all are restored.
task<btrfs::mark_finding> earlier_restore::look_at_mark() {
  if (!_target.may_be_finished || (_request.discard && !_request.one_of_all)) {
    co_return btrfs::mark_finding::none;
  }
  std::function<result<btrfs::mark_finding>()> look = [this, path = _target.path(),
                                                       mark = mark_of(_wanted)] {
    return result<btrfs::mark_finding>(_with.host.receiving().find_mark(path, mark));
  };
  auto looking = disk_call(_with.loop, std::move(look));
  const auto found = co_await std::move(looking);
  co_return found ? *found : btrfs::mark_finding::none;
}

task<result<void>> earlier_restore::forget(const services& with, std::string target) {
  const auto found = with.host.receiving().check_target(target);
  if (!found || !found->exists || !found->interrupted) {
    co_return engine::ok();  // nothing is left of it, or nothing was restored
  }
  auto opening = open_workspace(with, *found, false);
  auto workspace = co_await std::move(opening);
  if (!workspace) {
    co_return std::move(workspace.error());
  }
  std::function<result<void>()> call = [&place = **workspace] {
    result<void> removed = place.published() ? place.remove() : engine::ok();
    place.close();
    return removed;
  };
  auto removing = disk_call(with.loop, std::move(call));
  co_return co_await std::move(removing);
}

}  // namespace bts3::app
