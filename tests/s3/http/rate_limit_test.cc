#include "s3/http/rate_limit.hh"

#include <boost/test/unit_test.hpp>

#include <deque>
#include <vector>

using bts3::s3::rate_limit;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

const rate_limit::time_point start{seconds(1'000)};

}  // namespace

BOOST_AUTO_TEST_SUITE(rate_limit_suite)

BOOST_AUTO_TEST_CASE(without_a_limit_everything_goes) {
  rate_limit none(0);
  BOOST_TEST(!none.limited());
  BOOST_TEST(none.take(1 << 30, start) == std::size_t{1} << 30);
  BOOST_TEST((none.next(start) == start));
}

BOOST_AUTO_TEST_CASE(ten_seconds_carry_ten_seconds_worth_in_equal_shares) {
  for (const std::uint64_t rate :
       {std::uint64_t{20'000}, std::uint64_t{3'000'000}, std::uint64_t{800'000'000}}) {
    rate_limit limit(rate);
    std::vector<std::uint64_t> sent(4);
    std::deque<std::size_t> turns = {0, 1, 2, 3};
    for (auto now = start; now < start + seconds(10); now = std::max(limit.next(now), now)) {
      // As the transport does: whoever was refused longest asks first, and goes to the back.
      const std::size_t who = turns.front();
      const std::size_t got = limit.take(512 * 1024, now);
      if (got > 0) {
        sent[who] += got;
        turns.pop_front();
        turns.push_back(who);
      }
    }
    const std::uint64_t all = sent[0] + sent[1] + sent[2] + sent[3];
    const auto expected = static_cast<double>(rate) * 10;
    BOOST_TEST(static_cast<double>(all) >= 0.95 * expected);
    BOOST_TEST(static_cast<double>(all) <= 1.05 * expected);
    for (const std::uint64_t one : sent) {
      BOOST_TEST(one + limit.portion() >= all / 4);
      BOOST_TEST(one <= all / 4 + limit.portion());
    }
  }
}

BOOST_AUTO_TEST_CASE(a_pause_is_not_followed_by_a_flood) {
  rate_limit limit(1'000'000);
  while (limit.take(512 * 1024, start) > 0) {
  }
  std::uint64_t sent = 0;
  const auto later = start + seconds(60);
  while (const std::size_t got = limit.take(512 * 1024, later)) {
    sent += got;
  }
  BOOST_TEST(sent == 100'000U);
  BOOST_TEST((limit.next(later) > later));
  BOOST_TEST((limit.next(later) <= later + milliseconds(21)));
}

BOOST_AUTO_TEST_CASE(the_end_of_a_body_needs_no_whole_portion) {
  rate_limit limit(1'000'000);
  while (limit.take(512 * 1024, start) > 0) {
  }
  BOOST_TEST(limit.take(10, start + milliseconds(1)) == 10U);
  limit.give_back(10);
  BOOST_TEST(limit.take(10, start + milliseconds(1)) == 10U);
  // A clock that stands still gives nothing.
  BOOST_TEST(limit.take(5'000, start) == 0U);
}

BOOST_AUTO_TEST_CASE(what_was_received_before_it_was_counted_is_waited_for_afterwards) {
  rate_limit limit(1'000'000);
  while (limit.take(512 * 1024, start) > 0) {
  }
  limit.spend(500'000, start);
  const auto paid = limit.next(start);
  BOOST_TEST((paid >= start + milliseconds(500)));
  BOOST_TEST((paid <= start + milliseconds(521)));
  BOOST_TEST(limit.take(20'000, paid - milliseconds(1)) == 0U);
  BOOST_TEST(limit.take(20'000, paid) == 20'000U);
  // Ten seconds of reads of any size carry ten seconds' worth.
  std::uint64_t read = 0;
  std::size_t size = 1;
  const auto begin = paid + seconds(1);
  for (auto now = begin; now < begin + seconds(10); now = std::max(limit.next(now), now)) {
    limit.spend(size, now);
    read += size;
    size = size * 7 % 300'007;
  }
  BOOST_TEST(static_cast<double>(read) >= 0.97 * 10e6);
  BOOST_TEST(static_cast<double>(read) <= 1.05 * 10e6);
  rate_limit none(0);
  none.spend(1 << 30, start);
  BOOST_TEST((none.next(start) == start));
}

BOOST_AUTO_TEST_SUITE_END()
