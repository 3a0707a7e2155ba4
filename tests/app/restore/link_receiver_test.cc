// One link and its receiver: what counts as received, and what becomes of a receiver that fails, is
// killed, stalls, or leaves something else.
#include "app/restore/link_receiver.hh"

#include "tests/app/restore/restore_scene.hh"

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

using namespace bts3;
using namespace bts3::testing;

namespace {

using scene = restore_scene;
using flags = std::vector<bool>;

// After any failure: no target, so many links, nothing half received, and a next run that ends
// well.
void check_failed_at(scene& here, int links) {
  BOOST_TEST(!here.is_there());
  BOOST_TEST(here.links_beside() == links);
  std::size_t received = 0;
  for (const auto& [path, info] : here.rig.disk.known) {
    received += path.starts_with(here.private_path()) ? 1U : 0U;
  }
  BOOST_TEST(received == static_cast<std::size_t>(std::max(links, 0)));
  here.forget();
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.holds(2));
  BOOST_TEST(here.totals.links == 3U - static_cast<std::size_t>(std::max(links, 0)));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(link_receiver_suite)

BOOST_AUTO_TEST_CASE(a_receiver_that_fails_is_quoted_and_its_link_does_not_count) {
  scene here;
  here.rig.disk.receivers = {"cat > \"$0\"", "cat > \"$0\"; echo no such inode >&2; exit 1"};
  const auto outcome = here.restore();
  BOOST_REQUIRE(!outcome);
  BOOST_TEST((outcome.error().why == engine::reason::child_process));
  const std::string said = outcome.error().text();
  BOOST_TEST(says(said, here.manifest_key_of(1)), said);
  BOOST_TEST(says(said, "`btrfs receive` exited with status 1"), said);
  BOOST_TEST(says(said, "no such inode"), said);
  check_failed_at(here, 1);
}

BOOST_AUTO_TEST_CASE(a_receiver_that_is_killed_in_the_middle_says_more_than_its_closed_pipe) {
  scene here;
  here.rig.disk.receivers = {"head -c 5000 > \"$0\"; kill -9 $$"};
  const std::string said = here.restore_text();
  BOOST_TEST(says(said, "`btrfs receive` was killed by signal 9"), said);
  check_failed_at(here, -1);
}

BOOST_AUTO_TEST_CASE(a_receiver_that_cannot_be_started_is_an_error_and_leaves_nothing) {
  scene here;
  here.rig.disk.receivers = {"exit 127"};
  BOOST_TEST(says(here.restore_text(), "exited with status 127"));
  check_failed_at(here, -1);
}

BOOST_AUTO_TEST_CASE(a_receiver_that_ends_well_before_the_stream_does_is_not_believed) {
  scene here;
  here.rig.disk.receivers = {"head -c 5000 > \"$0\"; exit 0"};
  const auto outcome = here.restore();
  BOOST_REQUIRE(!outcome);
  BOOST_TEST((outcome.error().why == engine::reason::child_process));
  check_failed_at(here, -1);
}

BOOST_AUTO_TEST_CASE(a_receiver_that_ends_well_and_leaves_nothing_is_not_believed) {
  scene here;
  here.rig.disk.receivers = {"cat > \"$0\"", "cat > /dev/null"};
  const std::string said = here.restore_text();
  BOOST_TEST(says(said, "made 0 subvolumes where one was expected"), said);
  check_failed_at(here, 1);
}

BOOST_AUTO_TEST_CASE(a_receiver_that_does_nothing_for_so_long_is_ended) {
  scene here;
  here.rig.settings.restore.receive_stall_seconds = std::chrono::seconds(1);
  here.rig.disk.receivers = {"head -c 1000 > \"$0\"; exec sleep 3600"};
  const std::string said = here.restore_text();
  BOOST_TEST(says(said, "stalled"), said);
  check_failed_at(here, -1);
}

BOOST_AUTO_TEST_CASE(a_stop_ends_the_receiver_and_keeps_the_links_that_are_recorded) {
  scene here;
  const leak_check leaks;
  here.rig.disk.receivers = {"cat > \"$0\"", "head -c 1000 > \"$0\"; exec sleep 3600"};
  std::thread stopper([&here] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    here.rig.shared_loop->post([&here] { here.stop.request_stop(); });
  });
  const auto outcome = here.restore();
  stopper.join();
  BOOST_REQUIRE(!outcome);
  BOOST_TEST((outcome.error().what_now == engine::disposition::cancelled));
  BOOST_TEST(leaks.found().empty());
  BOOST_TEST(!here.is_there());
}

// A kernel made a stream that its own receiver refuses: the chain is worth nothing from there on.
BOOST_AUTO_TEST_CASE(a_stream_that_is_refused_is_remembered_and_the_next_backup_is_a_full) {
  scene here;
  here.rig.disk.receivers = {
      "cat > \"$0\"",
      "cat > \"$0\"; echo 'ERROR: unlink a failed: No such file or directory' >&2; exit 1"};
  const auto outcome = here.restore();
  BOOST_REQUIRE(!outcome);
  BOOST_TEST(says(outcome.error().text(), here.manifest_key_of(1)), outcome.error().text());
  BOOST_TEST(here.links_beside() == 1);
  here.rig.clock.time += std::chrono::hours(24 * 8);
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.chain_in(here.contents()).size() == 1U);
}

// What lies on the disk.

BOOST_AUTO_TEST_CASE(writes_that_are_lost_have_the_link_received_again_without_encoded_ones) {
  scene here;
  here.rig.disk.missing = {0, 3};
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.holds(2));
  BOOST_TEST(here.rig.log.contains("link_received_again"));
  const flags expected = {false, false, true, true};
  BOOST_TEST((here.rig.disk.decompressing == expected));
  BOOST_TEST(here.totals.links == 3U);
}

BOOST_AUTO_TEST_CASE(a_disk_that_loses_them_twice_is_an_error) {
  scene here;
  here.rig.disk.missing = {0, 3, 2};
  const auto outcome = here.restore();
  BOOST_REQUIRE(!outcome);
  BOOST_TEST((outcome.error().why == engine::reason::integrity));
  const std::string said = outcome.error().text();
  BOOST_TEST(says(said, "2 compressed writes of " + here.manifest_key_of(1)), said);
  check_failed_at(here, 1);
}

// Of another snapshot than the manifest's: the stream would be refused by its identity, and where
// that was not looked at, what was received is.
BOOST_AUTO_TEST_CASE(a_stream_of_another_snapshot_is_refused_and_remembered) {
  scene here(1);
  planner::manifest other = here.made[0];
  other.snapshot.uuid = "12345678-1234-4234-8234-123456789012";
  here.objects->put(here.manifest_key_of(0), planner::write_manifest(other));
  const auto outcome = here.restore();
  BOOST_REQUIRE(!outcome);
  BOOST_TEST((outcome.error().why == engine::reason::integrity));
  BOOST_TEST(says(outcome.error().text(), "and the manifest describes " + *other.snapshot.uuid),
             outcome.error().text());
  BOOST_TEST(!here.is_there());
  BOOST_TEST(here.links_beside() == -1);
}

BOOST_AUTO_TEST_SUITE_END()
