#include "engine/plain_text.hh"

#include <boost/test/unit_test.hpp>

#include <string>

using namespace bts3::engine;

BOOST_AUTO_TEST_SUITE(plain_text_suite)

BOOST_AUTO_TEST_CASE(words_in_any_script_stay_as_they_are) {
  for (const char* text : {"home", "Bücher", "データ", "Архив-2026", "a\xf0\x9f\x93\xa6z", ""}) {
    BOOST_TEST(is_plain(text));
    BOOST_TEST(printable(text) == text);
    BOOST_TEST(printable_json(text) == text);
  }
}

BOOST_AUTO_TEST_CASE(what_a_terminal_obeys_is_spelled_out) {
  BOOST_TEST(printable("a\x1b[31mred") == "a\\x1b[31mred");
  BOOST_TEST(printable("a\rb\nc\td\x7f") == "a\\x0db\\x0ac\\x09d\\x7f");
  BOOST_TEST(printable(std::string("nul\0!", 5)) == "nul\\x00!");
  BOOST_TEST(printable("csi \xc2\x9b"
                       "31m") == "csi \\u009b31m");
  BOOST_TEST(
      !is_plain("csi \xc2\x9b"
                "31m"));
}

BOOST_AUTO_TEST_CASE(what_turns_the_writing_direction_is_spelled_out) {
  const std::pair<const char*, const char*> marks[] = {
      {"\xd8\x9c", "\\u061c"},     {"\xe2\x80\x8e", "\\u200e"}, {"\xe2\x80\x8f", "\\u200f"},
      {"\xe2\x80\xaa", "\\u202a"}, {"\xe2\x80\xae", "\\u202e"}, {"\xe2\x81\xa6", "\\u2066"},
      {"\xe2\x81\xa9", "\\u2069"}, {"\xe2\x80\xa8", "\\u2028"}, {"\xe2\x80\xa9", "\\u2029"}};
  for (const auto& [mark, shown] : marks) {
    BOOST_TEST(printable(std::string("gnp.") + mark + "exe") ==
               std::string("gnp.") + shown + "exe");
    BOOST_TEST(!is_plain(mark));
    BOOST_TEST(printable_json(std::string("\"") + mark + "\"") == std::string("\"") + shown + "\"");
  }
  // Joiners are part of words and of pictures.
  BOOST_TEST(is_plain("\xe2\x80\x8d"));
}

BOOST_AUTO_TEST_CASE(bytes_that_are_no_utf8_are_spelled_out) {
  const std::pair<const char*, const char*> broken[] = {
      {"\x9b"
       "31m",
       "\\x9b31m"},                                  // CSI in eight bits
      {"caf\xe9", "caf\\xe9"},                       // Latin-1
      {"\xc0\xaf", "\\xc0\\xaf"},                    // overlong
      {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},           // overlong
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},           // surrogate
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // beyond Unicode
      {"cut \xe2\x80", "cut \\xe2\\x80"}};
  for (const auto& [text, shown] : broken) {
    BOOST_TEST(printable(text) == shown);
    BOOST_TEST(!is_utf8(text));
    BOOST_TEST(!is_plain(text));
  }
}

BOOST_AUTO_TEST_CASE(lines_stay_lines_where_several_are_meant) {
  BOOST_TEST(printable_lines("one\ntwo\x1b\r\n") == "one\ntwo\\x1b\\x0d\n");
  BOOST_TEST(printable_json("{\n  \"a\": \"\x7f\"\n}\n") == "{\n  \"a\": \"\\u007f\"\n}\n");
}

BOOST_AUTO_TEST_CASE(what_is_counted_is_one_or_several) {
  BOOST_TEST(counted(0, "object") == "0 objects");
  BOOST_TEST(counted(1, "object") == "1 object");
  BOOST_TEST(counted(2, "object") == "2 objects");
  BOOST_TEST(counted(1, "retry", "retries") == "1 retry");
  BOOST_TEST(counted(21, "retry", "retries") == "21 retries");
}

BOOST_AUTO_TEST_SUITE_END()
