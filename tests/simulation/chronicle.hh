// What happens in a history, for whoever has to understand one that went wrong; and its end, when
// it does.
//
// A history that fails ends the process: what its coroutines hold cannot be taken back. The last
// events are always known, all of them where they are told as they happen (--trace).
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace bts3::simulation {

class chronicle {
 public:
  chronicle(std::uint64_t seed, bool aloud) : _seed(seed), _aloud(aloud) {}

  // `what` is a constant.
  void note(const char* what, std::int64_t first = 0, std::int64_t second = 0);
  void at(std::chrono::steady_clock::time_point now) { _now = now; }

  // What the history set out to be, and what everyone waits for, as texts for whoever reads of its
  // failure.
  std::string plan;
  std::function<std::string()> waits;

  // Prints the seed, `why`, the plan, the last events and who waits for what, and ends the process
  // with exit status 1.
  [[noreturn]] void fail(const std::string& why) const;
  void require(bool holds, const char* why) const {
    if (!holds) {
      fail(why);
    }
  }

  // Of everything that has happened: two histories of one seed have the same.
  [[nodiscard]] std::uint64_t digest() const { return _digest; }
  [[nodiscard]] std::uint64_t events() const { return _count; }

 private:
  struct event {
    std::chrono::steady_clock::time_point when;
    const char* what = "";
    std::int64_t first = 0;
    std::int64_t second = 0;
  };
  static constexpr std::size_t kept = 64;
  static void print(const event& one);

  std::uint64_t _seed;
  bool _aloud;
  std::chrono::steady_clock::time_point _now{};
  std::array<event, kept> _last{};
  std::uint64_t _count = 0;
  std::uint64_t _digest = 0xcbf29ce484222325ULL;
};

}  // namespace bts3::simulation
