// When a backup is due: slots of `run_at` in local time.
//
// A run belongs to a slot, the latest `run_at` at or before it, and slots are counted in calendar
// days. So a run at 02:00:03 is never late for one made at 02:00:05 a week before, and a day of 23
// or 25 hours is a day. The rules of local time are a parameter: nothing here looks at the process.
#pragma once

#include "planner/timestamp.hh"

#include <chrono>
#include <compare>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::planner {

// Rules of local time: how far it is ahead of UTC at an instant.
class time_zone {
 public:
  virtual ~time_zone() = default;
  [[nodiscard]] virtual std::chrono::seconds offset_at(std::chrono::sys_seconds when) const = 0;
};

// A time of the day, local, in whole minutes.
class time_of_day {
 public:
  time_of_day() = default;
  // After midnight, by the clock: 0 to 1439.
  time_of_day(std::chrono::minutes after_midnight) : _after_midnight(after_midnight) {}
  // "02:00", also "2:00": 00:00 to 23:59; nullopt for anything else.
  static std::optional<time_of_day> parse(std::string_view text);

  [[nodiscard]] std::chrono::minutes after_midnight() const { return _after_midnight; }
  auto operator<=>(const time_of_day&) const = default;

 private:
  std::chrono::minutes _after_midnight{0};
};

struct schedule {
  int full_every_days = 180;
  int incremental_every_days = 7;
  // Less than a day, and then in place of the days; 0: by days.
  std::chrono::minutes incremental_every{0};
  time_of_day run_at = std::chrono::minutes(120);
};

// "7 days", "6 hours", "90 minutes": between incrementals.
[[nodiscard]] std::string incremental_interval(const schedule& when);

// The date of the slot that `when` belongs to. Never decreases as time goes on: where a clock that
// is set back repeats an hour, the slot that has begun goes on.
[[nodiscard]] std::chrono::sys_days slot_of(timestamp when, time_of_day run_at,
                                            const time_zone& zone);

// When the slot of `date` begins. A `run_at` that the day skips begins where the gap ends; of one
// that it has twice, the first counts.
[[nodiscard]] timestamp slot_begin(std::chrono::sys_days date, time_of_day run_at,
                                   const time_zone& zone);

// With an interval of less than a day a slot has turns of that length, counted from its beginning;
// the last one is cut where the next slot begins. When the turn that `when` belongs to begins, and
// when the one after it does.
[[nodiscard]] timestamp turn_begin(timestamp when, const schedule& by, const time_zone& zone);
[[nodiscard]] timestamp next_turn_begin(timestamp when, const schedule& by, const time_zone& zone);

// When the next incremental after a backup at `last` is due.
[[nodiscard]] timestamp incremental_due_after(timestamp last, const schedule& by,
                                              const time_zone& zone);

// "2026-11-21 02:00+01", local: "+05:30" where it is not whole hours, "Z" for UTC.
[[nodiscard]] std::string local_text(timestamp when, const time_zone& zone);
// "2026-11-21 02:00:03+01", local.
[[nodiscard]] std::string local_text_with_seconds(timestamp when, const time_zone& zone);
// "2026-11-21", the local day.
[[nodiscard]] std::string local_date(timestamp when, const time_zone& zone);

}  // namespace bts3::planner
