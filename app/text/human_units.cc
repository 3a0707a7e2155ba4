#include "app/text/human_units.hh"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace bts3::app {

namespace {

struct unit {
  std::string_view name;
  double factor;
};

// A number, blanks, a unit; the number times the unit's factor.
template <std::size_t Count>
std::optional<double> parse(std::string_view text, const std::array<unit, Count>& units) {
  double number = 0;
  const auto parsed =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  // "inf" and "nan" are numbers to from_chars().
  if (parsed.ec != std::errc() || !std::isfinite(number) || number < 0) {
    return std::nullopt;
  }
  std::string_view rest(parsed.ptr,
                        static_cast<std::size_t>(text.data() + text.size() - parsed.ptr));
  while (rest.starts_with(' ')) {
    rest.remove_prefix(1);
  }
  for (const unit& one : units) {
    if (rest == one.name) {
      return number * one.factor;
    }
  }
  return std::nullopt;
}

constexpr double kibi = 1024;
constexpr std::array<unit, 14> byte_units = {{{"", 1},
                                              {"B", 1},
                                              {"K", kibi},
                                              {"KiB", kibi},
                                              {"KB", 1e3},
                                              {"M", kibi* kibi},
                                              {"MiB", kibi* kibi},
                                              {"MB", 1e6},
                                              {"G", kibi* kibi* kibi},
                                              {"GiB", kibi* kibi* kibi},
                                              {"GB", 1e9},
                                              {"T", kibi* kibi* kibi* kibi},
                                              {"TiB", kibi* kibi* kibi* kibi},
                                              {"TB", 1e12}}};
constexpr std::array<unit, 6> time_units = {
    {{"", 1e3}, {"s", 1e3}, {"ms", 1}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}}};

}  // namespace

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  const auto value = parse(text, byte_units);
  if (!value || *value >= 9.2e18) {
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(std::llround(*value));
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  const auto value = parse(text, time_units);
  constexpr std::chrono::milliseconds most = std::chrono::hours(24 * 36'500);
  if (!value || *value > static_cast<double>(most.count())) {
    return std::nullopt;
  }
  return std::chrono::milliseconds(std::llround(*value));
}

std::string format_bytes(std::uint64_t bytes) {
  static constexpr std::array<const char*, 6> names = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  std::size_t step = 0;
  while (value >= 1024 && step + 1 < names.size()) {
    value /= 1024;
    ++step;
  }
  char text[32];
  const int size =
      std::snprintf(text, sizeof text, step == 0 ? "%.0f %s" : "%.1f %s", value, names[step]);
  return std::string(text, static_cast<std::size_t>(size));
}

std::string format_duration(std::chrono::seconds time) {
  const auto count = static_cast<long long>(time.count());
  char text[64];
  if (count < 60) {
    std::snprintf(text, sizeof text, "%lld s", count);
  } else if (count < 3600) {
    std::snprintf(text, sizeof text, "%lld min %02lld s", count / 60, count % 60);
  } else {
    std::snprintf(text, sizeof text, "%lld h %02lld min", count / 3600, count / 60 % 60);
  }
  return text;
}

}  // namespace bts3::app
