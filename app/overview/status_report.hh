// What status found, as people, monitors and machines read it.
#pragma once

#include "app/overview/status_health.hh"
#include "engine/clock.hh"
#include "engine/error.hh"
#include "planner/plan.hh"

#include <cstddef>
#include <string>
#include <vector>

namespace bts3::app {

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

}  // namespace bts3::app
