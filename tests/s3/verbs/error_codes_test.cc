// What refusals of a store become.
#include "tests/s3/verbs/client_scene.hh"
#include "tests/support/shown_setting.hh"

#include <string>

using bts3::engine::setting;
using bts3::testing::shown;

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;

BOOST_AUTO_TEST_SUITE(s3_client_suite)

BOOST_AUTO_TEST_CASE(errors_are_told_apart_by_code) {
  struct expectation {
    int status;
    const char* code;
    disposition what_now;
    reason why;
  };
  const expectation table[] = {
      {404, "NoSuchKey", disposition::not_found, reason::unspecified},
      {404, "NoSuchUpload", disposition::not_found, reason::unspecified},
      {404, "NoSuchBucket", disposition::fail, reason::configuration},
      {403, "SignatureDoesNotMatch", disposition::fail, reason::access},
      {403, "InvalidAccessKeyId", disposition::fail, reason::access},
      {403, "AccessDenied", disposition::fail, reason::access},
      {400, "InvalidToken", disposition::fail, reason::access},
      {400, "ExpiredToken", disposition::fail, reason::expired_token},
      {403, "RequestTimeTooSkewed", disposition::fail, reason::clock_skew},
      {403, "InvalidObjectState", disposition::fail, reason::not_thawed},
      {301, "PermanentRedirect", disposition::fail, reason::configuration},
      {400, "AuthorizationHeaderMalformed", disposition::fail, reason::configuration},
      {400, "InvalidStorageClass", disposition::fail, reason::configuration},
      {503, "SlowDown", disposition::retry, reason::throttled},
      {503, "ServiceUnavailable", disposition::retry, reason::throttled},
      {429, "TooManyRequests", disposition::retry, reason::throttled},
      {500, "InternalError", disposition::retry, reason::unspecified},
      {502, "SomethingNew", disposition::retry, reason::unspecified},
      {507, "XMinioStorageFull", disposition::retry, reason::unspecified},
      {400, "RequestTimeout", disposition::retry, reason::bad_request},
      {400, "BadDigest", disposition::retry, reason::bad_request},
      {400, "XAmzContentSHA256Mismatch", disposition::retry, reason::bad_request},
      {400, "IncompleteBody", disposition::retry, reason::bad_request},
      {408, "Whatever", disposition::retry, reason::bad_request},
      {412, "PreconditionFailed", disposition::fail, reason::precondition},
      {409, "ConditionalRequestConflict", disposition::retry, reason::precondition},
      {409, "BucketNotEmpty", disposition::fail, reason::precondition},
      {501, "NotImplemented", disposition::fail, reason::unsupported},
      {400, "EntityTooSmall", disposition::fail, reason::unspecified},
      {418, "Teapot", disposition::fail, reason::unspecified},
  };
  client_scene here;
  for (const expectation& expected : table) {
    BOOST_TEST_CONTEXT(expected.code) {
      const engine::error failure = here.get_error(refusal(expected.status, expected.code));
      BOOST_TEST((failure.what_now == expected.what_now));
      BOOST_TEST((failure.why == expected.why));
      BOOST_TEST(failure.status == expected.status);
      BOOST_TEST(failure.code == expected.code);
      BOOST_TEST(contains(failure.message, expected.code));
      const bool needs_remedy =
          failure.why == reason::configuration || failure.why == reason::access;
      BOOST_TEST((!needs_remedy || !failure.remedy.empty()));
    }
  }
  // No request was repeated.
  BOOST_TEST(here.transport.sent.size() == std::size(table));
}

BOOST_AUTO_TEST_CASE(a_head_has_no_body_and_is_judged_by_its_status) {
  client_scene here;
  engine::error failure = here.head_error(answer(404));
  BOOST_TEST((failure.what_now == disposition::not_found));
  BOOST_TEST(failure.code == "NoSuchKey");
  BOOST_TEST((here.head_error(answer(403)).why == reason::access));
  BOOST_TEST((here.head_error(answer(503)).why == reason::throttled));
  BOOST_TEST((here.head_error(answer(500)).what_now == disposition::retry));
  BOOST_TEST((here.head_error(answer(412)).why == reason::precondition));
}

BOOST_AUTO_TEST_CASE(an_access_error_names_the_key_and_where_it_came_from) {
  client_scene here;
  const engine::error failure = here.get_error(refusal(403, "SignatureDoesNotMatch", "no\nmatch"));
  BOOST_TEST(failure.message ==
             "GET k: store.example answered 403 SignatureDoesNotMatch (no match); access key "
             "AKIAIOSFODNN7EXAMPLE from the test");
  BOOST_TEST(contains(failure.remedy, "check the credentials"));
  BOOST_TEST(!contains(failure.text(), "wJalrXUtnFEMI"));
}

BOOST_AUTO_TEST_CASE(a_wrong_region_names_the_right_one) {
  const std::string remedy = "the bucket is in region eu-west-1: " + shown(setting::region) +
                             " must be that, and is \"us-east-1\"";
  client_scene here;
  BOOST_TEST(here.get_error(refusal(400, "AuthorizationHeaderMalformed", "wrong",
                                    "<Region>eu-west-1</Region>"))
                 .remedy == remedy);
  BOOST_TEST(here.get_error(refusal(301, "PermanentRedirect", "elsewhere", "",
                                    {{"x-amz-bucket-region", "eu-west-1"}}))
                 .remedy == remedy);
  for (const int status : {301, 400}) {
    const engine::error failure =
        here.head_error(answer(status, {{"x-amz-bucket-region", "eu-west-1"}}));
    BOOST_TEST(failure.remedy == remedy);
    BOOST_TEST((failure.why == reason::configuration));
  }
  // The region is right: whatever is wrong, it is not that.
  BOOST_TEST(!contains(here.get_error(refusal(400, "InvalidArgument", "no", "",
                                              {{"x-amz-bucket-region", "us-east-1"}}))
                           .remedy,
                       "region"));
}

