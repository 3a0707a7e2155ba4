#include "app/store/manifest_state.hh"

#include "tests/support/memory_store.hh"

#include <boost/test/unit_test.hpp>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::memory_store;

BOOST_AUTO_TEST_SUITE(manifest_state_suite)

BOOST_AUTO_TEST_CASE(what_a_manifest_is_its_failure_says) {
  BOOST_TEST((state_of(memory_store::absent("k")) == manifest_state::absent));
  BOOST_TEST((state_of(memory_store::denied("k")) == manifest_state::refused));
  engine::error failure;
  failure.why = engine::reason::protocol;
  BOOST_TEST((state_of(failure) == manifest_state::damaged));
  failure.why = engine::reason::integrity;
  BOOST_TEST((state_of(failure) == manifest_state::damaged));
  failure.why = engine::reason::configuration;
  BOOST_TEST((state_of(failure) == manifest_state::too_large));
}

BOOST_AUTO_TEST_CASE(a_store_that_does_not_answer_says_nothing_of_a_manifest) {
  BOOST_TEST(!state_of(memory_store::lost_connection()).has_value());
  BOOST_TEST(!state_of(engine::cancelled_error()).has_value());
  for (const auto why : {engine::reason::network, engine::reason::throttled,
                         engine::reason::expired_token, engine::reason::clock_skew}) {
    engine::error failure;
    failure.why = why;
    BOOST_TEST(!state_of(failure).has_value());
    BOOST_TEST(!is_broken_chain(failure));
  }
  engine::error later;
  later.what_now = engine::disposition::retry;
  later.why = engine::reason::protocol;
  BOOST_TEST(!state_of(later).has_value());
}

BOOST_AUTO_TEST_CASE(a_chain_is_broken_by_what_is_absent_or_damaged_alone) {
  BOOST_TEST(is_broken_chain(memory_store::absent("k")));
  BOOST_TEST(!is_broken_chain(memory_store::denied("k")));
  engine::error failure;
  failure.why = engine::reason::integrity;
  BOOST_TEST(is_broken_chain(failure));
  failure.why = engine::reason::configuration;
  BOOST_TEST(!is_broken_chain(failure));
}

BOOST_AUTO_TEST_SUITE_END()
