#include "btrfs/cleaner.hh"

#include "btrfs/snapshot_manager.hh"
#include "tests/btrfs/loop_filesystem.hh"
#include "tests/engine/support.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <cerrno>
#include <iostream>
#include <string>

using namespace bts3::btrfs;

BOOST_AUTO_TEST_SUITE(cleaner_suite)

BOOST_AUTO_TEST_CASE(the_cleaner_is_waited_for_until_what_was_deleted_is_gone) {
  BTS3_LOOP_FILESYSTEM(filesystem);
  const std::string directory = filesystem.directory();
  bts3::btrfs::testing::make_subvolume(filesystem.directory() / "old");
  BOOST_REQUIRE(delete_subvolume(directory, "old").has_value());
  BOOST_REQUIRE(sync_and_clean(directory).has_value());
  auto loop = bts3::engine::testing::make_reactor();
  const auto outcome = loop->run(wait_for_cleaner(*loop, cleaning_arguments(directory), {}));
  BOOST_TEST(outcome.has_value(), bts3::testing::error_text(outcome));
  const auto listed = bts3::btrfs::testing::run_quietly(
      {"sh", "-c", "test -z \"$(btrfs subvolume list -d '" + directory + "')\""});
  BOOST_TEST(listed);
}

BOOST_AUTO_TEST_CASE(a_cleaner_that_cannot_be_waited_for_is_quoted) {
  auto loop = bts3::engine::testing::make_reactor();
  const auto failed = loop->run(wait_for_cleaner(*loop, {"sh", "-c", "echo no >&2; exit 3"}, {}));
  BOOST_REQUIRE(!failed);
  BOOST_TEST(failed.error().message == "`btrfs subvolume sync` exited with status 3: no");
  BOOST_TEST((failed.error().why == bts3::engine::reason::child_process));
  const auto absent = loop->run(wait_for_cleaner(*loop, {"/no/such/program"}, {}));
  BOOST_REQUIRE(!absent);
  BOOST_TEST(absent.error().status == ENOENT);
}

BOOST_AUTO_TEST_CASE(a_stop_ends_the_wait_for_the_cleaner) {
  auto loop = bts3::engine::testing::make_reactor();
  bts3::engine::stop_source stop;
  stop.request_stop();
  const auto stopped =
      loop->run(wait_for_cleaner(*loop, {"sh", "-c", "exec sleep 100"}, stop.token()));
  BOOST_REQUIRE(!stopped);
  BOOST_TEST((stopped.error().what_now == bts3::engine::disposition::cancelled));
}

BOOST_AUTO_TEST_SUITE_END()
