// What is read ahead, by the reads so far.
#include "app/mount/read_ahead.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

using namespace bts3::app;

namespace {

constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t mib = 1024 * kib;
constexpr std::uint64_t window = 32 * mib;

}  // namespace

BOOST_AUTO_TEST_SUITE(read_ahead_suite)

BOOST_AUTO_TEST_CASE(a_look_at_the_head_of_a_file_costs_little) {
  read_ahead of;
  BOOST_TEST((of.read(0, 4 * kib, 100 * mib, window) == byte_range{4 * kib, 516 * kib}));
  BOOST_TEST(of.read(4 * kib, 4 * kib, 100 * mib, window).empty());
}

BOOST_AUTO_TEST_CASE(a_small_file_is_fetched_to_its_end_at_once) {
  read_ahead of;
  BOOST_TEST((of.read(0, 128 * kib, 300 * kib, window) == byte_range{128 * kib, 300 * kib}));
  BOOST_TEST(of.read(128 * kib, 128 * kib, 300 * kib, window).empty());
  BOOST_TEST(of.read(256 * kib, 128 * kib, 300 * kib, window).empty());
}

BOOST_AUTO_TEST_CASE(reading_on_covers_a_file_once_and_without_a_gap) {
  read_ahead of;
  const std::uint64_t size = 100 * mib + 77;
  std::uint64_t told = 128 * kib;
  std::uint64_t furthest = 0;
  std::size_t times = 0;
  for (std::uint64_t at = 0; at < size; at += 128 * kib) {
    const byte_range next = of.read(at, 128 * kib, size, window);
    if (next.empty()) {
      continue;
    }
    ++times;
    BOOST_REQUIRE(next.begin == told);
    told = next.end;
    furthest = std::max(furthest, next.end - at);
  }
  BOOST_TEST(told == size);
  BOOST_TEST(times < 40U);  // whole requests, and not one for each read
  BOOST_TEST(furthest > 16 * mib);
  BOOST_TEST(furthest <= window + 128 * kib);
}

BOOST_AUTO_TEST_CASE(reads_here_and_there_are_not_read_on) {
  read_ahead of;
  for (const std::uint64_t at : {700 * mib, 20 * mib, 300 * mib, 299 * mib - 1, 5 * mib}) {
    BOOST_TEST(of.read(at, 64 * kib, 1000 * mib, window).empty());
  }
  // Until it goes on from one of them.
  BOOST_TEST((of.read(5 * mib + 64 * kib, 64 * kib, 1000 * mib, window) ==
              byte_range{5 * mib + 128 * kib, 5 * mib + 640 * kib}));
}

BOOST_AUTO_TEST_CASE(neighbours_that_were_swapped_still_go_forwards) {
  read_ahead of;
  std::uint64_t told = 0;
  for (const std::uint64_t at : {0, 2, 1, 3, 5, 4, 6, 7, 9, 8}) {
    const byte_range next = of.read(at * 128 * kib, 128 * kib, 100 * mib, window);
    told = std::max(told, next.end);
  }
  BOOST_TEST(told > 2 * mib);
}

BOOST_AUTO_TEST_CASE(what_was_not_begun_is_told_again) {
  read_ahead of;
  const byte_range first = of.read(0, mib, 100 * mib, window);
  BOOST_REQUIRE(!first.empty());
  of.given_up(mib + 100 * kib);
  const byte_range again = of.read(mib, mib, 100 * mib, window);
  BOOST_TEST(again.begin == 2 * mib);  // what was read meanwhile is not ahead
  of.given_up(2 * mib + 5);
  BOOST_TEST((of.read(2 * mib, 1, 100 * mib, window).begin == 2 * mib + 5));
}

BOOST_AUTO_TEST_CASE(a_window_that_is_shared_is_kept) {
  read_ahead of;
  for (std::uint64_t at = 0; at < 20 * mib; at += mib) {
    const byte_range next = of.read(at, mib, 100 * mib, 2 * mib);
    BOOST_TEST((next.empty() || next.end <= at + mib + 2 * mib));
  }
}

BOOST_AUTO_TEST_SUITE_END()
