#include "app/cli/point_in_time.hh"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <ctime>
#include <optional>
#include <string>

using namespace bts3::app;

namespace {

// Sets TZ for one case.
class zone {
 public:
  explicit zone(const char* name) {
    if (const char* old = std::getenv("TZ")) {
      _old = old;
    }
    ::setenv("TZ", name, 1);
    ::tzset();
  }
  ~zone() {
    if (_old) {
      ::setenv("TZ", _old->c_str(), 1);
    } else {
      ::unsetenv("TZ");
    }
    ::tzset();
  }
  zone(const zone&) = delete;
  zone& operator=(const zone&) = delete;

 private:
  std::optional<std::string> _old;
};

std::string meant(std::string_view text) {
  const auto when = parse_point_in_time(text);
  return when ? when->rfc3339() : "refused";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(point_in_time_suite)

BOOST_AUTO_TEST_CASE(a_point_in_time_is_read_in_every_form) {
  // POSIX form, so that no time zone database is needed: one hour east, two in summer.
  const zone berlin("CET-1CEST,M3.5.0,M10.5.0/3");
  BOOST_TEST(meant("2026-01-02T03:04:05Z") == "2026-01-02T03:04:05Z");
  BOOST_TEST(meant("2026-01-02T03:04:05.999Z") == "2026-01-02T03:04:05Z");
  BOOST_TEST(meant("20260102T030405Z") == "2026-01-02T03:04:05Z");
  BOOST_TEST(meant("2026-01-02T03:04:05+05:30") == "2026-01-01T21:34:05Z");
  BOOST_TEST(meant("2026-01-02T03:04:05-0800") == "2026-01-02T11:04:05Z");
  // What is named to the minute, or to the day, is meant as a whole.
  BOOST_TEST(meant("2026-01-02 03:04") == "2026-01-02T02:04:59Z");
  BOOST_TEST(meant("2026-01-02T03:04Z") == "2026-01-02T03:04:59Z");
  BOOST_TEST(meant("2026-01-02T03:04+05:30") == "2026-01-01T21:34:59Z");
  BOOST_TEST(meant("2026-01-02") == "2026-01-02T22:59:59Z");
  BOOST_TEST(meant("2026-03-29") == "2026-03-29T21:59:59Z");
  BOOST_TEST(meant("2026-12-31") == "2026-12-31T22:59:59Z");
  // An hour that comes twice: the later.
  BOOST_TEST(meant("2026-10-25 02:30") == "2026-10-25T01:30:59Z");
  // As list prints it, which is in no doubt.
  BOOST_TEST(meant("2026-10-25 02:30+02") == "2026-10-25T00:30:59Z");
  BOOST_TEST(meant("2026-10-25 02:30:07+01") == "2026-10-25T01:30:07Z");
  BOOST_TEST(meant("2026-07-02 03:04+05:30") == "2026-07-01T21:34:59Z");
  BOOST_TEST(meant("2026-07-02 03:04Z") == "2026-07-02T03:04:59Z");
  BOOST_TEST(meant("2026-10-25 02:30:01") == "2026-10-25T01:30:01Z");
  BOOST_TEST(meant("2026-07-02 03:04:05") == "2026-07-02T01:04:05Z");
  for (const char* wrong :
       {"", "now", "2026-01", "2026-02-30", "2026-13-01", "2026-00-01", "2026-01-00", "2026-01-02 ",
        "2026-01-02 03", "2026-01-02 03:04 ", "2026-01-02T03:04",
        "2026-01-02 03:04:", "2026-01-02 03:60", "2026-02-30 01:00", "2026-01-02 24:00",
        "2026-03-29 02:30", "2026-01-02T03:04:05+25:00", "2026-01-02T03:04:05", "-2026-1-2 3:4"}) {
    BOOST_TEST(meant(wrong) == "refused", wrong);
  }
}

// Days of local time have the bounds of times in UTC: nothing calculates with the year 9999.
BOOST_AUTO_TEST_CASE(a_day_is_of_the_years_that_backups_can_be_of_however_it_is_written) {
  const zone berlin("CET-1CEST,M3.5.0,M10.5.0/3");
  BOOST_TEST(meant("1970-01-02") == "1970-01-02T22:59:59Z");
  BOOST_TEST(meant("2199-12-31") == "2199-12-31T22:59:59Z");
  for (const char* wrong :
       {"1969-12-31", "2200-01-01", "9999-12-31", "9999-12-31 23:59", "9999-12-31 23:59:59",
        "0001-01-01", "-001-01-01", "1816-03-29 05:56", "2026-+1-02", "2026- 1- 2",
        "9999-12-31T23:59:59Z", "9999-12-31T23:59:59+01:00"}) {
    BOOST_TEST(meant(wrong) == "refused", wrong);
  }
}

BOOST_AUTO_TEST_SUITE_END()
