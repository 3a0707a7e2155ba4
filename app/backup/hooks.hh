// Commands of the configuration that run before and after a backup run.
//
// No shell is involved: a command is a program and its arguments. What it is told is in its
// environment:
//   BTRFS_TO_S3_HOOK             before, after, on_failure, before_snapshot or after_snapshot
//   BTRFS_TO_S3_HOOK_CONFIG      path of the configuration file
//   BTRFS_TO_S3_HOOK_SUBVOLUMES  names of the selected subvolumes, one a line
// and, after a run:
//   BTRFS_TO_S3_HOOK_STATUS      its exit status
//   BTRFS_TO_S3_HOOK_ERROR       what went wrong first, one line; empty: nothing
//   BTRFS_TO_S3_HOOK_FAILED      names of the subvolumes that failed, one a line
//   BTRFS_TO_S3_HOOK_BACKUPS     how many backups were ended
//   BTRFS_TO_S3_HOOK_BYTES       bytes of their streams
//   BTRFS_TO_S3_HOOK_SECONDS     how long the run took so far
// and, around a snapshot, where BTRFS_TO_S3_HOOK_SUBVOLUMES is the one that it is of:
//   BTRFS_TO_S3_HOOK_PATH        path of the subvolume
//   BTRFS_TO_S3_HOOK_SNAPSHOT    after it: path of the snapshot; empty: there is none
// None of these is the override of a key: those begin with the name of a table, as in
// BTRFS_TO_S3_HOOKS_BEFORE.
#pragma once

#include "app/backup/backup_events.hh"
#include "app/config/config.hh"
#include "app/records/run_report.hh"
#include "app/store/services.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <chrono>
#include <string>
#include <vector>

namespace bts3::app {

struct hook_call {
  std::string name;               // "before", "after", "on_failure", "before_snapshot", ...
  std::vector<std::string> argv;  // not empty
  std::vector<std::string> environment_additions;
  std::chrono::milliseconds timeout{0};
};

// "NAME=value", of the list above. `subvolumes`: names. `after`: null before the run.
std::vector<std::string> hook_environment(const std::string& hook, const std::string& config_path,
                                          const std::vector<std::string>& subvolumes,
                                          const run_report* after);

// The same around the snapshot of a subvolume. `snapshot`: null before it, empty: there is none.
std::vector<std::string> snapshot_hook_environment(const std::string& hook,
                                                   const std::string& config_path,
                                                   const subvolume_config& which,
                                                   const std::string* snapshot);

// Runs the command `argv` as hook `name`, which may be ended by a further signal, and tells
// `events`. Nothing where `argv` is empty. References must outlive the task.
engine::task<engine::result<void>> run_configured_hook(const services& with, std::string name,
                                                       std::vector<std::string> argv,
                                                       std::vector<std::string> environment,
                                                       backup_events& events,
                                                       engine::stop_token stop);

// Runs it to its end and logs what it said, the last 8 KiB of each output. Errors (reason
// child_process) name the hook: it could not be started, failed, or took longer than its timeout; a
// hook that is stopped, by the timeout or by `stop`, gets SIGTERM, and after 5 s SIGKILL. One that
// ends with status 0 although `stop` was requested has succeeded; otherwise that is `cancelled`.
// References must outlive the task.
engine::task<engine::result<void>> run_hook(engine::reactor& loop, engine::log_sink& log,
                                            hook_call call, engine::stop_token stop);

}  // namespace bts3::app
