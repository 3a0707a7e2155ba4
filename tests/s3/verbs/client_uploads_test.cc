// What the client sends to write an object, at once or in parts.
#include "tests/s3/verbs/client_scene.hh"

#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;

namespace {

constexpr const char* unsigned_body = "UNSIGNED-PAYLOAD";

}  // namespace

BOOST_AUTO_TEST_SUITE(s3_client_suite)

BOOST_AUTO_TEST_CASE(a_put_carries_class_encryption_checksum_and_condition) {
  client_scene here;
  here.transport.then(answer(200, {{"etag", "\"abc\""}}));
  const std::string body = "123456789";
  put_request request(object_key("p/a b.json"), as_bytes(body));
  request.options.stored_as = storage_class("STANDARD");
  request.options.sse = "aws:kms";
  request.options.sse_kms_key_id = "key-1";
  request.options.content_type = "application/json";
  request.digests.crc32 = 0xcbf43926U;
  request.condition = precondition::absent();
  const auto tag = here.run(here.client->put_object(request, {}));
  BOOST_REQUIRE_MESSAGE(tag.has_value(), error_text(tag));
  BOOST_TEST(tag->str() == "abc");
  const sent_request& sent = here.transport.sent.at(0);
  BOOST_TEST(sent.request.method == "PUT");
  BOOST_TEST(sent.request.url == "https://store.example/bucket/p/a%20b.json");
  BOOST_TEST(sent.body == body);
  BOOST_TEST(header_names(sent) ==
             "content-type x-amz-storage-class x-amz-server-side-encryption "
             "x-amz-server-side-encryption-aws-kms-key-id if-none-match x-amz-checksum-crc32 Host "
             "x-amz-content-sha256 Expect");
  BOOST_TEST(sent.header("content-type") == "application/json");
  BOOST_TEST(sent.header("x-amz-storage-class") == "STANDARD");
  BOOST_TEST(sent.header("x-amz-server-side-encryption") == "aws:kms");
  BOOST_TEST(sent.header("x-amz-server-side-encryption-aws-kms-key-id") == "key-1");
  BOOST_TEST(sent.header("if-none-match") == "*");
  BOOST_TEST(sent.header("x-amz-checksum-crc32") == "y/Q5Jg==");
  BOOST_TEST(sent.header("Host") == "store.example");
  BOOST_TEST(sent.header("x-amz-content-sha256") == unsigned_body);
  BOOST_TEST(sent.header("x-amz-date") == "20130524T000000Z");
  BOOST_TEST(sent.header("Expect") == "");
}

BOOST_AUTO_TEST_CASE(a_put_can_carry_the_md5_of_its_bytes) {
  client_scene here;
  const std::string body = "123456789";
  put_request request(object_key("k"), as_bytes(body));
  request.options.content_md5 = true;
  here.transport.then(answer(200, {{"etag", "\"new\""}}));
  BOOST_TEST(here.run(here.client->put_object(request, {})).has_value());
  // printf 123456789 | openssl md5 -binary | base64
  BOOST_TEST(here.transport.sent.at(0).header("content-md5") == "JfnnlDI7RTiF9RgfG2JNCw==");
}

BOOST_AUTO_TEST_CASE(a_put_can_demand_the_etag_that_was_read_quoted_or_not) {
  client_scene here;
  const std::string body = "x";
  put_request request(object_key("k"), as_bytes(body));
  request.condition = precondition::matches(etag("\"abc\""));
  here.transport.then(answer(200, {{"etag", "\"new\""}}));
  BOOST_TEST(here.run(here.client->put_object(request, {})).has_value());
  BOOST_TEST(here.transport.sent.at(0).header("if-match") == "\"abc\"");
  request.condition.unquoted = true;
  here.transport.then(answer(200, {{"etag", "\"new\""}}));
  BOOST_TEST(here.run(here.client->put_object(request, {})).has_value());
  BOOST_TEST(here.transport.sent.at(1).header("if-match") == "abc");
}

BOOST_AUTO_TEST_CASE(checksums_can_be_left_out_of_a_put) {
  client_scene here;
  const std::string body = "x";
  put_request request(object_key("k"), as_bytes(body));
  request.digests.crc32 = 1;
  request.options.checksum_crc32 = false;
  here.transport.then(answer(200, {{"etag", "\"e\""}}));
  BOOST_TEST(here.run(here.client->put_object(request, {})).has_value());
  BOOST_TEST(here.transport.sent.at(0).header("x-amz-checksum-crc32") == "(none)");
}

BOOST_AUTO_TEST_CASE(a_put_without_an_etag_in_the_answer_is_no_success) {
  client_scene here;
  const std::string body = "x";
  here.transport.then(answer(200));
  put_request request(object_key("k"), as_bytes(body));
  const auto tag = here.run(here.client->put_object(request, {}));
  BOOST_REQUIRE(!tag.has_value());
  BOOST_TEST((tag.error().why == reason::protocol));
}