BOOST_AUTO_TEST_CASE(a_failure_names_the_key_or_the_bucket) {
  client_scene here;
  here.transport.then(network_error());
  const auto listed = here.run(here.client->list_objects(list_request("p/"), {}));
  BOOST_REQUIRE(!listed.has_value());
  BOOST_TEST(listed.error().message == "GET bucket bucket: store.example: connection refused");
  here.transport.then(network_error());
  const auto read = here.run(here.client->get_object_text(object_key("k"), 100, {}));
  BOOST_REQUIRE(!read.has_value());
  BOOST_TEST(read.error().message == "GET k: store.example: connection refused");
}

BOOST_AUTO_TEST_CASE(retry_after_is_kept_as_seconds_or_date) {
  client_scene here;
  using std::chrono::seconds;
  const auto waiting = [&](header_list headers) {
    return here.get_error(refusal(503, "SlowDown", "slow", "", std::move(headers))).retry_after;
  };
  BOOST_TEST((waiting({}) == seconds(0)));
  BOOST_TEST((waiting({{"retry-after", "7"}}) == seconds(7)));
  BOOST_TEST((waiting({{"retry-after", "99999999999"}}) == seconds(86'400)));
  BOOST_TEST((waiting({{"retry-after", "soon"}}) == seconds(0)));
  BOOST_TEST((waiting({{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                       {"retry-after", "Fri, 24 May 2013 00:02:00 GMT"}}) == seconds(120)));
  BOOST_TEST((waiting({{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                       {"retry-after", "Fri, 24 May 2013 00:00:00 GMT"}}) == seconds(0)));
}

BOOST_AUTO_TEST_CASE(a_refused_checksum_header_is_an_unsupported_feature) {
  const std::string message =
      "Unsupported header 'x-amz-checksum-crc32' received for this API call.";
  client_scene here;
  const std::string body = "x";
  upload_part_request request(object_key("k"), upload_id("u"), 1, as_bytes(body));
  request.digests.crc32 = 1;
  for (const char* code : {"InvalidArgument", "InvalidRequest", "NotImplemented", ""}) {
    here.transport.then(refusal(400, code, message));
    const auto tag = here.run(here.client->upload_part(request, {}));
    BOOST_REQUIRE(!tag.has_value());
    BOOST_TEST((tag.error().why == reason::unsupported), code);
  }
  // The message alone decides nothing where the code says something else, and a request without a
  // checksum is not refused for one.
  here.transport.then(refusal(400, "EntityTooSmall", message));
  auto tag = here.run(here.client->upload_part(request, {}));
  BOOST_REQUIRE(!tag.has_value());
  BOOST_TEST((tag.error().why == reason::unspecified));
  request.digests.crc32.reset();
  here.transport.then(refusal(400, "InvalidRequest", "needs a checksum"));
  tag = here.run(here.client->upload_part(request, {}));
  BOOST_REQUIRE(!tag.has_value());
  BOOST_TEST((tag.error().why == reason::unspecified));
}

BOOST_AUTO_TEST_CASE(a_checksum_that_does_not_fit_the_body_blames_the_body) {
  struct said {
    const char* code;
    const char* message;
  };
  const said table[] = {
      // AWS, MinIO, Garage, and nobody in particular.
      {"BadDigest", "The CRC32 you specified did not match the calculated checksum."},
      {"XAmzContentChecksumMismatch",
       "The provided 'x-amz-checksum' header does not match what was computed."},
      {"InvalidDigest", "Invalid digest: Failed to validate checksum for algorithm Crc32"},
      {"InvalidRequest", "x-amz-checksum-crc32 does not match the body"},
      {"InvalidArgument", "Checksum mismatch"},
  };
  for (const auto& [code, message] : table) {
    client_scene here;
    const std::string body = "x";
    upload_part_request part(object_key("k"), upload_id("u"), 1, as_bytes(body));
    part.digests.crc32 = 1;
    put_request whole(object_key("k"), as_bytes(body));
    whole.digests.crc32 = 1;
    here.transport.then(refusal(400, code, message));
    here.transport.then(refusal(400, code, message));
    const auto answers = {here.run(here.client->upload_part(part, {})),
                          here.run(here.client->put_object(whole, {}))};
    for (const auto& tag : answers) {
      BOOST_REQUIRE(!tag.has_value());
      BOOST_TEST((tag.error().why == reason::bad_request), code);
      BOOST_TEST((tag.error().what_now == disposition::retry), code);
      BOOST_TEST(tag.error().code == code);
    }
  }
}

BOOST_AUTO_TEST_CASE(creating_an_upload_has_no_bytes_to_blame) {
  client_scene here;
  here.transport.then(refusal(400, "InvalidRequest", "checksum type and algorithm do not match"));
  const auto id = here.run(here.client->create_multipart_upload(object_key("k"), {}, {}));
  BOOST_REQUIRE(!id.has_value());
  BOOST_TEST((id.error().why == reason::unsupported));
}

BOOST_AUTO_TEST_SUITE_END()
