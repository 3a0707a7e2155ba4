#include "app/upload/part_patience.hh"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstddef>

using bts3::app::part_patience;
using std::chrono::duration_cast;
using std::chrono::hours;
using std::chrono::milliseconds;

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;
constexpr std::size_t part = 128 * mib;  // 500 ms at 256 MiB/s
const part_patience::time_point start{hours(1)};

long long left(const part_patience& one, part_patience::time_point now) {
  return duration_cast<milliseconds>(one.left(now)).count();
}

// Whether it wants more parts within `rounds` in which each wait lasts `wait`, and `work` passes
// before the next.
bool has_enough(milliseconds wait, milliseconds work, int rounds) {
  part_patience one(part);
  auto now = start;
  for (int round = 0; round < rounds; ++round) {
    if (one.left(now) <= wait) {
      return true;
    }
    one.waited(now, now + wait);
    now += wait + work;
  }
  return false;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(part_patience_suite)

BOOST_AUTO_TEST_CASE(a_first_wait_may_take_as_long_as_a_part_at_256_mib_per_second) {
  BOOST_TEST(left(part_patience(part), start) == 500);
  BOOST_TEST(left(part_patience(5 * mib), start) == 19);
  BOOST_TEST(left(part_patience(1), start) == 1);
}

BOOST_AUTO_TEST_CASE(waits_that_follow_each_other_come_to_four_times_as_much) {
  part_patience one(part);
  auto now = start;
  for (const long long then_left : {500, 500, 500, 400, 0}) {
    one.waited(now, now + milliseconds(400));
    now += milliseconds(400);
    BOOST_TEST(left(one, now) == then_left);
  }
  one.begin_anew();
  BOOST_TEST(left(one, now) == 500);
}

// However long the stream: what a backup takes depends on the line, not on the bytes.
BOOST_AUTO_TEST_CASE(waits_for_less_than_a_third_of_the_time_never_add_up) {
  BOOST_TEST(!has_enough(milliseconds(30), milliseconds(70), 1'000'000));
  BOOST_TEST(!has_enough(milliseconds(200), milliseconds(401), 1'000'000));
  BOOST_TEST(has_enough(milliseconds(200), milliseconds(300), 100));
  BOOST_TEST(has_enough(milliseconds(60), milliseconds(40), 100));
}

BOOST_AUTO_TEST_CASE(waits_beside_each_other_are_counted_together) {
  part_patience one(part);
  one.waited(start, start + milliseconds(900));
  one.waited(start, start + milliseconds(900));
  BOOST_TEST(left(one, start + milliseconds(900)) == 200);
  BOOST_TEST(left(one, start + milliseconds(1900)) == 500);  // of 1.8 s, half of one is forgotten
}

BOOST_AUTO_TEST_SUITE_END()
