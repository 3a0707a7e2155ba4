#include "app/exit_status.hh"
#include "app/run_lock.hh"
#include "app/state_store.hh"

#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

using namespace bts3::app;
using namespace bts3::engine;
using bts3::testing::error_text;

namespace {

class scratch {
 public:
  scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "bts3-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    _path = name;
  }
  ~scratch() { std::filesystem::remove_all(_path); }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  [[nodiscard]] std::string operator/(const char* name) const { return (_path / name).string(); }

 private:
  std::filesystem::path _path;
};

class recording_log final : public log_sink {
 public:
  using log_sink::write;
  void write(log_level, std::string_view, std::string_view event,
             std::span<const log_field>) override {
    events.emplace_back(event);
  }
  std::vector<std::string> events;
};

class fixed_clock final : public clock {
 public:
  [[nodiscard]] std::chrono::system_clock::time_point now() const override {
    return std::chrono::system_clock::from_time_t(1'767'323'045);  // 2026-01-02T03:04:05Z
  }
};

std::string content(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace

BOOST_AUTO_TEST_SUITE(run_lock_suite)

BOOST_AUTO_TEST_CASE(a_held_lock_names_its_owner_and_a_released_one_is_free_again) {
  const scratch directory;
  const std::string path = directory / "missing/lock";
  std::optional<run_lock> held;
  {
    auto first = run_lock::acquire(path);
    BOOST_REQUIRE_MESSAGE(first.has_value(), error_text(first));
    held = std::move(*first);
  }
  // Open-file-description locks exclude within a process, too.
  auto second = run_lock::acquire(path);
  BOOST_REQUIRE(!second);
  BOOST_TEST((status_of(second.error()) == exit_status::lock_held));
  BOOST_TEST(
      second.error().message.find("lock already held by pid " + std::to_string(::getpid())) == 0u);
  held.reset();
  BOOST_TEST(std::filesystem::exists(path));
  BOOST_TEST(run_lock::acquire(path).has_value());
}

BOOST_AUTO_TEST_CASE(a_stale_or_garbled_file_blocks_nothing) {
  const scratch directory;
  const std::string path = directory / "lock";
  for (const char* text : {"1\n", "999999999\n", "not a number", ""}) {
    std::ofstream(path) << text;
    auto taken = run_lock::acquire(path);
    BOOST_TEST(taken.has_value(), error_text(taken));
    BOOST_TEST(content(path) == std::to_string(::getpid()) + "\n");
  }
}

BOOST_AUTO_TEST_CASE(a_path_that_cannot_be_a_lock_is_an_error_with_its_key) {
  const scratch directory;
  std::filesystem::create_directory(directory / "lock");
  auto taken = run_lock::acquire(directory / "lock");
  BOOST_REQUIRE(!taken);
  BOOST_TEST(taken.error().message.find("global.lock_path") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(state_store_suite)

BOOST_AUTO_TEST_CASE(a_state_survives_and_unknown_fields_are_kept) {
  const scratch directory;
  const std::string path = directory / "new/state.json";
  recording_log log;
  const fixed_clock clock;
  state_store store(path, clock, log);
  BOOST_TEST(store.load()->subvolumes.empty());
  run_state state;
  state.last_run_at = "2026-01-02T03:04:05Z";
  state.subvolumes["data"].last_manifest = "k";
  state.subvolumes["data"].snapshot_ctransid = 7;
  BOOST_REQUIRE(store.save(state).has_value());
  std::string text = content(path);
  text.replace(text.find('{'), 1, "{\"later\": 5,");
  std::ofstream(path) << text;
  auto loaded = store.load();
  BOOST_REQUIRE_MESSAGE(loaded.has_value(), error_text(loaded));
  BOOST_TEST(loaded->subvolumes.at("data").last_manifest == "k");
  BOOST_TEST(*loaded->subvolumes.at("data").snapshot_ctransid == 7u);
  BOOST_REQUIRE(store.save(*loaded).has_value());
  BOOST_TEST(content(path).find("\"later\": 5") != std::string::npos);
  BOOST_TEST(!std::filesystem::exists(path + ".new"));
  BOOST_TEST(log.events.empty());
}

BOOST_AUTO_TEST_CASE(a_damaged_state_is_moved_aside_and_named) {
  for (const char* damage : {"", "{\"subvolumes\": {", "[]", "{\"subvolumes\": {\"data\": 3}}"}) {
    const scratch directory;
    const std::string path = directory / "state.json";
    recording_log log;
    const fixed_clock clock;
    state_store store(path, clock, log);
    std::ofstream(path) << damage;
    auto loaded = store.load();
    BOOST_REQUIRE_MESSAGE(loaded.has_value(), error_text(loaded));
    BOOST_TEST(loaded->subvolumes.empty());
    BOOST_TEST(!std::filesystem::exists(path));
    BOOST_TEST(content(path + ".damaged-20260102T030405Z") == damage);
    BOOST_TEST(log.events.size() == 1u);
  }
}

BOOST_AUTO_TEST_SUITE_END()
