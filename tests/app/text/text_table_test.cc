#include "app/text/text_table.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

using namespace bts3::app;
using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

BOOST_AUTO_TEST_SUITE(text_table_suite)

BOOST_AUTO_TEST_CASE(columns_are_as_wide_as_their_widest_cell) {
  text_table table({{"NAME", text_table::align::left}, {"SIZE", text_table::align::right}});
  table.add({"a", "5 B"});
  table.add({"h\xc3\xb6me", "10.0 MiB"});
  BOOST_TEST(table.width() == 14u);
  BOOST_TEST(table.text(2, 0) ==
             "  NAME      SIZE\n"
             "  a          5 B\n"
             "  h\xc3\xb6me  10.0 MiB\n");
}

BOOST_AUTO_TEST_CASE(a_line_is_shortened_by_whole_characters) {
  BOOST_TEST(shortened("data", 4) == "data");
  BOOST_TEST(shortened("data", 3) == "dat");
  BOOST_TEST(shortened("data", 0) == "");
  BOOST_TEST(shortened("h\xc3\xb6me", 2) == "h\xc3\xb6");
  BOOST_TEST(shortened("h\xc3\xb6me", 1) == "h");
}

BOOST_AUTO_TEST_CASE(notes_are_wrapped_below_their_row) {
  text_table table({{"A", text_table::align::left}, {"B", text_table::align::left}});
  table.add({"1", ""});
  table.note("one two three");
  table.gap();
  table.add({"2", "x"});
  BOOST_TEST(table.text(0, 12) == "A  B\n1\n    one two\n    three\n\n2  x\n");
  BOOST_TEST(table.text(0, 0) == "A  B\n1\n    one two three\n\n2  x\n");
}

BOOST_AUTO_TEST_CASE(a_word_that_is_too_long_has_a_line_of_its_own) {
  BOOST_TEST(wrapped("see bucket/a/very/long/key there", 2, 12) ==
             "  see\n  bucket/a/very/long/key\n  there\n");
  BOOST_TEST(wrapped("", 2, 12) == "  \n");
}

BOOST_AUTO_TEST_CASE(control_characters_are_shown) {
  BOOST_TEST(printable("a\x1b[31m\n\x7f\xc3\xb6") == "a\\x1b[31m\\x0a\\x7f\xc3\xb6");
}

BOOST_AUTO_TEST_CASE(ages_have_the_unit_that_matters) {
  BOOST_TEST(format_age(seconds(119)) == "119 s");
  BOOST_TEST(format_age(minutes(119)) == "119 min");
  BOOST_TEST(format_age(hours(2)) == "2 h");
  BOOST_TEST(format_age(hours(47)) == "47 h");
  BOOST_TEST(format_age(days(185)) == "185 d");
  BOOST_TEST(format_age(seconds(-1)) == "in the future");
}

BOOST_AUTO_TEST_CASE(only_a_terminal_has_a_width) {
  int ends[2];
  BOOST_REQUIRE(::pipe(ends) == 0);
  BOOST_TEST(terminal_columns(ends[1]) == 0u);
  ::close(ends[0]);
  ::close(ends[1]);
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
  BOOST_REQUIRE((master >= 0 && ::grantpt(master) == 0 && ::unlockpt(master) == 0));
  const int terminal = ::open(::ptsname(master), O_RDWR | O_NOCTTY);
  BOOST_REQUIRE(terminal >= 0);
  BOOST_TEST(terminal_columns(terminal) == 80u);
  const winsize size{24, 132, 0, 0};
  BOOST_REQUIRE(::ioctl(master, TIOCSWINSZ, &size) == 0);
  BOOST_TEST(terminal_columns(terminal) == 132u);
  ::close(terminal);
  ::close(master);
}

BOOST_AUTO_TEST_SUITE_END()
