// The wait for the space of what was discarded, over played Btrfs: it never fails a restore.
#include "app/restore/freed_space.hh"

#include "tests/app/restore/restore_scene.hh"

#include <chrono>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::testing;

namespace {

// What is logged when `cleaner` is waited for that long.
void wait(restore_scene& here, const std::string& cleaner, std::chrono::milliseconds at_most) {
  here.rig.disk.cleaner = cleaner;
  const app::services with = here.with();
  here.rig.shared_loop->run(app::wait_for_freed_space(with, here.rig.place / "target", at_most));
  BOOST_TEST(here.rig.shared_loop->operations_in_flight() == 0U);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(freed_space_suite)

BOOST_AUTO_TEST_CASE(the_filesystem_is_waited_for_until_it_has_its_space_back) {
  restore_scene here(1);
  wait(here, "exit 0", std::chrono::minutes(1));
  BOOST_TEST(here.rig.disk.cleaned == std::vector<std::string>{here.rig.place / "target"},
             boost::test_tools::per_element());
  BOOST_TEST(!here.rig.log.contains("space_not_back"));
}

BOOST_AUTO_TEST_CASE(what_keeps_it_from_being_waited_for_is_a_warning_that_quotes_it) {
  restore_scene here(1);
  wait(here, "echo 'ERROR: not a btrfs' >&2; exit 1", std::chrono::minutes(1));
  BOOST_TEST(here.rig.log.contains("space_not_back"));
  BOOST_TEST(here.rig.log.contains("exited with status 1: ERROR: not a btrfs"));
}

BOOST_AUTO_TEST_CASE(it_is_not_waited_for_longer_than_told) {
  restore_scene here(1);
  wait(here, "exec sleep 100", std::chrono::milliseconds(50));
  BOOST_TEST(here.rig.log.contains("it is not back after 0 s"));
}

BOOST_AUTO_TEST_CASE(a_stop_ends_the_wait_without_a_word) {
  restore_scene here(1);
  here.stop.request_stop();
  wait(here, "exec sleep 100", std::chrono::minutes(1));
  BOOST_TEST(!here.rig.log.contains("space_not_back"));
}

BOOST_AUTO_TEST_CASE(a_restore_that_discards_an_earlier_one_waits_for_its_space) {
  restore_scene here(2);
  here.rig.disk.receivers = {"cat > \"$0\"", "exit 1"};
  BOOST_REQUIRE(here.restore_text() != "done");
  BOOST_REQUIRE(here.links_beside() == 1);
  here.request.discard = true;
  here.rig.disk.cleaner = "exit 1";
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.rig.disk.cleaned.size() == 1U);
  BOOST_TEST(here.rig.log.contains("space_not_back"));
}

BOOST_AUTO_TEST_SUITE_END()
