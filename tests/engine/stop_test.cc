#include "engine/stop.hh"

#include "tests/engine/support.hh"

#include <functional>
#include <optional>

using namespace bts3::engine;

namespace {
using callback = stop_callback<std::function<void()>>;
}

BOOST_AUTO_TEST_SUITE(stop_suite)

BOOST_AUTO_TEST_CASE(a_default_token_never_stops) {
  const stop_token token;
  BOOST_TEST(!token.stop_requested());
}

BOOST_AUTO_TEST_CASE(callbacks_run_once_inside_the_request) {
  stop_source source;
  int calls = 0;
  const callback first(source.token(), [&] { ++calls; });
  const callback second(source.token(), [&] { ++calls; });
  source.request_stop();
  source.request_stop();
  BOOST_TEST(calls == 2);
  BOOST_TEST(source.token().stop_requested());
}

BOOST_AUTO_TEST_CASE(a_destroyed_callback_does_not_run) {
  stop_source source;
  int calls = 0;
  {
    const callback gone(source.token(), [&] { ++calls; });
  }
  source.request_stop();
  BOOST_TEST(calls == 0);
}

BOOST_AUTO_TEST_CASE(a_late_callback_runs_in_its_constructor) {
  stop_source source;
  source.request_stop();
  int calls = 0;
  const callback late(source.token(), [&] { ++calls; });
  BOOST_TEST(calls == 1);
}

BOOST_AUTO_TEST_CASE(a_callback_may_destroy_another_one) {
  stop_source source;
  int calls = 0;
  std::optional<callback> victim;
  victim.emplace(source.token(), [&] { ++calls; });
  const callback killer(source.token(), [&] { victim.reset(); });
  source.request_stop();
  BOOST_TEST(calls == 0);
}

BOOST_AUTO_TEST_CASE(a_linked_source_follows_its_parent_and_not_the_other_way_round) {
  stop_source parent;
  {
    linked_stop_source child(parent.token());
    child.request_stop();
    BOOST_TEST(!parent.stop_requested());
  }
  linked_stop_source child(parent.token());
  parent.request_stop();
  BOOST_TEST(child.stop_requested());
  linked_stop_source born_late(parent.token());
  BOOST_TEST(born_late.stop_requested());
}

BOOST_AUTO_TEST_SUITE_END()
