// How much of manifests is read at once: reading takes about four times a manifest's size, and how
// large manifests are the bucket says.
#pragma once

#include "app/config.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/semaphore.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

// Of manifests that are read at the same time, in all: 12 of 1 MiB or less, fewer of larger ones.
// One that is larger than all of it is read alone. Four times that is less than the 64 MiB which
// promises of memory leave beside the parts.
class manifest_turns {
 public:
  using turn = std::vector<engine::permit>;

  explicit manifest_turns(engine::reactor& loop) : _door(loop, 1), _units(loop, units) {}

  // In the order of asking, so that a large one is not passed for ever. `cancelled` when stopped.
  engine::task<engine::result<turn>> acquire(std::uint64_t bytes, engine::stop_token stop) {
    auto entering = _door.acquire(stop);
    const auto entered = co_await std::move(entering);
    if (!entered) {
      co_return entered.error();
    }
    turn mine;
    const std::uint64_t wanted = std::min<std::uint64_t>(bytes / unit_bytes + 1, units);
    while (mine.size() < wanted) {
      auto waiting = _units.acquire(stop);
      auto one = co_await std::move(waiting);
      if (!one) {
        co_return std::move(one.error());
      }
      mine.push_back(std::move(*one));
    }
    co_return std::move(mine);
  }

 private:
  static constexpr std::size_t units = 12;
  static constexpr std::uint64_t unit_bytes = 1024 * 1024;
  engine::semaphore _door;
  engine::semaphore _units;
};

// How large a manifest may be to be read here: a quarter of global.memory_limit_bytes or, where
// there is none, of half of this host's memory; at most what a manifest may be at all.
[[nodiscard]] std::uint64_t manifest_bytes_allowed(const config& settings);

// Why one of `bytes` is not read.
[[nodiscard]] std::string manifest_too_large(std::uint64_t bytes, std::uint64_t allowed);

}  // namespace bts3::app
