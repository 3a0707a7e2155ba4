#include "engine/result.hh"

#include "tests/engine/support.hh"

#include <cerrno>

using namespace bts3::engine;

BOOST_AUTO_TEST_SUITE(error_suite)

BOOST_AUTO_TEST_CASE(a_system_error_names_the_culprit_and_the_cause) {
  const error failure = system_error(ENOSPC, "writing /x/state.json", "free some space");
  BOOST_TEST(failure.code == "ENOSPC");
  BOOST_TEST(failure.text() == "writing /x/state.json: No space left on device; free some space");
  BOOST_TEST((failure.what_now == disposition::fail));
}

BOOST_AUTO_TEST_CASE(dispositions_follow_errno) {
  BOOST_TEST((system_error(ENOENT, "x").what_now == disposition::not_found));
  BOOST_TEST((system_error(ECANCELED, "x").what_now == disposition::cancelled));
}

BOOST_AUTO_TEST_CASE(context_goes_in_front) {
  error failure = system_error(EIO, "read");
  failure = std::move(failure).within("chunk 3");
  BOOST_TEST(failure.message == "chunk 3: read: Input/output error");
}

BOOST_AUTO_TEST_SUITE_END()
