#include "planner/schedule.hh"

#include <algorithm>
#include <cstdio>

namespace bts3::planner {

namespace {

using std::chrono::days;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;

// The slot's date as the local clock shows it at `when`.
sys_days date_shown(sys_seconds when, time_of_day run_at, const time_zone& zone) {
  const sys_seconds local = when + zone.offset_at(when);
  const sys_days date = std::chrono::floor<days>(local);
  return local - date >= run_at.after_midnight() ? date : date - days(1);
}

// The first instant in (from, to] with the offset that holds at `to`, given that the offset changes
// once between the two.
sys_seconds change_between(sys_seconds from, sys_seconds to, const time_zone& zone) {
  const seconds after = zone.offset_at(to);
  while (to - from > seconds(1)) {
    const sys_seconds middle = from + (to - from) / 2;
    (zone.offset_at(middle) == after ? to : from) = middle;
  }
  return to;
}

}  // namespace

std::optional<time_of_day> time_of_day::parse(std::string_view text) {
  const std::size_t colon = text.find(':');
  const auto number = [](std::string_view digits) {
    int value = 0;
    for (const char c : digits) {
      value = c >= '0' && c <= '9' && value >= 0 ? value * 10 + (c - '0') : -1;
    }
    return value;
  };
  if ((colon != 1 && colon != 2) || text.size() != colon + 3) {
    return std::nullopt;
  }
  const int hour = number(text.substr(0, colon));
  const int minute = number(text.substr(colon + 1));
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59) {
    return std::nullopt;
  }
  return time_of_day(std::chrono::hours(hour) + minutes(minute));
}

sys_days slot_of(timestamp when, time_of_day run_at, const time_zone& zone) {
  const sys_seconds now = when.when();
  const sys_seconds day_before = now - days(1);
  sys_days date = date_shown(now, run_at, zone);
  if (zone.offset_at(now) < zone.offset_at(day_before)) {
    // The local clock was set back within the last day: what it showed just before may be later.
    const sys_seconds set_back = change_between(day_before, now, zone);
    date = std::max(date, date_shown(set_back - seconds(1), run_at, zone));
  }
  return date;
}

timestamp slot_begin(sys_days date, time_of_day run_at, const time_zone& zone) {
  // Local time as if it were UTC; real offsets lie within a day of it (UTC-12 to UTC+14).
  const sys_seconds local = date + run_at.after_midnight();
  const sys_seconds early = local - days(1);
  const sys_seconds late = local + days(1);
  const seconds before = zone.offset_at(early);
  const seconds after = zone.offset_at(late);
  const sys_seconds by_before = local - before;
  if (zone.offset_at(by_before) == before) {
    return timestamp(by_before);  // no change yet, or the first of two
  }
  const sys_seconds by_after = local - after;
  if (zone.offset_at(by_after) == after) {
    return timestamp(by_after);
  }
  return timestamp(change_between(early, late, zone));  // skipped
}

std::string incremental_interval(const schedule& when) {
  const auto counted = [](std::int64_t count, const std::string& unit) {
    return std::to_string(count) + " " + unit + (count == 1 ? "" : "s");
  };
  const std::int64_t count = when.incremental_every.count();
  if (count == 0) {
    return counted(when.incremental_every_days, "day");
  }
  return count % 60 == 0 ? counted(count / 60, "hour") : counted(count, "minute");
}

timestamp turn_begin(timestamp when, const schedule& by, const time_zone& zone) {
  const timestamp begin = slot_begin(slot_of(when, by.run_at, zone), by.run_at, zone);
  // Where the clock is set back, a slot goes on before its own beginning.
  const auto passed = std::max(when.when() - begin.when(), seconds(0));
  return timestamp(begin.when() + passed / by.incremental_every * by.incremental_every);
}

timestamp next_turn_begin(timestamp when, const schedule& by, const time_zone& zone) {
  const timestamp next_slot = slot_begin(slot_of(when, by.run_at, zone) + days(1), by.run_at, zone);
  const timestamp next(turn_begin(when, by, zone).when() + by.incremental_every);
  return std::min(next, next_slot);
}

timestamp incremental_due_after(timestamp last, const schedule& by, const time_zone& zone) {
  if (by.incremental_every.count() > 0) {
    return next_turn_begin(last, by, zone);
  }
  return slot_begin(slot_of(last, by.run_at, zone) + days(by.incremental_every_days), by.run_at,
                    zone);
}

namespace {

std::string date_and_time(sys_seconds local, bool with_seconds) {
  const sys_days date = std::chrono::floor<days>(local);
  const std::chrono::year_month_day day(date);
  const auto time = static_cast<int>((local - date).count());
  char text[40];
  const int size = std::snprintf(text, sizeof text, "%04d-%02u-%02u %02d:%02d",
                                 static_cast<int>(day.year()), static_cast<unsigned>(day.month()),
                                 static_cast<unsigned>(day.day()), time / 3600, time / 60 % 60);
  if (with_seconds) {
    std::snprintf(text + size, sizeof text - static_cast<std::size_t>(size), ":%02d", time % 60);
  }
  return text;
}

// "Z", "+01", "-03:30".
std::string zone_text(seconds offset) {
  if (offset == seconds(0)) {
    return "Z";
  }
  const auto all = static_cast<int>(std::chrono::abs(offset).count()) / 60;
  char text[16];
  const int size =
      std::snprintf(text, sizeof text, "%c%02d", offset < seconds(0) ? '-' : '+', all / 60);
  if (all % 60 != 0) {
    std::snprintf(text + size, sizeof text - static_cast<std::size_t>(size), ":%02d", all % 60);
  }
  return text;
}

}  // namespace

std::string local_text(timestamp when, const time_zone& zone) {
  const seconds offset = zone.offset_at(when.when());
  return date_and_time(when.when() + offset, false) + zone_text(offset);
}

std::string local_text_with_seconds(timestamp when, const time_zone& zone) {
  const seconds offset = zone.offset_at(when.when());
  return date_and_time(when.when() + offset, true) + zone_text(offset);
}

std::string local_date(timestamp when, const time_zone& zone) {
  return date_and_time(when.when() + zone.offset_at(when.when()), false).substr(0, 10);
}

}  // namespace bts3::planner
