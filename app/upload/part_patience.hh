// When a stream that waits for memory is to have more of it: when the line holds it back.
//
// A stream that is kept waiting for as long as a part takes at 256 MiB/s is held back by the line,
// and wants more parts on it (one connection over TLS carries more where the processor is the
// limit). So is one that waits for more than a third of the time, once its waits have come to four
// times as much: a store may take its time over each part. Less than that is the give and take
// between a sender and a store that are both fast, however long the stream.
//
// Pure arithmetic; whoever hands out the memory carries it out.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace bts3::app {

class part_patience {
 public:
  using duration = std::chrono::steady_clock::duration;
  using time_point = std::chrono::steady_clock::time_point;

  explicit part_patience(std::size_t part_bytes)
      : _at_once(
            std::max<duration>(std::chrono::duration_cast<duration>(std::chrono::duration<double>(
                                   static_cast<double>(part_bytes) / fast_bytes_per_second)),
                               std::chrono::milliseconds(1))) {}

  // For how long a wait that begins at `now` may go on.
  [[nodiscard]] duration left(time_point now) const {
    return std::clamp<duration>(short_waits * _at_once - remembered(now), duration(0), _at_once);
  }
  // One that ended before its time.
  void waited(time_point begin, time_point end) {
    _waited = remembered(begin) + (end - begin);
    _ended = std::max(_ended, end);
  }
  // There is more memory: earlier waits say nothing about it.
  void begin_anew() { _waited = duration(0); }

 private:
  static constexpr double fast_bytes_per_second = 256.0 * 1024 * 1024;
  static constexpr int short_waits = 4;

  // Half of the time that passes between waits is taken off: a third of all of it breaks even.
  [[nodiscard]] duration remembered(time_point now) const {
    return std::max(_waited - std::max(now - _ended, duration(0)) / 2, duration(0));
  }

  duration _at_once;
  duration _waited{0};
  time_point _ended{};
};

}  // namespace bts3::app
