// What was in the bucket and is gone: told by whatever names it, and missed until it is forgotten
// on purpose.
#include "app/records/state_store.hh"
#include "tests/app/upkeep/verified_chain.hh"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <optional>
#include <string>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::bucket_of_backups;
using bts3::testing::has;
using bts3::testing::memory_store;
using bts3::testing::place_of_chain;
using scene = bts3::testing::verified_chain;

BOOST_AUTO_TEST_SUITE(verify_lost_suite)

BOOST_AUTO_TEST_CASE(a_manifest_that_is_listed_and_cannot_be_got_is_a_difference) {
  scene made;
  made.point_at(made.chain[1]);
  BOOST_TEST(!made.verify(verify_depth::quick).differs());
  made.store.judge_by([&](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    return call.key == made.chain[2] && call.verb == "GetObject"
               ? std::optional(memory_store::absent(call.key))
               : std::nullopt;
  });
  const verify_outcome found = made.verify(verify_depth::quick);
  BOOST_REQUIRE(found.lost.size() == 1U);
  BOOST_TEST(found.lost[0].key == made.chain[2]);
  BOOST_TEST((status_of({found}) == exit_status::verification));
}

BOOST_AUTO_TEST_CASE(a_pointer_or_parent_that_is_gone_is_a_difference) {
  scene unpointed;
  unpointed.store.erase(unpointed.keys.pointer());
  BOOST_TEST(has(unpointed.verify(verify_depth::quick).pointer_problem, "there is no "));
  scene lost;
  lost.store.erase(lost.chain[1]);
  const verify_outcome found = lost.verify(verify_depth::quick);
  BOOST_TEST(found.lost.size() == 1U);
  BOOST_TEST(has(found.pointer_problem, "does not resolve"));
  BOOST_TEST((status_of({found}) == exit_status::verification));
  // Where there is nothing, nothing was verified.
  bucket_of_backups empty;
  store_abilities abilities;
  subvolume_verifier verifier(empty.with, empty.store, abilities, {}, "data");
  BOOST_TEST(empty.loop->run(verifier.run()).has_value());
  BOOST_TEST(!verifier.outcome().differs());
  BOOST_TEST(has(verify_as_text({verifier.outcome()}, {}, 2), "nothing was verified"));
  BOOST_TEST((status_of({verifier.outcome()}) == exit_status::failed));
}

BOOST_AUTO_TEST_CASE(what_was_there_and_is_gone_is_a_difference) {
  for (const auto depth : {verify_depth::quick, verify_depth::sample, verify_depth::deep}) {
    // All of it.
    scene made;
    made.verify(depth, 1000);
    const auto runs =
        read_verify_record(made.settings.global.state_path)->find("data", place_of_chain)->runs;
    for (const std::string& key : made.keys_in_store()) {
      made.store.erase(key);
    }
    made.clock.time += std::chrono::days(1);
    const verify_outcome found = made.verify(depth, 1000);
    BOOST_TEST(found.lost.size() == 3U);
    BOOST_TEST((status_of({found}) == exit_status::verification));
    const std::string text = verify_as_text({found}, {}, 2);
    BOOST_TEST(has(text, "lost: " + made.chain[0] + ": it is gone, and prune did not delete it"),
               text);
    const auto after =
        *read_verify_record(made.settings.global.state_path)->find("data", place_of_chain);
    BOOST_TEST((after.runs == runs));  // nothing was read, and nothing is said to have been
    BOOST_TEST(has(after.elsewhere, "it is gone"));
    BOOST_TEST((status_of({made.verify(depth, 1000)}) == exit_status::verification));
    // A generation beside another.
    scene two;
    const auto newer = two.add_generation({4, 3});
    two.verify(depth, 1000);
    for (const std::string& key : two.keys_in_store()) {
      if (has(key, "202610") || has(key, "202611")) {
        const bool old =
            key != two.keys.pointer() && !has(key, "20261117") && !has(key, "20261118");
        if (old) {
          two.store.erase(key);
        }
      }
    }
    const verify_outcome half = two.verify(depth, 1000);
    BOOST_TEST(half.backups.size() == 2U);
    BOOST_TEST(half.lost.size() == 3U);
    BOOST_TEST((status_of({half}) == exit_status::verification));
  }
}

BOOST_AUTO_TEST_CASE(the_last_backup_of_the_state_is_missed_when_the_pointer_went_back) {
  scene made;
  state_store states(made.settings.global.state_path, made.clock, made.log);
  run_state state;
  state.subvolumes["data"].last_manifest = made.chain[2];
  BOOST_REQUIRE(states.save(state).has_value());
  BOOST_TEST(!made.verify(verify_depth::quick, 0, made.chain[1]).differs());
  scene never;  // no verification before
  BOOST_REQUIRE(state_store(never.settings.global.state_path, never.clock, never.log).save(state));
  for (const std::string& key : {never.chain[2], never.chunk(6, 0), never.chunk(6, 1)}) {
    never.store.erase(key);
  }
  never.point_at(never.chain[1]);
  const verify_outcome found = never.verify(verify_depth::quick);
  BOOST_REQUIRE(found.lost.size() == 1U);
  BOOST_TEST(found.lost[0].key == never.chain[2]);
  BOOST_TEST(has(found.lost[0].problem, "by the state file"), found.lost[0].problem);
  BOOST_TEST((status_of({found}) == exit_status::verification));
  // Asked for itself, too; and not missed where the state is of another prefix.
  const verify_outcome asked = never.verify(verify_depth::quick, 0, never.chain[2]);
  BOOST_TEST((status_of({asked}) == exit_status::verification));
  state.subvolumes["data"].last_manifest = "elsewhere/subvol/data/full/manifest-1.json";
  BOOST_REQUIRE(state_store(never.settings.global.state_path, never.clock, never.log).save(state));
  BOOST_TEST((status_of({never.verify(verify_depth::quick)}) == exit_status::done));
}

BOOST_AUTO_TEST_CASE(what_is_gone_can_be_forgotten_on_purpose) {
  scene made;
  made.verify(verify_depth::quick);
  for (const std::string& key : {made.chain[2], made.chunk(6, 0), made.chunk(6, 1)}) {
    made.store.erase(key);
  }
  made.point_at(made.chain[1]);
  BOOST_TEST((status_of({made.verify(verify_depth::quick)}) == exit_status::verification));
  verify_command command;
  command.forget_missing = true;
  store_abilities abilities;
  subvolume_verifier verifier(made.with, made.store, abilities, command, "data");
  BOOST_REQUIRE(made.loop->run(verifier.run()).has_value());
  BOOST_TEST((status_of({verifier.outcome()}) == exit_status::done));
  BOOST_TEST(
      has(verify_as_text({verifier.outcome()}, {}, 2), "missed no longer: " + made.chain[2]));
  BOOST_TEST((status_of({made.verify(verify_depth::quick)}) == exit_status::done));
}

BOOST_AUTO_TEST_SUITE_END()
