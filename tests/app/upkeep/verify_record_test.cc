// What verifications leave behind: their record, which runs at one time share, and the metrics that
// are made of it.
#include "app/store/commands.hh"
#include "engine/async_scope.hh"
#include "tests/app/upkeep/verified_chain.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::error_text;
using bts3::testing::has;
using bts3::testing::place_of_chain;
using bts3::testing::problems;
using bts3::testing::restorable;
using bts3::testing::telling;
using scene = bts3::testing::verified_chain;

BOOST_AUTO_TEST_SUITE(verify_record_suite)

BOOST_AUTO_TEST_CASE(quick_does_not_clear_what_deep_has_found) {
  scene made;
  made.flip(made.chunk(20, 0), 5);
  BOOST_TEST(!made.verify(verify_depth::quick).differs());  // which does not look inside
  BOOST_TEST(made.verify(verify_depth::deep).differs());
  made.clock.time += std::chrono::hours(1);
  const verify_outcome quick = made.verify(verify_depth::quick);
  BOOST_TEST(has(problems(quick), "known to be damaged since 2026-11-21T02:00:00Z"),
             problems(quick));
  BOOST_TEST((restorable(quick) == std::vector<bool>{false, false, false}));
  BOOST_TEST(!made.proof(made.chain[0]).has_value());
  // A sample of other parts does not clear it either, and does not take it for its own finding.
  BOOST_TEST(made.verify(verify_depth::sample, 1000).differs());
  BOOST_TEST(!made.proof(made.chain[0]).has_value());
  made.flip(made.chunk(20, 0), 5);
  made.clock.time += std::chrono::hours(1);
  BOOST_TEST(!made.verify(verify_depth::deep).differs());
  BOOST_TEST(!made.verify(verify_depth::quick).differs());
  BOOST_TEST(made.proof(made.chain[0]).has_value());
}

BOOST_AUTO_TEST_CASE(the_record_outlives_damage_and_other_places) {
  scene made;
  made.verify(verify_depth::quick);
  const std::string path = verify_record_path(made.settings.global.state_path);
  BOOST_TEST(path == made.directory / "state.verified.json");
  BOOST_TEST(read_verify_record(made.settings.global.state_path)->find("data", "elsewhere") ==
             nullptr);
  BOOST_TEST(read_verify_record(made.settings.global.state_path)->find("home", place_of_chain) ==
             nullptr);
  for (const char* damage : {"{", "[]", "{\"version\":1}", "{\"version\":2,\"subvolumes\":{}}",
                             "{\"version\":1,\"subvolumes\":{\"data\":{\"place\":\"\",\"links\":"
                             "{\"k\":{\"quick\":{\"at\":\"noon\",\"sound\":true}}}}}}"}) {
    bts3::testing::write_file(path, damage);
    const auto read = read_verify_record(made.settings.global.state_path);
    BOOST_REQUIRE_MESSAGE(!read.has_value(), damage);
    BOOST_TEST(has(read.error().text(), "run `btrfs_to_s3 verify`"), read.error().text());
  }
  made.verify(verify_depth::quick);
  BOOST_TEST(made.proof(made.chain[0]).has_value());
  // What is gone from the bucket is remembered; sampling goes on behind it.
  made.verify(verify_depth::sample, 7);
  made.store.erase(made.chain[0]);
  made.verify(verify_depth::quick);
  BOOST_TEST(read_verify_record(made.settings.global.state_path)
                 ->find("data", place_of_chain)
                 ->links.contains(made.chain[0]));
}

namespace {

engine::task<void> verify_into(subvolume_verifier& verifier, engine::result<void>& ended) {
  auto running = verifier.run();
  ended = co_await std::move(running);
}

engine::task<void> verify_both(engine::reactor& loop, subvolume_verifier& one,
                               subvolume_verifier& other) {
  engine::result<void> first = engine::ok();
  engine::result<void> second = engine::ok();
  engine::async_scope scope(loop);
  scope.spawn(verify_into(one, first));
  scope.spawn(verify_into(other, second));
  auto joining = scope.join();
  co_await std::move(joining);
  BOOST_TEST(first.has_value());
  BOOST_TEST(second.has_value());
}

}  // namespace

