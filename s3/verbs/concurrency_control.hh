// How many requests to have in flight towards a store that says "slow down": additive increase,
// multiplicative decrease (Chiu and Jain, 1989), as TCP does it.
//
// Pure arithmetic; whoever hands out the permits carries it out.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace bts3::s3 {

class concurrency_control {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  // Starts at `most`, and never exceeds it.
  explicit concurrency_control(std::size_t most) : _most(most), _limit(most) {}

  [[nodiscard]] std::size_t limit() const { return _limit; }

  // A 503 or 429. Halves the limit, to one at least; returns by how much it fell. Refusals within a
  // second of the last fall are of requests that were under way then, and count as the same.
  std::size_t throttled(time_point now) {
    _succeeded = 0;
    if (_fell_once && now - _fell_at < std::chrono::seconds(1)) {
      return 0;
    }
    const std::size_t before = _limit;
    _limit = std::max<std::size_t>(1, _limit / 2);
    _fell_once = true;
    _fell_at = now;
    return before - _limit;
  }

  // A request that was carried out. True: the limit has grown by one, as it does each time that as
  // many have succeeded as are in flight.
  bool succeeded() {
    if (_limit == _most || ++_succeeded < _limit) {
      return false;
    }
    _succeeded = 0;
    ++_limit;
    return true;
  }

 private:
  std::size_t _most;
  std::size_t _limit;
  std::size_t _succeeded = 0;
  bool _fell_once = false;
  time_point _fell_at{};
};

}  // namespace bts3::s3
