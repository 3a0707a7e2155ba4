#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

#include <boost/test/unit_test.hpp>

using namespace bts3::planner;

BOOST_AUTO_TEST_SUITE(json_text_suite)

BOOST_AUTO_TEST_CASE(a_line_has_no_end_and_a_document_has_one) {
  const nlohmann::ordered_json value = {{"b", 1}, {"a", {"x"}}};
  BOOST_TEST(json_line(value) == R"({"b":1,"a":["x"]})");
  BOOST_TEST(json_document(value) == "{\n  \"b\": 1,\n  \"a\": [\n    \"x\"\n  ]\n}\n");
}

BOOST_AUTO_TEST_CASE(what_is_no_utf8_is_replaced) {
  const nlohmann::json value = "a\xff";
  BOOST_TEST(json_line(value) == "\"a\xef\xbf\xbd\"");
}

BOOST_AUTO_TEST_SUITE_END()
