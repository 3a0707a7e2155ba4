#include "planner/timestamp.hh"

#include <cstdio>

namespace bts3::planner {

namespace {

// Clocks count nanoseconds in 64 bits, which end in 2262: what is farther away is no time of a
// backup, and nothing that calculates with times has to reckon with it.
constexpr int year_min = 1970;
constexpr int year_max = 2199;

// Takes exactly `digits` digits from the front; nullopt when they are not there.
std::optional<int> take_number(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) {
    return std::nullopt;
  }
  int value = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') {
      return std::nullopt;
    }
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return value;
}

bool take(std::string_view& text, std::string_view what) {
  if (!text.starts_with(what)) {
    return false;
  }
  text.remove_prefix(what.size());
  return true;
}

}  // namespace

std::optional<timestamp> timestamp::parse(std::string_view text) {
  const bool extended = text.size() > 4 && text[4] == '-';
  const std::string_view date_mark = extended ? "-" : "";
  const std::string_view time_mark = extended ? ":" : "";
  const auto year = take_number(text, 4);
  const bool first = take(text, date_mark);
  const auto month = take_number(text, 2);
  const bool second = take(text, date_mark);
  const auto day = take_number(text, 2);
  const bool third = take(text, "T");
  const auto hour = take_number(text, 2);
  const bool fourth = take(text, time_mark);
  const auto minute = take_number(text, 2);
  const bool fifth = take(text, time_mark);
  const auto seconds = take_number(text, 2);
  if (!year || !month || !day || !hour || !minute || !seconds || !first || !second || !third ||
      !fourth || !fifth) {
    return std::nullopt;
  }
  if (extended && take(text, ".")) {
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
      text.remove_prefix(1);
    }
  }
  if (text != "Z" && text != "+00:00" && text != "+0000") {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok() || *year < year_min || *year > year_max || *hour > 23 || *minute > 59 ||
      *seconds > 60) {
    return std::nullopt;
  }
  return timestamp(std::chrono::sys_days(date) + std::chrono::hours(*hour) +
                   std::chrono::minutes(*minute) + std::chrono::seconds(*seconds));
}

namespace {

std::string formatted(std::chrono::sys_seconds when, const char* pattern) {
  const auto day = std::chrono::floor<std::chrono::days>(when);
  const std::chrono::year_month_day date(day);
  const auto of_day = (when - day).count();
  char text[64];
  const int size = std::snprintf(text, sizeof text, pattern, static_cast<int>(date.year()),
                                 static_cast<unsigned>(date.month()),
                                 static_cast<unsigned>(date.day()), static_cast<int>(of_day / 3600),
                                 static_cast<int>(of_day / 60 % 60), static_cast<int>(of_day % 60));
  return std::string(text, static_cast<std::size_t>(size));
}

}  // namespace

std::string timestamp::compact() const {
  return formatted(_when, "%04d%02u%02uT%02d%02d%02dZ");
}

std::string timestamp::rfc3339() const {
  return formatted(_when, "%04d-%02u-%02uT%02d:%02d:%02dZ");
}

}  // namespace bts3::planner
