#include "btrfs/receive_workspace.hh"
#include "btrfs/snapshot_manager.hh"

#include "tests/btrfs/loop_filesystem.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <iostream>

using namespace bts3::btrfs;
using bts3::testing::error_text;

BOOST_AUTO_TEST_SUITE(snapshot_suite)

BOOST_AUTO_TEST_CASE(snapshots_are_made_listed_by_time_and_removed) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::string source = testing::make_subvolume(loop.directory() / "data");
  const snapshot_manager snapshots(loop.directory());
  auto newer = snapshots.create(source, "data", "20260103T000000Z", false);
  BOOST_REQUIRE_MESSAGE(newer.has_value(), error_text(newer));
  auto older = snapshots.create(source, "data", "20260102T000000Z", true);
  BOOST_REQUIRE_MESSAGE(older.has_value(), error_text(older));
  BOOST_TEST(newer->info.read_only);
  BOOST_TEST((newer->info.parent_uuid == inspect_subvolume(source)->own_uuid));
  testing::make_subvolume(loop.directory() / "data__notatime__full");
  auto listed = snapshots.list("data");
  BOOST_REQUIRE_MESSAGE(listed.has_value(), error_text(listed));
  BOOST_REQUIRE(listed->size() == 2u);
  BOOST_TEST(listed->front().name == "data__20260102T000000Z__full");
  BOOST_TEST(listed->back().name == "data__20260103T000000Z__inc");
  BOOST_TEST(!snapshots.remove("data").has_value());
  BOOST_TEST(!snapshots.remove("data__notatime__full").has_value());
  auto removed = snapshots.remove(older->name);
  BOOST_TEST(removed.has_value(), error_text(removed));
  BOOST_TEST(snapshots.list("data")->size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_snapshot_flipped_and_changed_keeps_its_uuid_and_moves_its_ctransid) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::string source = testing::make_subvolume(loop.directory() / "data");
  const snapshot_manager snapshots(loop.directory());
  auto made = snapshots.create(source, "data", "20260103T000000Z", true);
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "property", "set", made->path, "ro", "false"}));
  testing::write_file(std::filesystem::path(made->path) / "file", "changed");
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "property", "set", made->path, "ro", "true"}));
  BOOST_REQUIRE(sync_filesystem(made->path).has_value());
  auto now = inspect_subvolume(made->path);
  BOOST_REQUIRE_MESSAGE(now.has_value(), error_text(now));
  BOOST_TEST((now->own_uuid == made->info.own_uuid));
  BOOST_TEST(now->ctransid != made->info.ctransid);
}

BOOST_AUTO_TEST_CASE(what_is_no_subvolume_is_refused_with_a_remedy) {
  BTS3_LOOP_FILESYSTEM(loop);
  std::filesystem::create_directory(loop.directory() / "plain");
  const auto plain = inspect_subvolume(loop.directory() / "plain");
  BOOST_REQUIRE(!plain);
  BOOST_TEST(plain.error().text().find("btrfs subvolume create") != std::string::npos);
  const auto elsewhere = inspect_subvolume("/proc");
  BOOST_REQUIRE(!elsewhere);
  BOOST_TEST(elsewhere.error().message.find("not on a Btrfs") != std::string::npos);
  BOOST_TEST(!inspect_subvolume(loop.directory() / "missing").has_value());
}

BOOST_AUTO_TEST_CASE(nested_subvolumes_are_named_by_their_paths) {
  BTS3_LOOP_FILESYSTEM(loop);
  const auto outer = testing::make_subvolume(loop.directory() / "outer");
  std::filesystem::create_directories(outer / "a" / "b");
  testing::make_subvolume(outer / "a" / "b" / "deep");
  testing::make_subvolume(outer / "near");
  testing::make_subvolume(outer / "near" / "inner");
  auto nested = nested_subvolumes(outer);
  BOOST_REQUIRE_MESSAGE(nested.has_value(), error_text(nested));
  const std::vector<std::string> expected = {"a/b/deep", "near"};
  BOOST_TEST(*nested == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(targets_that_cannot_be_restored_to_are_refused) {
  BTS3_LOOP_FILESYSTEM(loop);
  const auto refused = [](const std::string& target) {
    const auto report = check_target(target);
    return report ? std::string("accepted") : report.error().text();
  };
  const std::string base = loop.directory();
  std::filesystem::create_directory(loop.directory() / "there");
  BOOST_TEST(refused(base + "/there").find("exists already") != std::string::npos);
  BOOST_TEST(refused(base + "/no/such").find("mkdir -p") != std::string::npos);
  BOOST_TEST(refused("/proc/x").find("not on Btrfs") != std::string::npos);
  BOOST_TEST(refused("x").find("absolute") != std::string::npos);
  BOOST_TEST(refused(base + "/fine/") == "accepted");
}

BOOST_AUTO_TEST_SUITE_END()
