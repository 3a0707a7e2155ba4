// simulation --seeds A..B | --seed N [--trace]: plays histories, and ends with exit status 1 at the
// first that is not sound. README.md says what is in them.
#include "engine/give_up.hh"
#include "tests/simulation/scratch.hh"
#include "tests/simulation/world.hh"

#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace bts3::simulation;

#ifdef BTS3_PLANTED
std::string_view planted;
#endif

struct order {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> seeds;  // from, to
  bool trace = false;
  bool twice = false;
  std::string_view kind;  // empty: any
};

constexpr std::string_view usage =
    "usage: simulation [--seeds A..B | --seed N] [--trace] [--twice] [--kind "
    "upload|download|parts]\n"
    "  plays the histories of these seeds; ends with 1 at the first that is not sound\n"
    "  --trace   tells what happens, as it happens\n"
    "  --twice   plays each a second time, and compares\n";

// The seed that is played, for who is killed by an assertion.
volatile std::uint64_t current_seed = 0;

extern "C" void tell_seed(int number) {
  char text[96];
  const int length =
      std::snprintf(text, sizeof text, "seed %" PRIu64 ": the program ended itself (signal %d)\n",
                    static_cast<std::uint64_t>(current_seed), number);
  (void)!::write(STDOUT_FILENO, text, static_cast<std::size_t>(length));
  ::_exit(1);
}

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  return problem == std::errc() && end == text.data() + text.size() ? std::optional(value)
                                                                    : std::nullopt;
}

bool take_seeds(std::string_view text, order& into) {
  const std::size_t dots = text.find("..");
  const auto first = number_in(text.substr(0, dots));
  const auto last = dots == std::string_view::npos ? first : number_in(text.substr(dots + 2));
  if (!first || !last || *first > *last) {
    return false;
  }
  into.seeds.emplace_back(*first, *last);
  return true;
}

bool parse(int count, char** arguments, order& into) {
  for (int at = 1; at < count; ++at) {
    const std::string_view one = arguments[at];
    const bool more = at + 1 < count;
    if (one == "--trace") {
      into.trace = true;
    } else if (one == "--twice") {
      into.twice = true;
#ifdef BTS3_PLANTED
    } else if (one == "--plant" && more) {
      planted = arguments[++at];
#endif
    } else if (one == "--kind" && more) {
      into.kind = arguments[++at];
    } else if ((one == "--seed" || one == "--seeds") && more) {
      if (!take_seeds(arguments[++at], into)) {
        return false;
      }
    } else {
      return false;
    }
  }
  if (into.seeds.empty()) {
    into.seeds.emplace_back(1, 1000);
  }
  return into.kind.empty() || into.kind == "upload" || into.kind == "download" ||
         into.kind == "parts";
}

// What a history was, to be compared.
struct played {
  std::uint64_t digest = 0;
  std::uint64_t events = 0;
  std::chrono::nanoseconds lasted{0};
};

played play(std::uint64_t seed, const order& what) {
  world in(seed, what.trace);
  const std::uint64_t which = in.random.below(100);
  if (what.kind.empty() ? which < 55 : what.kind == "upload") {
    play_upload(in);
  } else if (what.kind.empty() ? which < 90 : what.kind == "download") {
    play_download(in);
  } else {
    play_parts(in);
  }
  return {in.told.digest(), in.told.events(),
          in.kernel.now().time_since_epoch() - std::chrono::hours(1)};
}

}  // namespace

#ifdef BTS3_PLANTED
namespace bts3::simulation {
[[nodiscard]] bool is_planted(const char* name);
bool is_planted(const char* name) {
  return planted == name;
}
}  // namespace bts3::simulation
#endif

int main(int count, char** arguments) {
  order what;
  if (!parse(count, arguments, what)) {
    std::fputs(usage.data(), stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGABRT, tell_seed);
  const auto begin = std::chrono::steady_clock::now();
  std::uint64_t events = 0;
  double hours = 0;
  std::uint64_t histories = 0;
  for (const auto& [first, last] : what.seeds) {
    for (std::uint64_t seed = first; seed <= last; ++seed, ++histories) {
      current_seed = seed;
      const played once = play(seed, what);
      if (what.twice && play(seed, what).digest != once.digest) {
        std::printf("seed %" PRIu64 ": played again, it was another history\n", seed);
        return 1;
      }
      events += once.events;
      hours += std::chrono::duration<double, std::ratio<3600>>(once.lasted).count();
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("%" PRIu64 " histories, %" PRIu64
              " events, %.0f hours of played time, in %.1f s "
              "(%.0f a minute): all sound\n",
              histories, events, hours, took.count(),
              60 * static_cast<double>(histories) / took.count());
  return 0;
}
