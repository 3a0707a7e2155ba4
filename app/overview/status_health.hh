// How each subvolume stands, judged from facts that were gathered.
#pragma once

#include "app/records/run_report.hh"
#include "app/records/verify_record.hh"
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
[[nodiscard]] const char* word_of(health state);
// Whether the first is worse: ok < warning < unknown < critical.
[[nodiscard]] bool is_worse(health state, health than);

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

// "full backup begun 2026-01-02 03:04, 12.0 MiB uploaded".
[[nodiscard]] std::string unfinished_text(const journalled_backup& one,
                                          const planner::time_zone& zone);

}  // namespace bts3::app
