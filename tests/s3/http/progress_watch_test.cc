// When an exchange is given up for want of progress.
#include "s3/http/progress_watch.hh"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <optional>
#include <string>

using namespace std::chrono_literals;
using bts3::s3::progress_watch;

namespace {

constexpr progress_watch::time_point began{};

progress_watch::limits transfer() {
  return {60s, std::nullopt, 300s, 32 * 1024};
}

progress_watch::limits question() {
  return {60s, 120s, 300s, 32 * 1024};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(progress_watch_suite)

BOOST_AUTO_TEST_CASE(nothing_that_moves_is_a_stall_after_its_time_and_not_before) {
  progress_watch watch(transfer(), began);
  BOOST_TEST(watch.overdue(0, 0, false, began + 59'999ms) == "");
  BOOST_TEST(watch.overdue(0, 0, false, began + 60s) == "no byte moved for 60000 ms");
}

BOOST_AUTO_TEST_CASE(every_byte_and_every_pause_begins_the_time_anew) {
  progress_watch watch(transfer(), began);
  BOOST_TEST(watch.overdue(1, 0, false, began + 59s) == "");
  BOOST_TEST(watch.overdue(1, 0, false, began + 118s) == "");
  BOOST_TEST(watch.overdue(1, 0, true, began + 500s) == "");
  BOOST_TEST(watch.overdue(1, 0, false, began + 559s) == "");
  BOOST_TEST(watch.overdue(1, 0, false, began + 560s) == "no byte moved for 60000 ms");
}

BOOST_AUTO_TEST_CASE(a_question_has_a_deadline_and_a_second_for_each_kib_of_its_answer) {
  progress_watch watch(question(), began);
  BOOST_TEST(watch.overdue(1, 1, false, began + 60s) == "");
  BOOST_TEST(watch.overdue(2048, 2048, false, began + 120s) == "");
  BOOST_TEST(watch.overdue(2049, 2049, false, began + 122s) ==
             "no whole answer in 122000 ms, 2049 bytes of it");
}

BOOST_AUTO_TEST_CASE(a_transfer_that_crawls_is_cut_at_the_end_of_a_window) {
  progress_watch watch(transfer(), began);
  std::uint64_t moved = 1;
  auto now = began;
  std::string why = watch.overdue(moved, 0, false, now);
  while (why.empty() && now < began + 1h) {
    now += 15s;
    why = watch.overdue(++moved, 0, false, now);
  }
  BOOST_TEST((now == began + 300s));
  BOOST_TEST(why == "only 20 bytes moved in 300000 ms");
}

BOOST_AUTO_TEST_CASE(what_moves_enough_in_each_window_goes_on_and_a_new_connection_begins_one) {
  progress_watch watch(transfer(), began);
  for (int seconds = 0; seconds <= 3600; seconds += 15) {
    const std::uint64_t moved = std::uint64_t{32} * 1024 * static_cast<unsigned>(seconds) / 300;
    BOOST_TEST(watch.overdue(moved, 0, false, began + std::chrono::seconds(seconds)) == "");
  }
  // Another socket, which counts from nothing.
  for (int seconds = 3615; seconds < 3615 + 300; seconds += 15) {
    BOOST_TEST(watch.overdue(static_cast<unsigned>(seconds), 0, false,
                             began + std::chrono::seconds(seconds)) == "");
  }
  BOOST_TEST(watch.overdue(3916, 0, false, began + 3915s) == "only 301 bytes moved in 300000 ms");
}

BOOST_AUTO_TEST_CASE(it_is_asked_four_times_in_the_shortest_time) {
  BOOST_TEST(progress_watch(transfer(), began).look_again_after().count() == 15'000);
  BOOST_TEST(progress_watch({60s, 20s, 300s, 1}, began).look_again_after().count() == 5'000);
  BOOST_TEST(progress_watch({60s, std::nullopt, 200ms, 1}, began).look_again_after().count() == 50);
  BOOST_TEST(progress_watch({1ms, std::nullopt, 1ms, 1}, began).look_again_after().count() == 1);
}

BOOST_AUTO_TEST_SUITE_END()
