// The status command, for monitoring: whether each subvolume's last backup can be restored and is
// young enough, by what the bucket says now; what is due when; what is under way; what was verified
// when, by the local record. Changes nothing and takes no lock.
//
// Exit status and first line are those of a monitoring plugin: 0 OK, 1 WARNING, 2 CRITICAL,
// 3 UNKNOWN.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "app/records/run_report.hh"
#include "app/records/verify_record.hh"
#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/plan.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace bts3::app {

enum class health { ok, warning, critical, unknown };  // as exit statuses

// A backup that is journalled: being made, or interrupted.
struct journalled_backup {
  planner::backup_kind kind = planner::backup_kind::full;
  planner::timestamp began;
  std::uint64_t uploaded_bytes = 0;  // acknowledged parts
};

// What was found out about one subvolume.
struct status_facts {
  std::string name;
  bool elsewhere = false;  // another host's, or nobody's (--from): the bucket alone counts
  std::string error;       // why it could not be looked at; empty: the rest holds
  planner::observation seen;
  planner::plan plan;
  subvolume_standing standing;
  std::optional<journalled_backup> unfinished;
  std::string journal_problem;  // why the journal cannot be read; empty: it can, or there is none
  std::size_t given_up = 0;     // journals set aside: remains that could not be removed yet
  std::set<std::string> chain;  // keys of the manifests that a restore of the last backup needs
  std::optional<verification_summary> verified;  // nullopt: never at this place, as far as known
  std::vector<std::string> gone;  // manifests that record or state know, and prune did not delete
  std::string verified_problem;   // why the record cannot be read; empty: it can, or there is none
};

struct status_rules {
  std::chrono::seconds max_age{0};
  planner::schedule when_due;
  planner::timestamp now;
  std::string running;  // PID of the run that holds the lock; empty: there is none
};

struct subvolume_health {
  status_facts facts;
  health state = health::ok;
  std::vector<std::string> problems;  // the worst first
  std::optional<planner::timestamp> due;
};

subvolume_health judge_health(status_facts facts, const status_rules& rules,
                              const planner::time_zone& zone);

struct status_report {
  status_rules rules;
  std::vector<subvolume_health> subvolumes;
  std::string error;  // why nothing could be looked at
  // Paths of snapshots of subvolumes that are configured no more; no fault, but they hold space.
  std::vector<std::string> retired_snapshots;

  [[nodiscard]] health worst() const;  // ok < warning < unknown < critical
};

// One line: "OK: 3 subvolumes, ..." or "CRITICAL: data: the last backup is 12 d old, ...".
std::string status_summary(const status_report& report);
// The summary, a table, and below each row what is wrong. `columns` 0: of any width.
std::string status_as_text(const status_report& report, const planner::time_zone& zone,
                           std::size_t columns);
std::string status_as_json(const status_report& report);

// What is printed when there is not even a configuration.
std::string status_of_nothing(const engine::error& failure, bool json, const engine::clock& clock);

// The health as an exit status.
engine::task<engine::result<exit_status>> run_status(const services& with, status_command command);

}  // namespace bts3::app
