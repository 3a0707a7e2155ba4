#include "s3/verbs/concurrency_control.hh"

#include <boost/test/unit_test.hpp>

using bts3::s3::concurrency_control;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

const concurrency_control::time_point start{seconds(100)};

}  // namespace

BOOST_AUTO_TEST_SUITE(concurrency_control_suite)

BOOST_AUTO_TEST_CASE(refusals_halve_the_limit_once_a_second_down_to_one) {
  concurrency_control control(16);
  BOOST_TEST(control.throttled(start) == 8U);
  BOOST_TEST(control.throttled(start + milliseconds(999)) == 0U);
  BOOST_TEST(control.limit() == 8U);
  BOOST_TEST(control.throttled(start + seconds(1)) == 4U);
  BOOST_TEST(control.throttled(start + seconds(2)) == 2U);
  BOOST_TEST(control.throttled(start + seconds(3)) == 1U);
  BOOST_TEST(control.throttled(start + seconds(4)) == 0U);
  BOOST_TEST(control.limit() == 1U);
}

BOOST_AUTO_TEST_CASE(successes_raise_it_by_one_for_each_round) {
  concurrency_control control(4);
  BOOST_TEST(!control.succeeded());  // it is at its most
  control.throttled(start);
  control.throttled(start + seconds(1));
  BOOST_TEST(control.limit() == 1U);
  BOOST_TEST(control.succeeded());
  BOOST_TEST(!control.succeeded());
  BOOST_TEST(control.succeeded());
  BOOST_TEST(control.limit() == 3U);
  // A refusal in between starts the round anew.
  control.succeeded();
  control.succeeded();
  control.throttled(start + seconds(1) + milliseconds(1));
  BOOST_TEST(!control.succeeded());
  BOOST_TEST(!control.succeeded());
  BOOST_TEST(control.succeeded());
  BOOST_TEST(control.limit() == 4U);
  BOOST_TEST(!control.succeeded());
  BOOST_TEST(control.limit() == 4U);
}

BOOST_AUTO_TEST_SUITE_END()
