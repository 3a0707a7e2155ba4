// The time of a run: this host's clock, and what planning found it to be off by.
#pragma once

#include "engine/clock.hh"
#include "planner/timestamp.hh"

#include <chrono>

namespace bts3::app {

class run_clock {
 public:
  explicit run_clock(const engine::clock& clock) : _clock(clock) {}
  [[nodiscard]] planner::timestamp now() const {
    return planner::timestamp(std::chrono::floor<std::chrono::seconds>(_clock.now()));
  }
  // Later than what the bucket shows, however far behind this host is.
  [[nodiscard]] planner::timestamp corrected() const {
    return planner::timestamp(now().when() + _correction);
  }
  // Of the last plan.
  void correct_by(std::chrono::seconds correction) { _correction = correction; }

 private:
  const engine::clock& _clock;
  std::chrono::seconds _correction{0};
};

}  // namespace bts3::app
