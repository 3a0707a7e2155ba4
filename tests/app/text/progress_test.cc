#include "app/text/progress.hh"

#include "tests/engine/support.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

using namespace bts3::app;
using std::chrono::seconds;

namespace {

constexpr std::uint64_t mib = 1 << 20;
const progress_meter::time_point start{};

}  // namespace

BOOST_AUTO_TEST_SUITE(progress_suite)

BOOST_AUTO_TEST_CASE(percent_rate_and_time_left_follow_the_bytes) {
  progress_meter meter(start);
  meter.set_total(100 * mib);
  meter.add(10 * mib);
  progress_report now = meter.report(start + seconds(5));
  BOOST_TEST(*now.percent == 10u);
  BOOST_TEST(now.bytes_per_second == 2 * mib);
  BOOST_TEST(now.eta->count() == 45);
  BOOST_TEST(now.text() == "10.0 MiB of 100.0 MiB, 10 %, 2.0 MiB/s, 45 s left");
  meter.add(90 * mib);
  now = meter.report(start + seconds(10));
  // Whoever reports is not at the end yet.
  BOOST_TEST(*now.percent == 99u);
  BOOST_TEST(!now.eta.has_value());
}

BOOST_AUTO_TEST_CASE(the_rate_is_that_of_the_last_minute) {
  progress_meter meter(start);
  meter.set_total(1'000'000 * mib);
  for (int second = 1; second <= 600; ++second) {
    meter.add(100 * mib);
    (void)meter.report(start + seconds(second));
  }
  for (int second = 601; second <= 630; ++second) {
    (void)meter.report(start + seconds(second));
  }
  // Half of the window moved, half stood still.
  BOOST_TEST(meter.report(start + seconds(631)).bytes_per_second < 51 * mib);
  BOOST_TEST(meter.report(start + seconds(631)).bytes_per_second > 47 * mib);
  for (int second = 632; second <= 700; ++second) {
    (void)meter.report(start + seconds(second));
  }
  const progress_report stalled = meter.report(start + seconds(701));
  BOOST_TEST(stalled.bytes_per_second == 0u);
  BOOST_TEST(!stalled.eta.has_value());
}

BOOST_AUTO_TEST_CASE(without_a_total_and_with_more_than_it_there_is_no_percentage) {
  progress_meter meter(start);
  meter.add(mib);
  BOOST_TEST(meter.report(start + seconds(1)).text() == "1.0 MiB, 1.0 MiB/s");
  meter.set_total(mib / 2);
  const progress_report now = meter.report(start + seconds(2));
  // An estimate can be too small.
  BOOST_TEST(now.text() == "1.0 MiB of at least 1.0 MiB, 512.0 KiB/s");
  // One that says so is told as such from the beginning.
  meter.set_total(2 * mib, true);
  BOOST_TEST(meter.report(start + seconds(4)).text() ==
             "1.0 MiB of at least 2.0 MiB, 50 %, 256.0 KiB/s, 4 s left");
}

BOOST_AUTO_TEST_CASE(nothing_is_drawn_where_there_is_no_terminal) {
  int ends[2];
  BOOST_REQUIRE(::pipe(ends) == 0);
  live_line line(ends[1]);
  BOOST_TEST(!line.usable());
  line.show("text");
  line.clear();
  ::close(ends[1]);
  char byte = 0;
  BOOST_TEST(::read(ends[0], &byte, 1) == 0);
  ::close(ends[0]);
}

BOOST_AUTO_TEST_CASE(a_live_line_fits_and_a_log_line_takes_it_away_first) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
  BOOST_REQUIRE(master >= 0);
  BOOST_REQUIRE((::grantpt(master) == 0 && ::unlockpt(master) == 0));
  const int terminal = ::open(::ptsname(master), O_RDWR | O_NOCTTY);
  BOOST_REQUIRE(terminal >= 0);
  const winsize size{24, 20, 0, 0};
  BOOST_REQUIRE(::ioctl(master, TIOCSWINSZ, &size) == 0);
  live_line line(terminal);
  BOOST_TEST(line.usable());
  bts3::engine::testing::recording_log inner;
  log_over_line log(inner, line);
  line.show("a line that is longer than the terminal");
  line.show("half of it, 12345 MB/s, 5 s left");
  line.show("half, 12345678 MB/s, 5 s left");
  line.show("h\xc3\xb6me\n");
  log.write(bts3::engine::log_level::info, "app", "event", {});
  log.write(bts3::engine::log_level::info, "app", "another", {});
  const std::string expected =
      "\ra line that is long\x1b[K"
      "\rhalf of it\x1b[K"
      "\rhalf, 12345678 MB/s\x1b[K"
      "\rh\xc3\xb6me\\x0a\x1b[K"
      "\r\x1b[K";
  std::string drawn;
  while (drawn.size() < expected.size()) {
    char piece[64];
    const ssize_t count = ::read(master, piece, sizeof piece);
    BOOST_REQUIRE(count > 0);
    drawn.append(piece, static_cast<std::size_t>(count));
  }
  BOOST_TEST(drawn == expected);
  BOOST_TEST(inner.events.size() == 2u);
  ::close(terminal);
  ::close(master);
}

