// What HEAD says of archived objects, and how long they take.
#include "s3/verbs/archive_status.hh"

#include "tests/s3/http/fake_transport.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <string>

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;
using engine::reason;
using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

constexpr std::uint64_t gib = std::uint64_t{1} << 30;

const wall_time start = std::chrono::system_clock::from_time_t(reference_time);

object_info info_of(const std::string& stored_as, const std::string& restore = {},
                    const std::string& archive = {}) {
  object_info info;
  info.size = 4;
  info.stored_as = storage_class(stored_as);
  info.restore = restore;
  info.archive_status = archive;
  return info;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(archive_thaw_suite)

BOOST_AUTO_TEST_CASE(head_tells_whether_an_object_is_archived) {
  const std::string done = "ongoing-request=\"false\", expiry-date=\"";
  struct expectation {
    object_info info;
    archive_state state;
    archive_depth depth;
  };
  using state = archive_state;
  using depth = archive_depth;
  const expectation table[] = {
      {info_of(""), state::readable, depth::none},
      {info_of("STANDARD"), state::readable, depth::none},
      {info_of("GLACIER_IR"), state::readable, depth::none},
      {info_of("INTELLIGENT_TIERING"), state::readable, depth::none},
      {info_of("INTELLIGENT_TIERING", "ongoing-request=\"false\""), state::readable, depth::none},
      {info_of("GLACIER"), state::archived, depth::archive},
      {info_of("DEEP_ARCHIVE"), state::archived, depth::deep},
      {info_of("INTELLIGENT_TIERING", "", "ARCHIVE_ACCESS"), state::archived, depth::archive},
      {info_of("INTELLIGENT_TIERING", "", "DEEP_ARCHIVE_ACCESS"), state::archived, depth::deep},
      {info_of("GLACIER", "ongoing-request=\"true\""), state::thawing, depth::archive},
      {info_of("INTELLIGENT_TIERING", "ongoing-request=\"true\"", "ARCHIVE_ACCESS"), state::thawing,
       depth::archive},
      {info_of("INTELLIGENT_TIERING", "ongoing-request=\"false\"", "ARCHIVE_ACCESS"),
       state::archived, depth::archive},
      // It is Fri, 24 May 2013 00:00:00 GMT.
      {info_of("GLACIER", done + "Fri, 24 May 2013 00:00:01 GMT\""), state::thawed, depth::archive},
      {info_of("GLACIER", done + "Fri, 24 May 2013 00:00:00 GMT\""), state::expired,
       depth::archive},
      {info_of("DEEP_ARCHIVE", done + "Fri, 21 Dec 2012 00:00:00 GMT\""), state::expired,
       depth::deep},
      {info_of("GLACIER", done + "2013-05-25T00:00:00.000Z\""), state::thawed, depth::archive},
      {info_of("GLACIER", done + "2012-12-21T00:00:00Z\""), state::expired, depth::archive},
      {info_of("GLACIER", "ongoing-request=\"false\""), state::thawed, depth::archive},
  };
  for (const expectation& expected : table) {
    BOOST_TEST_CONTEXT(expected.info.stored_as.str() << " " << expected.info.restore) {
      const auto status = archive_status_of(object_key("k"), expected.info, start);
      BOOST_REQUIRE_MESSAGE(status.has_value(), error_text(status));
      BOOST_TEST((status->state == expected.state));
      BOOST_TEST((status->depth == expected.depth));
    }
  }
  const auto until = archive_status_of(
      object_key("k"), info_of("GLACIER", done + "2013-05-25T00:00:00.000Z\""), start);
  BOOST_TEST((until->until == start + days(1)));
}

BOOST_AUTO_TEST_CASE(a_copy_that_lives_until_the_year_9999_has_not_expired_in_1816) {
  for (const char* date : {"Fri, 31 Dec 9999 00:00:00 GMT", "9999-12-31T00:00:00.000Z"}) {
    const std::string header =
        std::string("ongoing-request=\"false\", expiry-date=\"") + date + "\"";
    const auto status = archive_status_of(object_key("k"), info_of("GLACIER", header), start);
    BOOST_REQUIRE_MESSAGE(status.has_value(), error_text(status));
    BOOST_TEST((status->state == archive_state::thawed), date);
  }
}

// Stores that imitate the header leave out its quotes, or write it in other letters.
BOOST_AUTO_TEST_CASE(a_restore_header_without_quotes_and_in_any_case_is_read) {
  const wall_time until = std::chrono::sys_days(std::chrono::year(2012) / 12 / 21);
  struct expectation {
    const char* header;
    archive_state state;
    bool has_end;
  };
  for (const auto& [header, state, has_end] :
       {expectation{"ongoing-request=true", archive_state::thawing, false},
        {"Ongoing-Request=\"True\"", archive_state::thawing, false},
        {"ongoing-request = TRUE", archive_state::thawing, false},
        {"ongoing-request=false", archive_state::thawed, false},
        {"ongoing-request=false, expiry-date=Fri, 21 Dec 2012 00:00:00 GMT", archive_state::thawed,
         true},
        {"ONGOING-REQUEST=FALSE,EXPIRY-DATE=\"Fri, 21 Dec 2012 00:00:00 GMT\"",
         archive_state::thawed, true},
        {"expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\", ongoing-request=false",
         archive_state::thawed, true}}) {
    const auto status = archive_status_of(object_key("k"), info_of("GLACIER", header),
                                          until - std::chrono::hours(1));
    BOOST_REQUIRE_MESSAGE(status.has_value(), error_text(status));
    BOOST_TEST((status->state == state), header);
    BOOST_TEST((status->until.has_value() == has_end), header);
    BOOST_TEST((!has_end || *status->until == until), header);
  }
}

BOOST_AUTO_TEST_CASE(a_restore_header_that_makes_no_sense_is_an_error_that_quotes_it) {
  for (const char* header : {"nonsense", "ongoing-request=\"maybe\"", "ongoing-request=\"true",
                             "ongoing-request=\"false\", expiry-date=\"soon\""}) {
    const auto status =
        archive_status_of(object_key("some/key"), info_of("GLACIER", header), start);
    BOOST_REQUIRE(!status.has_value());
    BOOST_TEST((status.error().why == reason::protocol));
    BOOST_TEST(status.error().message.find("some/key") != std::string::npos);
    BOOST_TEST(status.error().message.find(header) != std::string::npos);
  }
}

// The table of "Archive retrieval options", Amazon S3 User Guide.
BOOST_AUTO_TEST_CASE(typical_times_are_those_of_the_user_guide) {
  using tier = retrieval_tier;
  using depth = archive_depth;
  const auto check = [](depth where, tier how, std::uint64_t bytes, seconds least, seconds most) {
    const auto typical = typical_thaw_time(where, how, bytes);
    BOOST_REQUIRE(typical.has_value());
    BOOST_TEST(typical->least.count() == least.count());
    BOOST_TEST(typical->most.count() == most.count());
  };
  check(depth::none, tier::bulk, gib, seconds(0), seconds(0));
  check(depth::archive, tier::expedited, 1000, minutes(1), minutes(5));
  check(depth::archive, tier::expedited, 300'000'000'000, minutes(1), minutes(5) + seconds(1000));
  check(depth::archive, tier::standard, gib, hours(3), hours(5));
  check(depth::archive, tier::bulk, gib, hours(5), hours(12));
  check(depth::deep, tier::standard, gib, seconds(0), hours(12));
  check(depth::deep, tier::bulk, gib, seconds(0), hours(48));
  BOOST_TEST(!typical_thaw_time(depth::deep, tier::expedited, 1).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