BOOST_AUTO_TEST_CASE(a_part_is_put_with_number_id_and_checksum) {
  client_scene here;
  const std::string body = "123456789";
  here.transport.then(answer(200, {{"etag", "\"part\""}}));
  upload_part_request request(object_key("c/chunk-0.bin"), upload_id("2~a/b+c"), 10'000,
                              as_bytes(body));
  request.digests.crc32 = 0xcbf43926U;
  request.fresh_connection = true;
  const auto tag = here.run(here.client->upload_part(request, {}));
  BOOST_REQUIRE_MESSAGE(tag.has_value(), error_text(tag));
  BOOST_TEST(tag->str() == "part");
  const sent_request& sent = here.transport.sent.at(0);
  BOOST_TEST(sent.request.method == "PUT");
  BOOST_TEST(sent.request.url ==
             "https://store.example/bucket/c/chunk-0.bin?partNumber=10000&uploadId=2~a%2Fb%2Bc");
  BOOST_TEST(sent.header("x-amz-checksum-crc32") == "y/Q5Jg==");
  BOOST_TEST(sent.request.fresh_connection);
  BOOST_TEST(sent.body == body);
}

BOOST_AUTO_TEST_CASE(a_part_with_an_empty_etag_is_no_success) {
  client_scene here;
  const std::string body = "x";
  here.transport.then(answer(200, {{"etag", "\"\""}}));
  const upload_part_request request(object_key("k"), upload_id("u"), 1, as_bytes(body));
  const auto tag = here.run(here.client->upload_part(request, {}));
  BOOST_REQUIRE(!tag.has_value());
  BOOST_TEST((tag.error().why == reason::protocol));
}

BOOST_AUTO_TEST_CASE(creating_an_upload_declares_crc32_as_composite) {
  client_scene here;
  write_options options;
  options.stored_as = storage_class("DEEP_ARCHIVE");
  options.sse = "AES256";
  const std::string xml =
      "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
  here.transport.then(answer(200, {}, xml));
  auto id = here.run(here.client->create_multipart_upload(object_key("k"), options, {}));
  BOOST_REQUIRE_MESSAGE(id.has_value(), error_text(id));
  BOOST_TEST(id->id.str() == "u1");
  BOOST_TEST(id->checksums);
  const sent_request& sent = here.transport.sent.at(0);
  BOOST_TEST(sent.request.method == "POST");
  BOOST_TEST(sent.request.url == "https://store.example/bucket/k?uploads=");
  BOOST_TEST(sent.header("x-amz-checksum-algorithm") == "CRC32");
  BOOST_TEST(sent.header("x-amz-checksum-type") == "COMPOSITE");
  BOOST_TEST(sent.header("x-amz-storage-class") == "DEEP_ARCHIVE");
  BOOST_TEST(sent.header("x-amz-server-side-encryption") == "AES256");
  options.checksum_crc32 = false;
  here.transport.then(answer(200, {}, xml));
  id = here.run(here.client->create_multipart_upload(object_key("k"), options, {}));
  BOOST_TEST(id.has_value());
  BOOST_TEST(here.transport.sent.at(1).header("x-amz-checksum-algorithm") == "(none)");
  BOOST_TEST(here.transport.sent.at(1).header("x-amz-checksum-type") == "(none)");
}

BOOST_AUTO_TEST_CASE(complete_sends_the_parts_and_waits_long) {
  client_scene here;
  here.transport.then(answer(200, {},
                             "<CompleteMultipartUploadResult><ETag>\"abc-1\"</ETag>"
                             "</CompleteMultipartUploadResult>"));
  std::vector<completed_part> parts;
  parts.emplace_back(1, etag("aa"), 0xcbf43926U);
  const auto tag =
      here.run(here.client->complete_multipart_upload(object_key("k"), upload_id("u"), parts, {}));
  BOOST_REQUIRE_MESSAGE(tag.has_value(), error_text(tag));
  BOOST_TEST(tag->str() == "abc-1");
  const sent_request& sent = here.transport.sent.at(0);
  BOOST_TEST(sent.request.method == "POST");
  BOOST_TEST(sent.request.url == "https://store.example/bucket/k?uploadId=u");
  BOOST_TEST(contains(sent.body, "<ChecksumCRC32>y/Q5Jg==</ChecksumCRC32>"));
  BOOST_TEST((sent.request.stall_timeout >= std::chrono::minutes(10)));
}

BOOST_AUTO_TEST_CASE(an_error_inside_a_200_is_an_error) {
  client_scene here;
  const std::vector<completed_part> parts(1, completed_part(1, etag("aa"), std::nullopt));
  here.transport.then(refusal(200, "InternalError", "We encountered an internal error"));
  auto tag =
      here.run(here.client->complete_multipart_upload(object_key("k"), upload_id("u"), parts, {}));
  BOOST_REQUIRE(!tag.has_value());
  BOOST_TEST((tag.error().what_now == disposition::retry));
  BOOST_TEST(tag.error().code == "InternalError");
  BOOST_TEST(contains(tag.error().message, "inside an answer 200"));
  here.transport.then(refusal(200, "NoSuchUpload"));
  tag =
      here.run(here.client->complete_multipart_upload(object_key("k"), upload_id("u"), parts, {}));
  BOOST_REQUIRE(!tag.has_value());
  BOOST_TEST((tag.error().what_now == disposition::not_found));
  here.transport.then(answer(200));
  tag =
      here.run(here.client->complete_multipart_upload(object_key("k"), upload_id("u"), parts, {}));
  BOOST_REQUIRE(!tag.has_value());
  BOOST_TEST((tag.error().why == reason::protocol));
}

BOOST_AUTO_TEST_SUITE_END()
