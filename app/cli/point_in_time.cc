#include "app/cli/point_in_time.hh"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <optional>
#include <string>

namespace bts3::app {

namespace {

using engine::result;
using planner::timestamp;

// A trailing "+02:00", "-0530" or "+02" as seconds east of UTC, taken off `text`.
std::optional<int> take_offset(std::string_view& text) {
  const std::size_t sign = text.find_last_of("+-");
  if (sign == std::string_view::npos || sign < text.find_first_of("T ")) {
    return std::nullopt;
  }
  std::string digits;
  for (const char c : text.substr(sign + 1)) {
    if (c >= '0' && c <= '9') {
      digits += c;
    } else if (c != ':') {
      return std::nullopt;
    }
  }
  if (digits.size() != 2 && digits.size() != 4) {
    return std::nullopt;
  }
  digits.resize(4, '0');
  const int hours = (digits[0] - '0') * 10 + digits[1] - '0';
  const int minutes = (digits[2] - '0') * 10 + digits[3] - '0';
  if (hours > 23 || minutes > 59) {
    return std::nullopt;
  }
  const int seconds = hours * 3600 + minutes * 60;
  const int east = text[sign] == '+' ? seconds : -seconds;
  text = text.substr(0, sign);
  return east;
}

// Local time as instants: none for the 30th of February and an hour that the clocks skip, of one
// that comes twice the later.
std::optional<timestamp> instant_of(const std::tm& wanted) {
  std::optional<timestamp> latest;
  for (const int summer : {-1, 0, 1}) {
    std::tm normal = wanted;
    normal.tm_isdst = summer;
    const std::time_t seconds = std::mktime(&normal);
    // mktime() moves what does not exist.
    std::tm there{};
    if (::localtime_r(&seconds, &there) == nullptr || there.tm_year != wanted.tm_year ||
        there.tm_mon != wanted.tm_mon || there.tm_mday != wanted.tm_mday ||
        there.tm_hour != wanted.tm_hour || there.tm_min != wanted.tm_min ||
        there.tm_sec != wanted.tm_sec) {
      continue;
    }
    const timestamp found{std::chrono::sys_seconds(std::chrono::seconds(seconds))};
    latest = latest ? std::max(*latest, found) : found;
  }
  return latest;
}

// The last second of the local day.
std::optional<timestamp> end_of_day(std::tm day) {
  const std::chrono::year_month_day date{std::chrono::year(day.tm_year + 1900),
                                         std::chrono::month(static_cast<unsigned>(day.tm_mon + 1)),
                                         std::chrono::day(static_cast<unsigned>(day.tm_mday))};
  if (!date.ok()) {
    return std::nullopt;
  }
  day.tm_mday += 1;
  day.tm_isdst = -1;
  const std::time_t next = std::mktime(&day);  // moved on where there is no midnight
  return timestamp(std::chrono::sys_seconds(std::chrono::seconds(next - 1)));
}

// What is named in the zone of TZ, see parse_local(), in whichever year.
std::optional<timestamp> local_time(std::string_view text) {
  std::tm wanted{};
  int day_end = -1;
  int minute_end = -1;
  int second_end = -1;
  const std::string copy(text);
  std::sscanf(copy.c_str(), "%4d-%2d-%2d%n %2d:%2d%n:%2d%n", &wanted.tm_year, &wanted.tm_mon,
              &wanted.tm_mday, &day_end, &wanted.tm_hour, &wanted.tm_min, &minute_end,
              &wanted.tm_sec, &second_end);
  wanted.tm_year -= 1900;
  wanted.tm_mon -= 1;
  const int size = static_cast<int>(copy.size());
  if (size == day_end && wanted.tm_mon >= 0 && wanted.tm_mday > 0) {
    return end_of_day(wanted);
  }
  if (size == second_end) {
    return instant_of(wanted);
  }
  if (size == minute_end) {
    const auto begin = instant_of(wanted);
    return begin ? std::optional(timestamp(begin->when() + std::chrono::seconds(59)))
                 : std::nullopt;
  }
  return std::nullopt;
}

// "2026-01-02", "2026-01-02 03:04[:05]" in the zone of TZ; the last second of what is named. Of the
// years that times in UTC may be of.
std::optional<timestamp> parse_local(std::string_view text) {
  // sscanf() would take blanks and signs before each number.
  for (std::size_t at = 0; at < text.size(); ++at) {
    const bool mark = text[at] == ' ' || text[at] == '-' || text[at] == ':';
    const bool after_digit = at > 0 && text[at - 1] >= '0' && text[at - 1] <= '9';
    if ((mark && !after_digit) || text[at] == '+') {
      return std::nullopt;
    }
  }
  const auto named = local_time(text);
  return named ? timestamp::parse(named->rfc3339()) : std::nullopt;
}

// "2026-01-02T03:04", also with a blank, of which the whole minute is meant; else `text` as it is.
std::optional<timestamp> parse_utc(std::string text) {
  std::replace(text.begin(), text.end(), ' ', 'T');
  constexpr std::size_t to_the_minute = 16;
  if (text.size() == to_the_minute) {
    const auto begin = timestamp::parse(text + ":00Z");
    return begin ? std::optional(timestamp(begin->when() + std::chrono::seconds(59)))
                 : std::nullopt;
  }
  return timestamp::parse(text + "Z");
}

}  // namespace

result<timestamp> parse_point_in_time(std::string_view text) {
  if (const auto exact = timestamp::parse(text)) {
    return *exact;
  }
  std::string_view without_offset = text;
  std::optional<int> east = take_offset(without_offset);
  if (!east && text.find_first_of("T ") != std::string_view::npos && text.ends_with('Z')) {
    without_offset.remove_suffix(1);
    east = 0;
  }
  if (east) {
    if (const auto there = parse_utc(std::string(without_offset))) {
      return timestamp(there->when() - std::chrono::seconds(*east));
    }
  }
  if (const auto local = parse_local(text)) {
    return *local;
  }
  return engine::configuration_error(
      "--at \"" + std::string(text) + "\" is no point in time",
      "write 2026-01-02T03:04:05Z, 20260102T030405Z, \"2026-01-02 03:04+01\" as list prints "
      "it, without the zone in local time, or a day, 2026-01-02");
}

}  // namespace bts3::app
