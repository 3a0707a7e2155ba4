// What a history draws: numbers that follow from its seed, on every machine the same.
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace bts3::simulation {

// "splitmix64" (Steele, Lea and Flood, 2014).
class draw {
 public:
  explicit draw(std::uint64_t seed)
      : _state(seed * 0x9e3779b97f4a7c15ULL + 0x2545f4914f6cdd1dULL) {}

  std::uint64_t next() {
    std::uint64_t value = _state += 0x9e3779b97f4a7c15ULL;
    value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27U)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31U);
  }
  // Less than `count`, which is at least 1.
  std::uint64_t below(std::uint64_t count) { return next() % count; }
  // Both ends may come.
  std::uint64_t between(std::uint64_t least, std::uint64_t most) {
    return least + below(most - least + 1);
  }
  bool chance(unsigned percent) { return below(100) < percent; }
  bool per_mille(unsigned count) { return below(1000) < count; }
  // Between 1 and `most`; each order of magnitude as often as the others.
  std::uint64_t any_size(std::uint64_t most) {
    const auto bits = static_cast<unsigned>(std::bit_width(most));
    const std::uint64_t top = std::min(most, std::uint64_t{1} << between(1, bits));
    return between(1, top);
  }
  std::chrono::nanoseconds any_time(std::chrono::nanoseconds most) {
    return std::chrono::nanoseconds(any_size(static_cast<std::uint64_t>(most.count())));
  }
  // Uniform in [0, 1).
  double fraction() { return static_cast<double>(next() >> 11U) * 0x1.0p-53; }
  std::string bytes(std::size_t count) {
    std::string made(count, '\0');
    for (char& one : made) {
      one = static_cast<char>(next());
    }
    return made;
  }

 private:
  std::uint64_t _state;
};

}  // namespace bts3::simulation