BOOST_AUTO_TEST_CASE(a_service_manager_is_told_every_fifth_line_and_each_announcement) {
  std::vector<std::string> told;
  live_line line(-1, [&told](const std::string& text) { told.push_back(text); });
  BOOST_TEST((line.usable() && !line.on_terminal()));
  line.announce("reading");
  for (int i = 0; i < 7; ++i) {
    line.show(std::to_string(i));
  }
  line.clear();
  const std::vector<std::string> expected = {"reading", "0", "5"};
  BOOST_TEST(told == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_log_line_comes_after_each_so_many_ticks) {
  auto loop = bts3::engine::testing::make_reactor();
  bts3::engine::testing::recording_log log;
  progress_cadence often;
  often.tick = std::chrono::milliseconds(1);
  often.ticks_per_log_line = 3;
  int asked = 0;
  progress shown(
      *loop, log, nullptr, "test", "testing",
      [&asked] {
        ++asked;
        return std::string("more");
      },
      often);
  std::uint64_t counter = 7;
  shown.follow([&counter] { return counter; });
  shown.start();
  while (log.events.size() < 2) {
    BOOST_REQUIRE(loop->run(loop->sleep_for(std::chrono::milliseconds(1))).has_value());
  }
  loop->run(shown.stop());
  BOOST_TEST(asked >= 6);
  BOOST_TEST(static_cast<int>(log.events.size()) == asked / 3);
  BOOST_TEST(log.events.front() == "progress");
  BOOST_TEST(shown.bytes() == 7u);
}

BOOST_AUTO_TEST_CASE(a_stopped_progress_has_joined) {
  auto loop = bts3::engine::testing::make_reactor();
  bts3::engine::testing::recording_log log;
  progress shown(*loop, log, nullptr, "test", "testing");
  shown.start();
  shown.add(5);
  loop->run(shown.stop());
  BOOST_TEST(shown.bytes() == 5u);
  BOOST_TEST(log.events.empty());
  BOOST_TEST(loop->operations_in_flight() == 0u);
}

BOOST_AUTO_TEST_CASE(what_is_on_its_way_counts_and_is_never_taken_back) {
  const auto start = progress_meter::time_point();
  progress_meter meter(start);
  meter.set_total(100);
  BOOST_TEST(meter.report(start + std::chrono::seconds(1), 30).bytes == 30U);
  BOOST_TEST(meter.report(start + std::chrono::seconds(2), 40).bytes_per_second == 20U);
  meter.add(35);  // of the forty the rest came in vain
  const progress_report after = meter.report(start + std::chrono::seconds(3), 0);
  BOOST_TEST(after.bytes == 40U);
  BOOST_TEST(*after.percent == 40U);
  meter.add(65);
  BOOST_TEST(meter.report(start + std::chrono::seconds(4), 0).bytes == 100U);
}

BOOST_AUTO_TEST_CASE(what_follows_is_told_with_the_time_it_takes) {
  progress_report now;
  now.bytes = 1 << 30;
  now.total = std::uint64_t{3} << 30;
  BOOST_TEST(now.text_with_rest(std::uint64_t{6} << 30) == "8.0 GiB in all to come");
  now.bytes_per_second = 64 << 20;
  BOOST_TEST(now.text_with_rest(std::uint64_t{6} << 30) == "8.0 GiB in all to come, 2 min 08 s");
}

// Whatever else comes over the network, or comes twice, or from elsewhere: no more is shown than
// what was begun.
BOOST_AUTO_TEST_CASE(pieces_show_as_far_as_they_came) {
  auto loop = bts3::engine::testing::make_reactor();
  bts3::engine::testing::recording_log log;
  std::string drawn;
  live_line line(-1, [&drawn](const std::string& text) { drawn = text.substr(0, text.find(',')); });
  progress_cadence often;
  often.tick = std::chrono::milliseconds(1);
  progress shown(*loop, log, &line, "test", "x", {}, often);
  std::uint64_t received = 1'000;
  shown.watch([&received] { return received; });
  shown.start();
  const auto now_shown = [&] {
    drawn.clear();
    while (drawn.empty()) {
      BOOST_REQUIRE(loop->run(loop->sleep_for(std::chrono::milliseconds(1))).has_value());
    }
    return drawn;
  };
  received += 50;  // of nothing that was begun
  BOOST_TEST(now_shown() == "x: 0 B");
  shown.correct(-50);
  shown.begin(100);
  shown.begin(100);
  received += 70;
  BOOST_TEST(now_shown() == "x: 70 B");
  received += 500;
  BOOST_TEST(now_shown() == "x: 200 B");
  shown.correct(-370);
  shown.add(100);
  BOOST_TEST(now_shown() == "x: 200 B");
  shown.begin(40);
  shown.correct(40);  // from a disk
  BOOST_TEST(now_shown() == "x: 240 B");
  shown.add(100);
  shown.add(40);
  BOOST_TEST(shown.bytes() == 240U);
  shown.begin(30);
  received += 20;
  shown.give_up(30);  // it failed
  BOOST_TEST(now_shown() == "x: 240 B");
  loop->run(shown.stop());
}

BOOST_AUTO_TEST_SUITE_END()
