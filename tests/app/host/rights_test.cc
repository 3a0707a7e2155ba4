#include "app/host/rights.hh"

#include <boost/test/unit_test.hpp>

#include <cerrno>

using namespace bts3;
using app::for_user;

BOOST_AUTO_TEST_SUITE(rights_suite)

BOOST_AUTO_TEST_CASE(whoever_is_not_root_is_told_to_be_where_the_system_refused) {
  for (const int code : {EACCES, EPERM}) {
    engine::error failure = engine::system_error(code, "global.lock_path /l", "name another file");
    BOOST_TEST(for_user(failure, 1000).remedy.starts_with("run this as root"));
    BOOST_TEST(for_user(failure, 0).remedy == "name another file");
    failure.why = engine::reason::configuration;
    BOOST_TEST(for_user(failure, 1000).remedy.starts_with("run this as root"));
  }
  BOOST_TEST(for_user(engine::system_error(EROFS, "/l", "name another file"), 1000).remedy ==
             "name another file");
}

BOOST_AUTO_TEST_CASE(what_a_store_refuses_has_nothing_to_do_with_root) {
  engine::error failure;
  failure.why = engine::reason::access;
  failure.message = "GET k: s3 answered 403 AccessDenied (Permission denied)";
  failure.remedy = "check the policies";
  BOOST_TEST(for_user(failure, 1000).remedy == "check the policies");
}

BOOST_AUTO_TEST_SUITE_END()
