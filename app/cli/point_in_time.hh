// --at: a point in time as people write it.
#pragma once

#include "engine/result.hh"
#include "planner/timestamp.hh"

#include <string_view>

namespace bts3::app {

// "2026-01-02T03:04:05Z", with any UTC offset or fraction; "20260102T030405Z"; as `list` prints it,
// "2026-01-02 03:04:05+01"; or, without the zone, in local time. What is named less exactly is
// meant as a whole:
// "...T03:04Z" and "2026-01-02 03:04" the minute, "2026-01-02" the local day; the last second of it
// is returned. Of a local time that comes twice the later one. One that a change of clocks skips is
// refused.
engine::result<planner::timestamp> parse_point_in_time(std::string_view text);

}  // namespace bts3::app
