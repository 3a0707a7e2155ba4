// How much of manifests is read at once: reading takes about four times a manifest's size, and how
// large manifests are the bucket says.
#pragma once

#include "app/config/config.hh"
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
  static constexpr std::size_t at_once = 12;  // that have a turn, at most

  explicit manifest_turns(engine::reactor& loop)
      : _door(loop, 1, "a turn to read a manifest"),
        _units(loop, units, "a turn to read a manifest") {}

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
  static constexpr std::size_t units = at_once;
  static constexpr std::uint64_t unit_bytes = 1024 * 1024;
  engine::semaphore _door;
  engine::semaphore _units;
};

// What a manifest may have that is read.
struct manifest_bound {
  // Of this host: a quarter of global.memory_limit_bytes or, where there is none, of half of its
  // memory; at most what a manifest may be at all. Whoever reads a manifest keeps to it.
  [[nodiscard]] static manifest_bound of_host(const config& settings);
  // Of a listing, within which a turn was had.
  [[nodiscard]] static manifest_bound of_listing(std::uint64_t bytes) { return {bytes, false}; }

  std::uint64_t bytes_max = 0;
  bool of_memory = true;
};

// Why one of `bytes` is not read, and what to do about it.
[[nodiscard]] std::string manifest_too_large(std::uint64_t bytes, manifest_bound bound);
// The same as an error about the manifest at `key` (reason configuration).
[[nodiscard]] engine::error manifest_too_large(const std::string& key, std::uint64_t bytes,
                                               manifest_bound bound);

}  // namespace bts3::app
