#include "tests/simulation/chronicle.hh"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>

namespace bts3::simulation {

namespace {

// "Fowler/Noll/Vo", FNV-1a.
void mix(std::uint64_t& digest, std::uint64_t value) {
  for (int byte = 0; byte < 8; ++byte) {
    digest = (digest ^ (value >> (8 * byte) & 255U)) * 0x100000001b3ULL;
  }
}

}  // namespace

void chronicle::note(const char* what, std::int64_t first, std::int64_t second) {
  const event made{_now, what, first, second};
  for (const char* at = what; *at != '\0'; ++at) {
    _digest = (_digest ^ static_cast<unsigned char>(*at)) * 0x100000001b3ULL;
  }
  mix(_digest, static_cast<std::uint64_t>(_now.time_since_epoch().count()));
  mix(_digest, static_cast<std::uint64_t>(first));
  mix(_digest, static_cast<std::uint64_t>(second));
  _last[_count++ % kept] = made;
  if (_aloud) {
    print(made);
  }
}

void chronicle::print(const event& one) {
  const auto count =
      std::chrono::duration_cast<std::chrono::microseconds>(one.when.time_since_epoch()).count();
  std::printf("%6" PRId64 ".%06" PRId64 " s  %s %" PRId64 " %" PRId64 "\n",
              static_cast<std::int64_t>(count / 1'000'000),
              static_cast<std::int64_t>(count % 1'000'000), one.what, one.first, one.second);
}

void chronicle::fail(const std::string& why) const {
  std::printf("seed %" PRIu64 ": %s\n  history: %s\n", _seed, why.c_str(), plan.c_str());
  if (waits) {
    std::printf("  waits: %s\n", waits().c_str());
  }
  if (!_aloud) {
    std::printf("  the last of %" PRIu64 " events (all of them: --seed %" PRIu64 " --trace):\n",
                _count, _seed);
    for (std::uint64_t number = _count - std::min<std::uint64_t>(_count, kept); number < _count;
         ++number) {
      print(_last[number % kept]);
    }
  }
  std::fflush(stdout);
  std::_Exit(1);
}

}  // namespace bts3::simulation
