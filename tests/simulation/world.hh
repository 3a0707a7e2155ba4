// What the histories share: the played world with the program's services in it.
#pragma once

#include "app/store/services.hh"
#include "engine/reactor.hh"
#include "tests/simulation/chronicle.hh"
#include "tests/simulation/draw.hh"
#include "tests/simulation/played_kernel.hh"
#include "tests/simulation/played_store.hh"
#include "tests/support/memory_store.hh"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace bts3::simulation {

// The wall clock, which goes with played time.
class played_clock final : public engine::clock {
 public:
  explicit played_clock(const played_kernel& kernel) : _kernel(kernel) {}
  [[nodiscard]] std::chrono::system_clock::time_point now() const override {
    constexpr std::time_t begin = 1'790'000'000;
    return std::chrono::system_clock::from_time_t(begin) +
           std::chrono::duration_cast<std::chrono::system_clock::duration>(
               _kernel.now().time_since_epoch());
  }

 private:
  const played_kernel& _kernel;
};

// The program's log, as part of the history.
class played_log final : public engine::log_sink {
 public:
  played_log(chronicle& told, bool aloud) : _told(told), _aloud(aloud) {}
  using log_sink::write;
  void write(engine::log_level level, std::string_view component, std::string_view event,
             std::span<const engine::log_field> fields) override;

 private:
  chronicle& _told;
  bool _aloud;
};

struct world {
  world(std::uint64_t seed, bool aloud);
  ~world();
  world(const world&) = delete;
  world& operator=(const world&) = delete;

  // Settings that are drawn for all histories alike: parts, chunks, concurrency, patience.
  void draw_settings();
  // How much goes wrong, from nothing to nearly everything.
  void draw_troubles();
  // From now on nothing does.
  void calm_down();
  // The program is started, and has to end within that time.
  void begin_run(bool disturbed, std::chrono::hours most);
  // After which a run must have ended that meets nothing but failures.
  [[nodiscard]] std::chrono::nanoseconds patience() const;
  [[nodiscard]] s3::retry_policy retries();
  // What a run with these services needs; `stop` is its user's.
  [[nodiscard]] app::services services_with(engine::stop_token stop) const;
  // `act` happens in the program then, as what a completion brings about.
  void in_program_after(std::chrono::nanoseconds time, std::function<void()> act);
  // Nothing is under way, and nobody waits.
  void require_rest(const char* when);

  draw random;
  chronicle told;
  played_kernel kernel;
  std::unique_ptr<engine::reactor> loop;
  played_clock clock;
  played_log log;
  app::config settings;
  testing::memory_store objects;
  played_store store;
  app::store_tuning tuning;
  unsigned trouble = 0;  // in percent of the worst
};

// A send stream of `bytes`, at least 200, whose content `seed` chooses.
[[nodiscard]] std::string stream_of(std::size_t bytes, std::uint64_t seed);
[[nodiscard]] std::string sha256_of(std::string_view text);

// Each plays one history of a seed and returns when it was sound; else the process has ended.
void play_upload(world& in);
void play_download(world& in);
void play_parts(world& in);

}  // namespace bts3::simulation
