// What a run of `backup` did, as a value: for `--json`, the metrics file and the hooks.
#pragma once

#include "planner/manifest.hh"
#include "planner/schedule.hh"
#include "planner/timestamp.hh"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

// A backup that this run brought to its end.
struct finished_backup {
  // "made"; "resumed": an earlier run had begun it; "published": an earlier run had uploaded it.
  std::string how;
  planner::backup_kind kind = planner::backup_kind::full;
  planner::timestamp when;
  std::string manifest_key;  // empty with --no-s3
  std::uint64_t bytes = 0;   // of the stream, with what was there already
  std::uint64_t resumed_bytes = 0;
  std::uint64_t chunks = 0;
  double seconds = 0;  // of streaming in this run
  // Of an incremental that this run streamed: whether it was found that it can be received.
  std::optional<bool> proven;
};

// How a subvolume stands with the bucket; what is not known is absent.
struct subvolume_standing {
  std::optional<planner::timestamp> last_backup;
  std::optional<planner::timestamp> last_full;
  std::optional<std::uint64_t> links;  // of the chain that a restore of the last backup needs
  std::optional<std::uint64_t> last_bytes;
  std::optional<double> last_seconds;  // of streaming the last backup
};

// When the next backup begins to be due after those; absent when there is none.
std::optional<planner::timestamp> next_due(const subvolume_standing& standing,
                                           const planner::schedule& when,
                                           const planner::time_zone& zone);

enum class subvolume_status { not_reached, done, failed, cancelled };

struct subvolume_report {
  std::string name;
  subvolume_status status = subvolume_status::not_reached;
  // The plan's, empty when the run did not come to plan it.
  std::string action;
  std::string reason;
  std::string because;
  std::optional<planner::timestamp> due;  // of the next backup, after this run
  std::vector<finished_backup> backups;   // in the order of their ends
  std::string error;
  std::vector<std::string> nested_left_out;     // subvolumes below it that its backup has not
  std::vector<std::string> cannot_be_received;  // paths that `btrfs receive` has no room for
  subvolume_standing standing;
};

struct hook_report {
  std::string name;   // "before"
  std::string error;  // empty: it ended with status 0
};

struct run_totals {
  std::uint64_t backups = 0;
  std::uint64_t bytes = 0;  // of the streams of finished backups
  std::uint64_t resumed_bytes = 0;
  std::uint64_t sent_bytes = 0;  // bodies of requests, failed and repeated ones included
  std::uint64_t parts = 0;
  std::uint64_t retries = 0;
  double seconds = 0;
  double cpu_seconds = 0;  // of this process
  std::uint64_t peak_rss_bytes = 0;

  [[nodiscard]] double bytes_per_second() const {
    return seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
  }
};

struct run_report {
  planner::timestamp began;
  planner::timestamp ended;
  int exit_status = 0;
  std::string error;  // why the run as a whole failed
  bool no_s3 = false;
  run_totals totals;
  std::vector<subvolume_report> subvolumes;  // the selected ones, in the order of configuration
  std::vector<subvolume_report> others;      // configured and not selected: name and standing
  std::vector<hook_report> hooks;            // in the order in which they ran
};

// One document: {"version": 1, "exit_status": ..., ...}; times in RFC 3339, sizes in bytes.
std::string report_as_json(const run_report& report);

}  // namespace bts3::app
