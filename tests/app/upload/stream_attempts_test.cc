// Which one counts of several things that go wrong with a stream at once, and what follows from it.
#include "app/upload/stream_attempts.hh"

#include "app/upload/stream_outcome.hh"

#include <boost/test/unit_test.hpp>

#include <string>

using namespace bts3;
using namespace bts3::app;

namespace {

engine::error named(const std::string& text) {
  engine::error failure;
  failure.message = text;
  return failure;
}

stream_outcome upload_gone() {
  stream_outcome::upload_gone one;
  one.why = named("gone");
  return one;
}

stream_outcome differs(bool in_object) {
  stream_outcome::differs one;
  one.in_object = in_object;
  return one;
}

template <typename Alternative>
stream_outcome plain() {
  Alternative one;
  return one;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(stream_attempts_suite)

BOOST_AUTO_TEST_CASE(the_first_error_is_told_and_the_gravest_counts) {
  stream_trouble trouble;
  BOOST_TEST(!trouble.any());
  trouble.note_broken();  // whose error follows
  BOOST_TEST(!trouble.any());
  trouble.failed(named("first"));
  BOOST_TEST((trouble.outcome().as<stream_outcome::broken>() != nullptr));
  trouble.producer_failed(named("second"));
  BOOST_TEST((trouble.outcome().as<stream_outcome::broken>() != nullptr));
  trouble.upload_gone(4, named("third"));
  trouble.upload_gone(2, named("fourth"));
  trouble.upload_gone(3, named("fifth"));
  const stream_outcome ended = trouble.outcome();
  BOOST_REQUIRE((ended.as<stream_outcome::upload_gone>() != nullptr));
  BOOST_TEST((ended.chunk() == 2U));
  BOOST_TEST(ended.failure()->message == "first");
}

BOOST_AUTO_TEST_CASE(a_producer_that_failed_counts_more_than_what_failed_elsewhere) {
  stream_trouble trouble;
  trouble.failed(named("the network"));
  BOOST_TEST((trouble.outcome().as<stream_outcome::failed>() != nullptr));
  BOOST_TEST(!trouble.outcome().chunk());
  trouble.producer_failed(named("exit 1"));
  const stream_outcome ended = trouble.outcome();
  BOOST_REQUIRE((ended.as<stream_outcome::producer_failed>() != nullptr));
  BOOST_TEST(ended.failure()->message == "the network");
}

BOOST_AUTO_TEST_CASE(a_difference_names_its_chunk) {
  stream_trouble trouble;
  trouble.differs(5, true);
  const stream_outcome ended = trouble.outcome();
  BOOST_REQUIRE((ended.as<stream_outcome::differs>() != nullptr));
  BOOST_TEST(ended.as<stream_outcome::differs>()->in_object);
  BOOST_TEST((ended.chunk() == 5U));
  BOOST_TEST(ended.failure()->message.find("in chunk 5") != std::string::npos);
  BOOST_TEST((plain<stream_outcome::whole>().failure() == nullptr));
}

BOOST_AUTO_TEST_CASE(what_is_whole_goes_on_and_what_failed_is_kept) {
  stream_attempts attempts;
  BOOST_TEST((attempts.judge(plain<stream_outcome::whole>(), true) == after_stream::go_on));
  BOOST_TEST((attempts.judge(plain<stream_outcome::failed>(), false) == after_stream::keep));
  BOOST_TEST(
      (attempts.judge(plain<stream_outcome::producer_failed>(), false) == after_stream::explain));
}

BOOST_AUTO_TEST_CASE(a_broken_stream_is_sent_four_times_and_not_after_a_stop) {
  stream_attempts attempts;
  const stream_outcome broken = plain<stream_outcome::broken>();
  BOOST_TEST((attempts.judge(broken, true) == after_stream::keep));
  for (int time = 1; time < 4; ++time) {
    BOOST_TEST((attempts.judge(broken, false) == after_stream::send_again));
  }
  BOOST_TEST((attempts.judge(broken, false) == after_stream::keep_broken));
}

// What differs goes to new keys in the end; what the store drops is left to a better day.
BOOST_AUTO_TEST_CASE(uploads_that_are_gone_and_streams_that_differ_are_counted_together) {
  stream_attempts first;
  BOOST_TEST((first.judge(upload_gone(), false) == after_stream::upload_again));
  BOOST_TEST((first.judge(differs(false), false) == after_stream::upload_again));
  BOOST_TEST((first.judge(differs(false), false) == after_stream::begin_anew));
  stream_attempts second;
  BOOST_TEST((second.judge(differs(false), false) == after_stream::upload_again));
  BOOST_TEST((second.judge(upload_gone(), false) == after_stream::upload_again));
  BOOST_TEST((second.judge(upload_gone(), false) == after_stream::keep));
  stream_attempts third;
  BOOST_TEST((third.judge(differs(true), false) == after_stream::begin_anew));
}

BOOST_AUTO_TEST_SUITE_END()
