// Sizes, durations, points in time, times of the day, UUIDs, versions, what the kernel says of a
// process.
#include "app/cli/point_in_time.hh"
#include "app/text/human_units.hh"
#include "btrfs/processes.hh"
#include "btrfs/receive_watch.hh"
#include "btrfs/subvolume.hh"
#include "planner/schedule.hh"
#include "planner/timestamp.hh"
#include "tests/fuzz/input.hh"

using namespace bts3;

FUZZ(one) {
  const auto text = one.text();
  bool valid = false;
  if (const auto bytes = app::parse_bytes(text)) {
    valid = true;
    (void)app::format_bytes(*bytes);
  }
  if (const auto time = app::parse_duration(text)) {
    valid = true;
    BTS3_ASSERT(time->count() >= 0);
    (void)app::format_duration(std::chrono::duration_cast<std::chrono::seconds>(*time));
  }
  if (const auto when = planner::timestamp::parse(text)) {
    valid = true;
    BTS3_ASSERT(planner::timestamp::parse(when->compact()) == *when);
    BTS3_ASSERT(planner::timestamp::parse(when->rfc3339()) == *when);
  }
  valid = app::parse_point_in_time(text).has_value() || valid;
  valid = planner::time_of_day::parse(text).has_value() || valid;
  valid = btrfs::uuid::parse(text).has_value() || valid;
  valid = btrfs::parse_version(text).has_value() || valid;
  const std::size_t line = text.find('\n');
  (void)btrfs::parse_signs(std::string(text.substr(0, line)),
                           std::string(line == std::string_view::npos ? "" : text.substr(line)));
  if (valid) {
    one.accepted();
  }
}