BOOST_AUTO_TEST_CASE(two_runs_at_once_keep_what_each_has_found) {
  scene made;
  made.store.erase(made.chunk(6, 0));
  made.flip(made.chunk(13, 1), 5);
  store_abilities abilities;
  verify_command deep;
  deep.depth = verify_depth::deep;
  subvolume_verifier slow(made.with, made.store, abilities, deep, "data");
  subvolume_verifier quick(made.with, made.store, abilities, {}, "data");
  made.loop->run(verify_both(*made.loop, slow, quick));
  const auto record = read_verify_record(made.settings.global.state_path);
  BOOST_REQUIRE_MESSAGE(record.has_value(), error_text(record));
  const verified_subvolume* known = record->find("data", place_of_chain);
  BOOST_REQUIRE(known != nullptr);
  using kind = verification_kind;
  BOOST_TEST(known->runs.contains(kind::quick));
  BOOST_TEST(known->runs.contains(kind::deep));
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& found = known->links.at(made.chain[i]).by_kind;
    BOOST_REQUIRE((found.contains(kind::quick) && found.contains(kind::deep)));
    BOOST_TEST(found.at(kind::quick).sound == (i != 2));
    BOOST_TEST(found.at(kind::deep).sound == (i == 0));
  }
}

BOOST_AUTO_TEST_CASE(records_are_merged_by_what_each_run_has_changed) {
  using kind = verification_kind;
  const auto at = [](int hour) {
    return planner::timestamp(std::chrono::sys_days(std::chrono::year(2026) / 11 / 21) +
                              std::chrono::hours(hour));
  };
  verified_subvolume before;
  before.links["a"].by_kind[kind::quick] = {at(1), true, ""};
  before.links["gone"].by_kind[kind::quick] = {at(1), true, ""};
  before.links["gone and found again"].by_kind[kind::quick] = {at(1), true, ""};
  before.runs = {{kind::quick, at(9)}, {kind::deep, at(1)}};
  before.elsewhere = "lost";
  before.cursor.manifest = "a";
  verified_subvolume mine = before;
  mine.links.erase("gone");
  mine.links.erase("gone and found again");
  mine.links["a"].by_kind[kind::deep] = {at(3), false, "flipped"};
  mine.links["both"].by_kind[kind::quick] = {at(3), true, ""};
  mine.runs[kind::quick] = at(3);  // the clock was wrong before
  mine.runs[kind::deep] = at(3);
  mine.elsewhere.clear();
  verified_subvolume theirs = before;
  theirs.links["gone and found again"].by_kind[kind::quick] = {at(4), true, ""};
  theirs.links["a"].by_kind[kind::quick] = {at(2), false, "missing"};
  theirs.links["both"].by_kind[kind::quick] = {at(4), false, "missing"};
  theirs.links["new"].by_kind[kind::quick] = {at(2), true, ""};
  theirs.runs[kind::deep] = at(4);
  theirs.runs[kind::sample] = at(2);
  theirs.cursor.manifest = "new";
  theirs.at = at(4);
  const verified_subvolume all = merged(before, mine, theirs);
  BOOST_TEST(all.links.size() == 4U);
  BOOST_TEST(!all.links.contains("gone"));
  BOOST_TEST(all.links.contains("gone and found again"));
  BOOST_TEST(all.links.contains("new"));
  BOOST_TEST(all.links.at("a").by_kind.at(kind::quick).problem == "missing");
  BOOST_TEST(all.links.at("a").by_kind.at(kind::deep).problem == "flipped");
  BOOST_TEST(all.links.at("both").by_kind.at(kind::quick).problem == "missing");
  BOOST_TEST((all.runs == std::map<kind, planner::timestamp>{
                              {kind::quick, at(3)}, {kind::sample, at(2)}, {kind::deep, at(4)}}));
  BOOST_TEST(all.elsewhere.empty());
  BOOST_TEST(all.cursor.manifest == "new");
  BOOST_TEST((all.at == at(4)));
}

