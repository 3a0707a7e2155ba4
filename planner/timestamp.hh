// Points in time as backups name them: whole seconds, UTC.
#pragma once

#include <chrono>
#include <compare>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::planner {

class timestamp {
 public:
  timestamp() = default;
  explicit timestamp(std::chrono::sys_seconds when) : _when(when) {}
  // Either form below, from 1970 to 2199; fractions of a second and UTC offsets of zero ("+00:00")
  // are accepted.
  static std::optional<timestamp> parse(std::string_view text);

  [[nodiscard]] std::chrono::sys_seconds when() const { return _when; }
  [[nodiscard]] std::string compact() const;  // 20260102T030405Z, as in keys and snapshot names
  [[nodiscard]] std::string rfc3339() const;  // 2026-01-02T03:04:05Z
  auto operator<=>(const timestamp&) const = default;

 private:
  std::chrono::sys_seconds _when{};
};

}  // namespace bts3::planner
