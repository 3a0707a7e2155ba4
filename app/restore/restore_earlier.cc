// The part of restore_job that meets a target which is there already: whose it is, and what is
// still to be done for it. It is never written to.
#include "app/host/disk_call.hh"
#include "app/restore/restore_job.hh"
#include "btrfs/snapshot_manager.hh"
#include "engine/sha256.hh"
#include "engine/told_command.hh"

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

error holds_another(const btrfs::target_report& target, const std::string& subvolume,
                    const std::string& manifest_key) {
  error failure = btrfs::target_exists(target);
  failure.message +=
      ": it holds the backup of manifest " + manifest_key + ", which was restored before";
  failure.remedy = "finish that restore (`" +
                   engine::told_command("restore", {{"--subvolume", subvolume},
                                                    {"--target", target.path()},
                                                    {"--manifest-key", manifest_key}}) +
                   "`), or name another target for this backup";
  return failure;
}

error was_written_to(const btrfs::target_report& target) {
  error failure = btrfs::target_exists(target);
  failure.message +=
      ": this backup was restored to it, completely, and it has been written to since";
  failure.remedy =
      "nothing is left to be done for that restore; to have the backup as it was, name another "
      "target";
  return failure;
}

}  // namespace

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

// What --keep-received asks for, of a target that an earlier run made, if what it was made of is
// still there: whether there is a snapshot now. `workspace`: null where nothing of it is.
task<result<bool>> restore_job::keep_of_earlier(const chain_link& wanted,
                                                btrfs::receive_workspace* workspace) {
  if (!_command.keep_received) {
    co_return false;
  }
  const auto published = workspace == nullptr ? std::nullopt : workspace->published();
  if (published && !workspace->records().empty() &&
      workspace->records().back().own_uuid == published->own_uuid) {
    auto keeping = keep_received(wanted, *workspace);
    auto kept = co_await std::move(keeping);
    if (!kept) {
      co_return std::move(kept.error());
    }
    co_return true;
  }
  const auto there = kept_before(wanted, {});
  if (there && *there) {
    _with.log.write(log_level::info, "restore", "received_snapshot_kept",
                    {{"path", kept_path(wanted)}});
    co_return true;
  }
  _with.log.write(log_level::warning, "restore", "received_snapshot_not_kept",
                  {{"path", kept_path(wanted)},
                   {"reason", "what had been received was removed by the restore before" +
                                  (there ? "" : "; " + there.error().message)}});
  co_return false;
}

// The target is there: work of ours that was ended between making it and tidying up, or of a run
// that restored all and could not restore others?
task<result<exit_status>> restore_job::finish_earlier(btrfs::target_report target,
                                                      const chain_link& wanted) {
  if (!target.interrupted) {
    auto recognising = recognise(target, wanted);
    co_return co_await std::move(recognising);
  }
  // What --discard is about is not finished.
  const auto earlier = btrfs::find_earlier_work(target);
  const bool complete = _command.all && earlier && earlier->published;
  auto opening = open_workspace(target, _command.discard && !complete);
  auto workspace = co_await std::move(opening);
  if (!workspace) {
    co_return std::move(workspace.error());
  }
  const auto published = workspace->published();
  const bool same = published && published->manifest_key == wanted.key;
  result<bool> kept = false;
  result<void> finished = engine::ok();
  const btrfs::restored_mark wanted_mark = mark_of(wanted);
  if (same) {
    auto keeping = keep_of_earlier(wanted, &*workspace);
    kept = co_await std::move(keeping);
  }
  if (same && kept) {
    // After a kill the target may not have reached the disk yet.
    std::function<result<void>()> sync = [path = workspace->directory()] {
      return btrfs::sync_filesystem(path);
    };
    auto syncing = disk_call(_with.loop, std::move(sync));
    finished = co_await std::move(syncing);
  }
  if (same && kept && finished) {
    auto tidying = tidy_up(*workspace, wanted_mark);
    co_await std::move(tidying);
  }
  auto closing = close_workspace(*workspace);
  co_await std::move(closing);
  if (!kept) {
    co_return std::move(kept.error());
  }
  if (!finished) {
    co_return workspace->in_known_paths(std::move(finished.error()))
        .within("finishing an interrupted restore to " + target.path());
  }
  if (!published) {
    // Nothing but an empty directory was left, or an interrupted restore stands beside it.
    auto recognising = recognise(target, wanted);
    co_return co_await std::move(recognising);
  }
  if (!same) {
    co_return holds_another(target, _command.subvolume, published->manifest_key);
  }
  _with.log.write(log_level::info, "restore",
                  _command.all ? "restored_before" : "interrupted_restore_finished",
                  {{"manifest", published->manifest_key}, {"target", target.path()}});
  report_earlier(target, wanted, *kept);
  co_return exit_status::done;
}

// The same where no record tells: by the mark that the target has.
task<result<exit_status>> restore_job::recognise(btrfs::target_report target,
                                                 const chain_link& wanted) {
  if (!target.may_be_finished || (_command.discard && !_command.all)) {
    co_return btrfs::target_exists(target);
  }
  std::function<result<btrfs::mark_finding>()> look = [path = target.path(),
                                                       mark = mark_of(wanted)] {
    return result<btrfs::mark_finding>(btrfs::find_mark(path, mark));
  };
  auto looking = disk_call(_with.loop, std::move(look));
  const auto found = co_await std::move(looking);
  if (!found || *found == btrfs::mark_finding::none) {
    co_return btrfs::target_exists(target);
  }
  if (*found == btrfs::mark_finding::changed) {
    co_return was_written_to(target);
  }
  if (_command.dry_run) {
    report_earlier(target, wanted, false);
    co_return exit_status::done;
  }
  auto keeping = keep_of_earlier(wanted, nullptr);
  auto kept = co_await std::move(keeping);
  if (!kept) {
    co_return std::move(kept.error());
  }
  _with.log.write(log_level::info, "restore", "restored_before",
                  {{"manifest", wanted.key}, {"target", target.path()}});
  report_earlier(target, wanted, *kept);
  co_return exit_status::done;
}

// The same for a dry run, which changes nothing.
task<result<exit_status>> restore_job::find_earlier(btrfs::target_report target,
                                                    const chain_link& wanted) {
  auto earlier = btrfs::find_earlier_work(target);
  if (!earlier) {
    co_return std::move(earlier.error());
  }
  if (!earlier->published) {
    auto recognising = recognise(target, wanted);
    co_return co_await std::move(recognising);
  }
  if (earlier->published->manifest_key != wanted.key) {
    co_return holds_another(target, _command.subvolume, earlier->published->manifest_key);
  }
  report_earlier(target, wanted, false);
  co_return exit_status::done;
}

task<result<void>> restore_job::forget() {
  const auto target = btrfs::check_target(_command.target);
  if (!target || !target->exists || !target->interrupted) {
    co_return engine::ok();  // nothing is left of it, or nothing was restored
  }
  auto opening = open_workspace(*target, false);
  auto workspace = co_await std::move(opening);
  if (!workspace) {
    co_return std::move(workspace.error());
  }
  std::function<result<void>()> call = [&workspace] {
    result<void> removed = workspace->published() ? workspace->remove() : engine::ok();
    workspace->close();
    return removed;
  };
  auto removing = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(removing);
}

}  // namespace bts3::app
