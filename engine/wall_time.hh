// Dates that somebody else wrote, as times of the clock: it counts nanoseconds in 64 bits, which
// end in April 2262, and a date of the year 9999 would come out as one of 1816.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace bts3::engine {

// What there are times for; from end to end they can be subtracted.
inline constexpr std::chrono::sys_days wall_time_first{std::chrono::year(1970) / 1 / 1};
inline constexpr std::chrono::sys_days wall_time_last{std::chrono::year(2200) / 1 / 1};

// The date, or the nearest that there is a time for: "never" stays far away, and "long ago" past.
[[nodiscard]] inline std::chrono::system_clock::time_point nearest_wall_time(
    std::chrono::sys_seconds when) {
  return std::clamp<std::chrono::sys_seconds>(when, wall_time_first, wall_time_last);
}

// Nullopt where there is none.
[[nodiscard]] inline std::optional<std::chrono::system_clock::time_point> exact_wall_time(
    std::chrono::sys_seconds when) {
  if (when < wall_time_first || when > wall_time_last) {
    return std::nullopt;
  }
  return std::chrono::system_clock::time_point(when);
}

}  // namespace bts3::engine
