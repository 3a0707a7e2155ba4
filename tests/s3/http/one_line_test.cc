#include "s3/http/one_line.hh"

#include <boost/test/unit_test.hpp>

#include <string>

using bts3::s3::message_bytes_max;
using bts3::s3::one_line;

BOOST_AUTO_TEST_SUITE(one_line_suite)

BOOST_AUTO_TEST_CASE(what_a_store_says_stands_on_one_line_and_commands_no_terminal) {
  BOOST_TEST(one_line("") == "");
  BOOST_TEST(one_line("Access Denied") == "Access Denied");
  BOOST_TEST(one_line("two\r\nlines\tand\x7f more") == "two  lines and  more");
  BOOST_TEST(one_line("clear: \x1b[2J") == "clear:  [2J");
  // The 8-bit forms, and what turns the direction of writing.
  BOOST_TEST(one_line("\x9b"
                      "2J") == "\\x9b2J");
  BOOST_TEST(one_line("a\u202eb") == "a\\u202eb");
  BOOST_TEST(one_line("na\u00efve \u65e5\u672c") == "na\u00efve \u65e5\u672c");
}

BOOST_AUTO_TEST_CASE(a_long_text_is_cut_and_says_so) {
  BOOST_TEST(one_line("12345", 5) == "12345");
  BOOST_TEST(one_line("123456", 5) == "12345...");
  BOOST_TEST(one_line(std::string(2 * message_bytes_max, 'x')) ==
             std::string(message_bytes_max, 'x') + "...");
}

// Characters of two, three and four bytes, cut behind each of their bytes but the last.
BOOST_AUTO_TEST_CASE(no_half_a_character_stands_at_the_cut) {
  for (const std::string& character :
       {std::string("\u00ef"), std::string("\u65e5"), std::string("\U0001f4be")}) {
    for (std::size_t half = 1; half < character.size(); ++half) {
      BOOST_TEST(one_line("ab" + character + "cd", 2 + half) == "ab...");
    }
  }
  // Nothing is left of a text that is all in pieces, and it ends.
  BOOST_TEST(one_line(std::string(100, '\x80'), 10) == "...");
}

BOOST_AUTO_TEST_SUITE_END()