BOOST_AUTO_TEST_CASE(what_is_told_is_when_all_was_looked_at_how_far_sampling_is_and_what_stands) {
  scene made;
  const auto told = [&made] {
    const auto record = read_verify_record(made.settings.global.state_path);
    BOOST_REQUIRE_MESSAGE(record.has_value(), error_text(record));
    return summary_of(*record->find("data", place_of_chain));
  };
  using kind = verification_kind;
  // One chain is not all.
  made.verify(verify_depth::quick, 0, made.chain[1]);
  BOOST_TEST(told().runs.empty());
  made.verify(verify_depth::quick);
  BOOST_TEST((told().runs == std::map<kind, planner::timestamp>{{kind::quick, made.now}}));
  BOOST_TEST(told().sample_parts == 0u);
  const std::uint64_t parts = made.verify(verify_depth::sample, 4).parts;
  BOOST_TEST(told().runs.contains(kind::sample));
  BOOST_TEST(told().sample_done == 4u);
  BOOST_TEST(told().sample_parts == parts);
  made.verify(verify_depth::sample, parts - 2);  // on to the end, and around
  BOOST_TEST(told().sample_done == 2u);
  BOOST_TEST(told().sound());

  made.flip(made.chunk(13, 1), 5);
  made.verify(verify_depth::deep);
  const verification_summary damaged = told();
  BOOST_TEST(!damaged.sound());
  BOOST_REQUIRE(damaged.damaged.size() == 1u);
  BOOST_TEST(damaged.damaged[0].key == made.chain[1]);
  BOOST_TEST((damaged.damaged[0].kind == kind::deep));
  BOOST_TEST(!damaged.damaged[0].problem.empty());
  BOOST_TEST(damaged.runs.contains(kind::deep));  // it had its verdict
  made.flip(made.chunk(13, 1), 5);
  made.verify(verify_depth::quick);
  BOOST_TEST(told().damaged.size() == 1u);  // which a listing does not refute
  made.verify(verify_depth::deep);
  BOOST_TEST(told().sound());

  made.store.erase(made.chain[1]);
  made.verify(verify_depth::quick);
  BOOST_TEST(told().damaged.empty());
  BOOST_TEST(!told().elsewhere.empty());
  BOOST_TEST(!told().sound());
}

BOOST_AUTO_TEST_CASE(a_run_that_left_something_out_is_no_run_of_its_kind) {
  scene made;
  const std::string key = made.chunk(13, 0);
  const auto before = *made.store.find(key);
  made.store.put(key, before.body, "DEEP_ARCHIVE");
  made.verify(verify_depth::deep);
  const auto record = read_verify_record(made.settings.global.state_path);
  BOOST_REQUIRE_MESSAGE(record.has_value(), error_text(record));
  const verified_subvolume* known = record->find("data", place_of_chain);
  BOOST_REQUIRE(known != nullptr);
  BOOST_TEST(known->at.has_value());
  BOOST_TEST(known->runs.empty());
}

