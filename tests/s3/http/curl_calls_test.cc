#include "s3/http/curl_calls.hh"

#include "tests/support/ended_child.hh"

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <memory>
#include <string>

using namespace bts3::s3;
using bts3::testing::child_end;
using bts3::testing::end_of_child;

BOOST_AUTO_TEST_SUITE(curl_calls_suite)

BOOST_AUTO_TEST_CASE(memory_that_libcurl_lacks_ends_the_program_with_one_line) {
  const child_end ends[] = {end_of_child([] { must(CURLE_OUT_OF_MEMORY); }),
                            end_of_child([] { must(CURLM_OUT_OF_MEMORY); })};
  for (const child_end& end : ends) {
    BOOST_TEST(end.status == 1);
    BOOST_TEST(end.said ==
               "btrfs_to_s3: libcurl: Cannot allocate memory; run it again: it goes on where this "
               "one stopped\n");
  }
}

// An option that was not set would be a request that is not what it should be.
BOOST_AUTO_TEST_CASE(what_libcurl_refuses_otherwise_stops_the_program) {
  const std::unique_ptr<CURL, void (*)(CURL*)> easy(curl_easy_init(), curl_easy_cleanup);
  BOOST_REQUIRE(easy != nullptr);
  set_option(easy.get(), CURLOPT_TIMEOUT_MS, 5L);
  const child_end ends[] = {
      end_of_child([&] { set_option(easy.get(), static_cast<CURLoption>(0), 1L); }),
      end_of_child([] { set_option(static_cast<CURLM*>(nullptr), CURLMOPT_PIPELINING, 1L); })};
  for (const child_end& end : ends) {
    BOOST_TEST(end.signal == SIGABRT);
    BOOST_TEST(end.said.find("code == CURL") != std::string::npos, end.said);
  }
}

BOOST_AUTO_TEST_SUITE_END()
