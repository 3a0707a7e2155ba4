#include "s3/credentials/credential_document.hh"

#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <string>

using namespace bts3;
using namespace bts3::s3;

namespace {

std::time_t seconds_of(const std::string& text) {
  const auto parsed = parse_iso8601(text);
  return parsed ? std::chrono::system_clock::to_time_t(*parsed) : -1;
}

constexpr const char* full_metadata =
    R"({"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ASIA1","SecretAccessKey":"s/+=",)"
    R"("Token":"t","Expiration":"2013-05-24T01:00:00Z","LastUpdated":"2013-05-24T00:00:00Z"})";

engine::error process_error(const std::string& json) {
  auto parsed = parse_credential_document(json, credential_dialect::process, "P");
  BOOST_REQUIRE_MESSAGE(!parsed.has_value(), json << " was accepted");
  BOOST_TEST((parsed.error().what_now == engine::disposition::fail));
  BOOST_TEST((parsed.error().why == engine::reason::access));
  BOOST_TEST(!parsed.error().remedy.empty());
  return parsed.error();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(credentials_document)

BOOST_AUTO_TEST_CASE(times_are_read_with_zone_and_fraction) {
  BOOST_TEST(seconds_of("1970-01-01T00:00:00Z") == 0);
  BOOST_TEST(seconds_of("2013-05-24T00:00:00Z") == 1'369'353'600);
  BOOST_TEST(seconds_of("2013-05-24T00:00:00.123456Z") == 1'369'353'600);
  BOOST_TEST(seconds_of("2013-05-24 00:00:00z") == 1'369'353'600);
  BOOST_TEST(seconds_of("2013-05-24T02:00:00+02:00") == 1'369'353'600);
  BOOST_TEST(seconds_of("2013-05-23T18:30:00-0530") == 1'369'353'600);
  BOOST_TEST(seconds_of("2016-02-29T23:59:60Z") == 1'456'790'400);
}

BOOST_AUTO_TEST_CASE(what_is_no_time_is_refused) {
  for (const char* text :
       {"", "Z", "2013-05-24", "2013-05-24T00:00:00", "2013-02-30T00:00:00Z",
        "2013-13-01T00:00:00Z", "2013-00-01T00:00:00Z", "2013-05-24T24:00:00Z",
        "2013-05-24T00:60:00Z", "2013-05-24T00:00:00.Z", "2013-05-24T00:00:00+2:00",
        "2013-05-24T00:00:00+24:00", "2013-05-24T00:00:00+02:00x", "2013-05-24T00:00:00Zx",
        "-013-05-24T00:00:00Z", "2013-05-24T-1:00:00Z", "1369353600", "2013-05-24T00:00"}) {
    BOOST_TEST_CONTEXT(text) {
      BOOST_TEST(!parse_iso8601(text).has_value());
    }
  }
}

BOOST_AUTO_TEST_CASE(an_expiry_that_clocks_cannot_count_stays_far_away) {
  const auto year_2100 = std::chrono::sys_days(std::chrono::year(2100) / 1 / 1);
  for (const char* text : {"9999-12-31T23:59:59Z", "9999-12-31T23:59:60-23:59",
                           "2262-04-12T00:00:00Z", "2500-01-01T00:00:00+00:00"}) {
    const auto when = parse_iso8601(text);
    BOOST_REQUIRE_MESSAGE(when.has_value(), text);
    BOOST_TEST((*when > year_2100), text);
  }
  const auto year_1971 = std::chrono::sys_days(std::chrono::year(1971) / 1 / 1);
  for (const char* text : {"0000-01-01T00:00:00+23:59", "1677-09-21T00:00:00Z"}) {
    const auto when = parse_iso8601(text);
    BOOST_REQUIRE_MESSAGE(when.has_value(), text);
    BOOST_TEST((*when < year_1971), text);
  }
}

BOOST_AUTO_TEST_CASE(a_metadata_document_gives_everything) {
  const auto found =
      parse_credential_document(full_metadata, credential_dialect::metadata, "the place");
  BOOST_REQUIRE_MESSAGE(found.has_value(), testing::error_text(found));
  BOOST_TEST(found->access_key_id == "ASIA1");
  BOOST_TEST(found->secret_access_key == "s/+=");
  BOOST_TEST(found->session_token == "t");
  BOOST_TEST(found->source == "the place");
  BOOST_REQUIRE(found->expiration.has_value());
  BOOST_TEST(std::chrono::system_clock::to_time_t(*found->expiration) == 1'369'357'200);
}

BOOST_AUTO_TEST_CASE(a_metadata_document_that_failed_says_its_code) {
  const auto found = parse_credential_document(R"({"Code":"AssumeRoleUnauthorizedAccess"})",
                                               credential_dialect::metadata, "the place");
  BOOST_REQUIRE(!found.has_value());
  BOOST_TEST(found.error().message == "the place: it says AssumeRoleUnauthorizedAccess");
}

BOOST_AUTO_TEST_CASE(a_process_needs_version_1_and_may_leave_out_token_and_expiration) {
  const auto found = parse_credential_document(
      R"({"Version": 1, "AccessKeyId": "AKID", "SecretAccessKey": "s", "SessionToken": null})",
      credential_dialect::process, "P");
  BOOST_REQUIRE_MESSAGE(found.has_value(), testing::error_text(found));
  BOOST_TEST(found->session_token == "");
  BOOST_TEST(!found->expiration.has_value());
  for (const char* version : {"", R"("Version": 2,)", R"("Version": "1",)"}) {
    const std::string json =
        std::string("{") + version + R"("AccessKeyId": "AKID", "SecretAccessKey": "s"})";
    BOOST_TEST(process_error(json).message == "P: \"Version\" is not 1");
  }
}

BOOST_AUTO_TEST_CASE(a_damaged_document_names_the_field_and_no_value) {
  BOOST_TEST(process_error("").message == "P: the answer is no JSON object");
  BOOST_TEST(process_error("hunter2").message == "P: the answer is no JSON object");
  BOOST_TEST(process_error(R"({"Version":1,"SecretAccessKey":"hunter2"})").message ==
             "P: the answer has no \"AccessKeyId\"");
  BOOST_TEST(process_error(R"({"Version":1,"AccessKeyId":"a","SecretAccessKey":""})").message ==
             "P: the answer has no \"SecretAccessKey\"");
  BOOST_TEST(process_error(R"({"Version":1,"AccessKeyId":"a","SecretAccessKey":7})").message ==
             "P: a field of the answer is not a string");
  BOOST_TEST(process_error(R"({"Version":1,"AccessKeyId":"a","SecretAccessKey":"hunter2",)"
                           R"("Expiration":"soon"})")
                 .message == "P: \"Expiration\" is no time with a zone: \"soon\"");
}

BOOST_AUTO_TEST_SUITE_END()
