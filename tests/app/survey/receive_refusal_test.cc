// What `btrfs receive` refuses is remembered, and the next backup is a full.
#include "app/survey/receive_refusal.hh"
#include "app/records/verify_record.hh"
#include "tests/app/support.hh"
#include "tests/engine/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/real_btrfs.hh"

#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using namespace bts3::testing;

namespace {

engine::error ended(int status, const std::string& said) {
  engine::error failure;
  failure.why = engine::reason::child_process;
  failure.status = status;
  failure.message = "`btrfs receive` exited with status " + std::to_string(status) + ": " + said;
  return failure;
}

chain_link link_of(const std::string& key) {
  chain_link made;
  made.key = key;
  made.value.subvolume = "data";
  return made;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct host {
  host() {
    settings.s3.bucket = "b";
    settings.s3.region = "r";
    settings.s3.prefix = "p";
    settings.global.state_path = directory / "state.json";
  }
  scratch_directory directory;
  std::unique_ptr<engine::reactor> loop = engine::testing::make_reactor();
  event_log log;
  fixed_clock clock{reference_time};
  config settings;
  const engine::environment_lookup none = [](std::string_view) { return std::nullopt; };
  const services with{*loop, log, clock, settings, bts3::testing::real_btrfs(), none, {}};
};

}  // namespace

BOOST_AUTO_TEST_SUITE(receive_refusal_suite)

BOOST_AUTO_TEST_CASE(a_receiver_that_fails_by_its_host_has_refused_nothing) {
  for (const char* const said :
       {"ERROR: rename o421-9-0/l216 -> o438-9-0 failed: No such file or directory",
        "ERROR: rename: target path invalid: aaa", "ERROR: rmdir d failed: Directory not empty",
        "ERROR: link a -> b failed: File exists", "ERROR: crc32 mismatch in command"}) {
    BOOST_TEST(is_refusal(ended(1, said)), said);
  }
  for (const char* const said :
       {"ERROR: writing to f failed: No space left on device",
        "ERROR: writing to f failed: Input/output error", "ERROR: not enough memory",
        "ERROR: mkfile f failed: Read-only file system",
        "ERROR: snapshot receive: cannot find parent subvolume 1-2: No such file or directory"}) {
    BOOST_TEST(!is_refusal(ended(1, said)), said);
  }
  // Killed, or never started.
  BOOST_TEST(!is_refusal(ended(0, "No such file or directory")));
  BOOST_TEST(!is_refusal(engine::system_error(ENOENT, "btrfs")));
}

BOOST_AUTO_TEST_CASE(the_error_names_link_command_paths_offset_and_the_way_out) {
  btrfs::stream_command command;
  command.number = 12;
  command.offset = 3456;
  command.type = 9;
  command.path = "a/b";
  command.other = "c";
  const chain_link before = link_of("manifest-1");
  const engine::error told = refusal_of(ended(1, "ERROR: rename a/b -> c failed: No such file"),
                                        link_of("manifest-2"), &command, &before);
  for (const char* const part :
       {"refused manifest-2", "command 12 (rename a/b -> c) at byte 3456", "exited with status 1",
        "backup --full --subvolume data", "--manifest-key manifest-1"}) {
    BOOST_TEST(has(told.text(), part), told.text());
  }
  const engine::error first = refusal_of(ended(1, "x"), link_of("manifest-1"), nullptr, nullptr);
  BOOST_TEST(has(first.text(), "backup --full"), first.text());
  BOOST_TEST(has(first.text(), "another chain"), first.text());
}

BOOST_AUTO_TEST_CASE(a_refusal_is_remembered_until_the_link_is_received_after_all) {
  host here;
  const std::vector<std::string> chain = {"m1", "m2", "m3"};
  BOOST_TEST(remembered_refusal(here.with, "data", chain) == "");
  here.loop->run(remember_refusal(here.with, "data", "m2", "refused: rename a -> b"));
  BOOST_TEST(remembered_refusal(here.with, "data", chain) == "m2: refused: rename a -> b");
  // Another chain, and another subvolume, have nothing to do with it.
  BOOST_TEST(remembered_refusal(here.with, "data", {"m1", "m4"}) == "");
  BOOST_TEST(remembered_refusal(here.with, "other", chain) == "");

  // What only reads refutes nothing.
  auto record = read_verify_record(here.settings.global.state_path);
  BOOST_REQUIRE(record.has_value());
  verified_link& link = record->subvolumes.at("data").links.at("m2");
  verification sound;
  sound.at = planner::timestamp::parse("2030-01-01T00:00:00Z").value();
  sound.sound = true;
  link.by_kind[verification_kind::deep] = sound;
  BOOST_TEST((link.damaged_by() == verification_kind::received));
  BOOST_TEST(!summary_of(record->subvolumes.at("data")).sound());
  BOOST_REQUIRE(write_verify_record(here.settings.global.state_path, *record).has_value());
  BOOST_TEST(remembered_refusal(here.with, "data", chain) != "");

  here.clock.time += std::chrono::minutes(1);
  here.loop->run(remember_received(here.with, "data", chain));
  BOOST_TEST(remembered_refusal(here.with, "data", chain) == "");
}

BOOST_AUTO_TEST_CASE(a_host_without_state_gets_none) {
  host here;
  here.settings.global.state_path = here.directory / "nowhere/state.json";
  here.loop->run(remember_refusal(here.with, "data", "m1", "refused"));
  BOOST_TEST(!std::filesystem::exists(here.directory / "nowhere"));
  BOOST_TEST(here.log.events.empty());
}

BOOST_AUTO_TEST_SUITE_END()