// The whole command, on a store that is given.
BOOST_AUTO_TEST_CASE(the_command_writes_metrics_of_its_own_beside_those_of_backups) {
  scene made;
  store_tuning tuning;
  tuning.store = &made.store;
  made.with.tuning = &tuning;
  made.settings.subvolumes.resize(2);
  made.settings.subvolumes[0].name = "data";
  made.settings.subvolumes[1].name = "home";
  made.settings.metrics.textfile = made.directory / "backup.prom";
  bts3::testing::write_file(made.settings.metrics.textfile, "of the last backup\n");
  verify_command command;
  command.subvolumes = {"data"};
  auto ran = made.loop->run(run_command(made.with, command));
  BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
  BOOST_TEST((*ran == exit_status::done));
  const std::string path = made.directory / "backup_verify.prom";
  const std::string text = bts3::testing::content_of(path);
  BOOST_TEST(has(text, "last_verify_timestamp_seconds{subvolume=\"data\",kind=\"quick\"} "), text);
  BOOST_TEST(has(text, "verify_found_damage{subvolume=\"data\"} 0\n"), text);
  BOOST_TEST(!has(text, "home"), text);
  BOOST_TEST(bts3::testing::content_of(made.settings.metrics.textfile) == "of the last backup\n");
  // A later run about another subvolume keeps what is known of this one.
  command.subvolumes = {"home"};
  ran = made.loop->run(run_command(made.with, command));
  BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
  BOOST_TEST(has(bts3::testing::content_of(path), "verify_found_damage{subvolume=\"data\"} 0\n"));
  BOOST_TEST(has(bts3::testing::content_of(path), "verify_found_damage{subvolume=\"home\"} 0\n"));
  // Damage is told, and a file that cannot be written is a warning.
  made.store.erase(made.chunk(13, 1));
  command.subvolumes.clear();
  ran = made.loop->run(run_command(made.with, command));
  BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
  BOOST_TEST((*ran == exit_status::verification));
  BOOST_TEST(has(bts3::testing::content_of(path), "verify_found_damage{subvolume=\"data\"} 1\n"));
  made.settings.metrics.textfile = made.directory / "absent/backup.prom";
  ran = made.loop->run(run_command(made.with, command));
  BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
  BOOST_TEST((*ran == exit_status::verification));
  BOOST_TEST(std::count(made.log.events.begin(), made.log.events.end(), "metrics_not_written") ==
             1);
}

// A sample leaves out what the listing shows to be damaged: that is told all the same.
BOOST_AUTO_TEST_CASE(what_a_sample_sees_in_the_listing_is_told_until_a_listing_is_clean) {
  scene made(telling());
  store_tuning tuning;
  tuning.store = &made.store;
  made.with.tuning = &tuning;
  made.settings.subvolumes.resize(1);
  made.settings.subvolumes[0].name = "data";
  made.settings.metrics.textfile = made.directory / "backup.prom";
  const auto metric_after = [&made](verify_depth depth) {
    made.clock.time += std::chrono::hours(1);
    verify_command command;
    command.depth = depth;
    command.sample_parts = 1;
    const auto ran = made.loop->run(run_command(made.with, command));
    BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
    const std::string text = bts3::testing::content_of(made.directory / "backup_verify.prom");
    const std::string name = "verify_found_damage{subvolume=\"data\"} ";
    BOOST_REQUIRE_MESSAGE(has(text, name), text);
    return text.substr(text.find(name) + name.size(), 2);
  };
  BOOST_TEST(metric_after(verify_depth::sample) == "0\n");
  const std::string key = made.chunk(13, 1);
  const auto before = *made.store.find(key);
  const auto lose = [&] { made.store.erase(key); };
  const auto bring_back = [&] {
    made.store.put(key, before.body, before.options.stored_as.str());
    made.store.set_part_crc32(key, before.part_crc32);
  };
  lose();
  BOOST_TEST(metric_after(verify_depth::sample) == "1\n");
  BOOST_TEST(metric_after(verify_depth::sample) == "1\n");
  BOOST_TEST(!made.proof(made.chain[1]).has_value());
  bring_back();
  BOOST_TEST(metric_after(verify_depth::sample) == "0\n");
  // The same for what quick has seen there ...
  lose();
  BOOST_TEST(metric_after(verify_depth::quick) == "1\n");
  bring_back();
  BOOST_TEST(metric_after(verify_depth::sample) == "0\n");
  // ... and not for a checksum, which no listing shows, whatever a listing shows beside it.
  made.store.set_part_crc32(key, {1, 2, 3});
  BOOST_TEST(metric_after(verify_depth::quick) == "1\n");
  BOOST_TEST(metric_after(verify_depth::sample) == "1\n");
  lose();
  BOOST_TEST(metric_after(verify_depth::sample) == "1\n");
  bring_back();
  BOOST_TEST(metric_after(verify_depth::sample) == "1\n");
  BOOST_TEST(metric_after(verify_depth::quick) == "0\n");
}

BOOST_AUTO_TEST_SUITE_END()
