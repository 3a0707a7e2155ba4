// Two files beside the lock: the state, and the copies that were kept of restored snapshots.
#include "app/records/kept_copies.hh"
#include "app/records/state_store.hh"

#include "tests/app/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <fstream>
#include <string>

using namespace bts3::app;
using namespace bts3::engine;
using bts3::testing::content_of;
using bts3::testing::error_text;
using bts3::testing::event_log;
using bts3::testing::fixed_clock;
using scratch = bts3::testing::scratch_directory;

namespace {

constexpr std::time_t now = 1'767'323'045;  // 2026-01-02T03:04:05Z

}  // namespace

BOOST_AUTO_TEST_SUITE(state_store_suite)

BOOST_AUTO_TEST_CASE(a_state_survives_and_unknown_fields_are_kept) {
  const scratch directory;
  const std::string path = directory / "new/state.json";
  event_log log;
  const fixed_clock clock(now);
  state_store store(path, clock, log);
  BOOST_TEST(store.load()->subvolumes.empty());
  run_state state;
  state.last_run_at = "2026-01-02T03:04:05Z";
  state.subvolumes["data"].last_manifest = "k";
  state.subvolumes["data"].snapshot_ctransid = 7;
  BOOST_REQUIRE(store.save(state).has_value());
  std::string text = content_of(path);
  text.replace(text.find('{'), 1, "{\"later\": 5,");
  std::ofstream(path) << text;
  auto loaded = store.load();
  BOOST_REQUIRE_MESSAGE(loaded.has_value(), error_text(loaded));
  BOOST_TEST(loaded->subvolumes.at("data").last_manifest == "k");
  BOOST_TEST(*loaded->subvolumes.at("data").snapshot_ctransid == 7u);
  BOOST_REQUIRE(store.save(*loaded).has_value());
  BOOST_TEST(content_of(path).find("\"later\": 5") != std::string::npos);
  BOOST_TEST(!std::filesystem::exists(path + ".new"));
  BOOST_TEST(log.events.empty());
}

BOOST_AUTO_TEST_CASE(a_damaged_state_is_moved_aside_and_named) {
  for (const char* damage : {"", "{\"subvolumes\": {", "[]", "{\"subvolumes\": {\"data\": 3}}"}) {
    const scratch directory;
    const std::string path = directory / "state.json";
    event_log log;
    const fixed_clock clock(now);
    state_store store(path, clock, log);
    std::ofstream(path) << damage;
    auto loaded = store.load();
    BOOST_REQUIRE_MESSAGE(loaded.has_value(), error_text(loaded));
    BOOST_TEST(loaded->subvolumes.empty());
    BOOST_TEST(!std::filesystem::exists(path));
    BOOST_TEST(content_of(path + ".damaged-20260102T030405Z") == damage);
    BOOST_TEST(log.events.size() == 1u);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(kept_copies_suite)

BOOST_AUTO_TEST_CASE(what_was_kept_is_remembered_until_it_is_forgotten_and_of_no_other_snapshot) {
  const scratch directory;
  const std::string state = directory / "new/state.json";
  const auto id = [](char digit) {
    std::string text = "00000000-0000-0000-0000-000000000000";
    text.back() = digit;
    return *bts3::btrfs::uuid::parse(text);
  };
  bts3::planner::snapshot_record record;
  record.uuid = id('1').text();
  BOOST_TEST(kept_copies(state, record).empty());
  bts3::btrfs::subvolume_info copy;
  copy.received_uuid = id('1');
  copy.own_uuid = id('2');
  copy.ctransid = 18446744073709551615ULL;
  BOOST_REQUIRE(remember_kept(state, copy).has_value());
  const auto first = kept_copies(state, record);
  BOOST_REQUIRE(first.size() == 1U);
  BOOST_TEST((first[0].own_uuid == id('2')));
  BOOST_TEST(first[0].ctransid == 18446744073709551615ULL);
  // A torn line, lines of others and nonsense are passed over.
  std::ofstream(state + ".kept", std::ios::app)
      << id('1').text() << ' ' << id('3').text() << "\n"
      << id('1').text() << ' ' << id('3').text() << " 5x\n"
      << id('1').text() << ' ' << id('3').text() << " -5\n"
      << id('4').text() << ' ' << id('3').text() << " 5\n \nno line\n"
      << id('1').text() << ' ' << id('3').text() << " 5";
  copy.own_uuid = id('5');
  copy.ctransid = 7;
  BOOST_REQUIRE(remember_kept(state, copy).has_value());
  const auto both = kept_copies(state, record);
  BOOST_REQUIRE(both.size() == 3U);  // what stood without a newline was whole
  BOOST_TEST((both[2].own_uuid == id('5')));
  // The manifest of a snapshot that had been received itself is found by either UUID.
  bts3::planner::snapshot_record other;
  other.uuid = id('9').text();
  BOOST_TEST(kept_copies(state, other).empty());
  other.received_uuid = id('1').text();
  BOOST_TEST(kept_copies(state, other).size() == 3U);
  BOOST_REQUIRE(forget_kept(state, id('1')).has_value());
  BOOST_TEST(kept_copies(state, record).empty());
  BOOST_REQUIRE(remember_kept(state, copy).has_value());
  BOOST_TEST(kept_copies(state, record).size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_file_of_copies_that_cannot_be_read_is_not_taken_for_none) {
  const scratch directory;
  const std::string state = directory / "state.json";
  std::filesystem::create_directory(state + ".kept");
  bts3::planner::snapshot_record record;
  record.uuid = "00000000-0000-0000-0000-000000000001";
  const auto copies = kept_copies(state, record);
  BOOST_REQUIRE(copies.size() == 1U);
  BOOST_TEST(copies[0].own_uuid.is_null());
  std::filesystem::remove(state + ".kept");
  // A link in its place is neither read nor written.
  std::ofstream(directory / "elsewhere") << "";
  std::filesystem::create_symlink(directory / "elsewhere", state + ".kept");
  BOOST_TEST(kept_copies(state, record).size() == 1U);
  bts3::btrfs::subvolume_info copy;
  BOOST_TEST(!remember_kept(state, copy).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
