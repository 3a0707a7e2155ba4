// Rules of local time for tests, independent of the machine's.
#pragma once

#include "planner/schedule.hh"

namespace bts3::testing {

// A fixed distance from UTC.
class fixed_zone final : public planner::time_zone {
 public:
  explicit fixed_zone(std::chrono::seconds offset = {}) : _offset(offset) {}
  [[nodiscard]] std::chrono::seconds offset_at(std::chrono::sys_seconds) const override {
    return _offset;
  }

 private:
  std::chrono::seconds _offset;
};

// Central European Time: an hour ahead, two between the last Sundays of March and October, changing
// at 01:00 UTC (Directive 2000/84/EC).
class central_europe final : public planner::time_zone {
 public:
  [[nodiscard]] std::chrono::seconds offset_at(std::chrono::sys_seconds when) const override {
    using namespace std::chrono;
    const year_month_day day(floor<days>(when));
    const sys_seconds summer = sys_days(day.year() / March / Sunday[last]) + hours(1);
    const sys_seconds winter = sys_days(day.year() / October / Sunday[last]) + hours(1);
    return when >= summer && when < winter ? hours(2) : hours(1);
  }
};

}  // namespace bts3::testing
