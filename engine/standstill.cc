#include "engine/standstill.hh"

#include "engine/assert.hh"

#include <cstdint>
#include <utility>

namespace bts3::engine {

task<bool> until_it_stands_still(reactor& loop, standstill_limits limits, stop_token until) {
  BTS3_ASSERT(limits.looks >= 2 && limits.limit.count() > 0);
  std::uint64_t moves_before = loop.moves();
  unsigned quiet = 0;
  while (quiet < limits.looks) {
    auto sleeping = loop.sleep_aside(limits.limit / limits.looks, until);
    const auto slept = co_await std::move(sleeping);
    if (!slept) {
      co_return false;
    }
    const std::uint64_t moves = loop.moves();
    quiet = loop.waits_for_nothing() && moves == moves_before ? quiet + 1 : 0;
    moves_before = moves;
  }
  co_return true;
}

}  // namespace bts3::engine
