#include "s3/verbs/s3_client.hh"

#include "engine/async_scope.hh"
#include "s3/verbs/xml.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/outcome.hh"

#include <array>
#include <optional>
#include <string>

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;

namespace {

constexpr const char* unsigned_body = "UNSIGNED-PAYLOAD";

std::string listing_of(const std::string& content) {
  return "<ListBucketResult>" + content + "</ListBucketResult>";
}

std::string entry(const std::string& key) {
  return "<Contents><Key>" + key + "</Key><Size>1</Size></Contents>";
}

// A client of AWS's worked examples: bucket examplebucket, their credentials and their time.
class scene {
 public:
  explicit scene(const std::string& url = "https://store.example",
                 payload_signing signing = payload_signing::automatic)
      : loop(engine::testing::make_reactor()), transport(*loop), clock(reference_time) {
    client_options options;
    options.bucket = bucket_name("bucket");
    options.region = "us-east-1";
    options.signing = signing;
    auto where = make_endpoint(url, options.region, options.bucket, addressing::automatic);
    BOOST_REQUIRE_MESSAGE(where.has_value(), error_text(where));
    options.where = *where;
    credentials who;
    who.access_key_id = "AKIAIOSFODNN7EXAMPLE";
    who.secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    who.source = "the test";
    client.emplace(transport, who, clock, log, options);
  }

  template <typename T>
  T run(engine::task<T> work) {
    return loop->run(std::move(work));
  }

  // HEAD answered like that: the error.
  engine::error head_error(http_response response) {
    transport.then(std::move(response));
    auto outcome = run(client->head_object(object_key("k"), {}));
    BOOST_REQUIRE(!outcome.has_value());
    return outcome.error();
  }
  // A small GET answered like that: the error.
  engine::error get_error(http_response response) {
    transport.then(std::move(response));
    auto outcome = run(client->get_object_text(object_key("k"), 100, {}));
    BOOST_REQUIRE(!outcome.has_value());
    return outcome.error();
  }

  std::unique_ptr<engine::reactor> loop;
  fake_transport transport;
  fixed_clock clock;
  line_log log;
  std::optional<s3_client> client;
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Names, in order, without what signing adds.
std::string header_names(const sent_request& sent) {
  std::string names;
  for (const auto& [name, value] : sent.request.headers) {
    if (name != "Authorization" && name != "x-amz-date") {
      names += (names.empty() ? "" : " ") + name;
    }
  }
  return names;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(s3_client_suite)

BOOST_AUTO_TEST_CASE(a_ranged_get_is_the_references_worked_example) {
  scene here;
  client_options options;
  options.bucket = bucket_name("examplebucket");
  options.region = "us-east-1";
  options.where.scheme = "https";
  options.where.host = "examplebucket.s3.amazonaws.com";
  credentials who;
  who.access_key_id = "AKIAIOSFODNN7EXAMPLE";
  who.secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
  s3_client client(here.transport, who, here.clock, here.log, options);
  here.transport.then(answer(206, {{"content-range", "bytes 0-9/26"}}, "0123456789"));
  std::array<std::byte, 10> into{};
  get_request request(object_key("test.txt"), into);
  request.range = byte_range(0, 10);
  const auto got = here.run(client.get_object(request, {}));
  BOOST_REQUIRE_MESSAGE(got.has_value(), error_text(got));
  BOOST_TEST(*got == 10U);
  const sent_request& sent = here.transport.sent.at(0);
  BOOST_TEST(sent.request.method == "GET");
  BOOST_TEST(sent.request.url == "https://examplebucket.s3.amazonaws.com/test.txt");
  BOOST_TEST(sent.header("range") == "bytes=0-9");
  BOOST_TEST(sent.header("Authorization") ==
             "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
             "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
             "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

BOOST_AUTO_TEST_CASE(a_put_carries_class_encryption_checksum_and_condition) {
  scene here;
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
  scene here;
  const std::string body = "123456789";
  put_request request(object_key("k"), as_bytes(body));
  request.options.content_md5 = true;
  here.transport.then(answer(200, {{"etag", "\"new\""}}));
  BOOST_TEST(here.run(here.client->put_object(request, {})).has_value());
  // printf 123456789 | openssl md5 -binary | base64
  BOOST_TEST(here.transport.sent.at(0).header("content-md5") == "JfnnlDI7RTiF9RgfG2JNCw==");
}

BOOST_AUTO_TEST_CASE(a_put_can_demand_the_etag_that_was_read_quoted_or_not) {
  scene here;
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
  scene here;
  const std::string body = "x";
  put_request request(object_key("k"), as_bytes(body));
  request.digests.crc32 = 1;
  request.options.checksum_crc32 = false;
  here.transport.then(answer(200, {{"etag", "\"e\""}}));
  BOOST_TEST(here.run(here.client->put_object(request, {})).has_value());
  BOOST_TEST(here.transport.sent.at(0).header("x-amz-checksum-crc32") == "(none)");
}

BOOST_AUTO_TEST_CASE(a_put_without_an_etag_in_the_answer_is_no_success) {
  scene here;
  const std::string body = "x";
  here.transport.then(answer(200));
  put_request request(object_key("k"), as_bytes(body));
  const auto tag = here.run(here.client->put_object(request, {}));
  BOOST_REQUIRE(!tag.has_value());
  BOOST_TEST((tag.error().why == reason::protocol));
}

BOOST_AUTO_TEST_CASE(bodies_are_signed_over_http_and_not_over_https_unless_told_otherwise) {
  const std::string body = "Welcome to Amazon S3.";
  // Published with the S3 API Reference's PUT example.
  const std::string digest = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
  struct expectation {
    const char* url;
    payload_signing signing;
    std::string hash;
  };
  const expectation table[] = {
      {"https://h", payload_signing::automatic, unsigned_body},
      {"http://h", payload_signing::automatic, digest},
      {"http://h", payload_signing::unsigned_body, unsigned_body},
      {"https://h", payload_signing::sha256, digest},
  };
  for (const expectation& expected : table) {
    scene here(expected.url, expected.signing);
    here.transport.then(answer(200, {{"etag", "\"e\""}}));
    put_request request(object_key("k"), as_bytes(body));
    BOOST_TEST(here.run(here.client->put_object(request, {})).has_value());
    BOOST_TEST(here.transport.sent.at(0).header("x-amz-content-sha256") == expected.hash);
    BOOST_TEST(here.client->signs_payload() == (expected.hash == digest));
  }
}

BOOST_AUTO_TEST_CASE(a_digest_that_is_known_is_used_instead_of_hashing_again) {
  scene here("http://h");
  const std::string body = "x";
  here.transport.then(answer(200, {{"etag", "\"e\""}}));
  put_request request(object_key("k"), as_bytes(body));
  request.digests.payload_sha256 = engine::sha256_state{{1, 2, 3, 4, 5, 6, 7, 8}};
  BOOST_TEST(here.run(here.client->put_object(request, {})).has_value());
  BOOST_TEST(here.transport.sent.at(0).header("x-amz-content-sha256") ==
             "0000000100000002000000030000000400000005000000060000000700000008");
}

BOOST_AUTO_TEST_CASE(only_large_bodies_ask_before_they_are_sent) {
  scene here;
  const std::string large(1024 * 1024, 'x');
  here.transport.then(answer(200, {{"etag", "\"e\""}}));
  upload_part_request request(object_key("k"), upload_id("u"), 1, as_bytes(large));
  BOOST_TEST(here.run(here.client->upload_part(request, {})).has_value());
  BOOST_TEST(here.transport.sent.at(0).header("Expect") == "(none)");
  request.body = as_bytes(large).first(large.size() - 1);
  here.transport.then(answer(200, {{"etag", "\"e\""}}));
  BOOST_TEST(here.run(here.client->upload_part(request, {})).has_value());
  BOOST_TEST(here.transport.sent.at(1).header("Expect") == "");
}

BOOST_AUTO_TEST_CASE(a_part_is_put_with_number_id_and_checksum) {
  scene here;
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
  scene here;
  const std::string body = "x";
  here.transport.then(answer(200, {{"etag", "\"\""}}));
  const upload_part_request request(object_key("k"), upload_id("u"), 1, as_bytes(body));
  const auto tag = here.run(here.client->upload_part(request, {}));
  BOOST_REQUIRE(!tag.has_value());
  BOOST_TEST((tag.error().why == reason::protocol));
}

BOOST_AUTO_TEST_CASE(creating_an_upload_declares_crc32_as_composite) {
  scene here;
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
  scene here;
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
  scene here;
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

BOOST_AUTO_TEST_CASE(deleting_and_aborting_what_is_gone_succeeds) {
  scene here;
  here.transport.then(answer(204));
  BOOST_TEST(here.run(here.client->delete_object(object_key("k"), {})).has_value());
  here.transport.then(refusal(404, "NoSuchKey"));
  BOOST_TEST(here.run(here.client->delete_object(object_key("k"), {})).has_value());
  here.transport.then(refusal(404, "NoSuchUpload"));
  BOOST_TEST(here.run(here.client->abort_multipart_upload(object_key("k"), upload_id("u"), {}))
                 .has_value());
  BOOST_TEST(here.transport.sent.at(2).request.method == "DELETE");
  BOOST_TEST(here.transport.sent.at(2).request.url == "https://store.example/bucket/k?uploadId=u");
  here.transport.then(refusal(404, "NoSuchBucket"));
  const auto deleted = here.run(here.client->delete_object(object_key("k"), {}));
  BOOST_REQUIRE(!deleted.has_value());
  BOOST_TEST((deleted.error().why == reason::configuration));
}

BOOST_AUTO_TEST_CASE(head_gives_size_class_restore_and_archive_state) {
  scene here;
  here.transport.then(answer(200, {{"content-length", "5368709121"},
                                   {"etag", "\"abc-2\""},
                                   {"x-amz-storage-class", "DEEP_ARCHIVE"},
                                   {"x-amz-restore", "ongoing-request=\"true\""},
                                   {"x-amz-archive-status", "ARCHIVE_ACCESS"},
                                   {"x-amz-server-side-encryption", "AES256"},
                                   {"last-modified", "Fri, 24 May 2013 00:00:00 GMT"}}));
  const auto info = here.run(here.client->head_object(object_key("k"), {}));
  BOOST_REQUIRE_MESSAGE(info.has_value(), error_text(info));
  BOOST_TEST(here.transport.sent.at(0).request.method == "HEAD");
  BOOST_TEST(info->size == 5'368'709'121U);
  BOOST_TEST(info->tag.str() == "abc-2");
  BOOST_TEST(info->stored_as.str() == "DEEP_ARCHIVE");
  BOOST_TEST(info->restore == "ongoing-request=\"true\"");
  BOOST_TEST(info->archive_status == "ARCHIVE_ACCESS");
  BOOST_TEST(info->sse == "AES256");
  BOOST_TEST(info->last_modified == "Fri, 24 May 2013 00:00:00 GMT");
}

BOOST_AUTO_TEST_CASE(a_head_without_a_size_is_no_answer) {
  scene here;
  BOOST_TEST((here.head_error(answer(200, {{"etag", "\"e\""}})).why == reason::protocol));
  BOOST_TEST((here.head_error(answer(200, {{"content-length", "-1"}})).why == reason::protocol));
}

BOOST_AUTO_TEST_CASE(a_range_is_believed_only_when_it_is_the_one_asked_for) {
  struct wrong_answer {
    int status;
    header_list headers;
    std::string body;
  };
  const wrong_answer table[] = {
      {200, {}, "0123456789"},
      {200, {{"content-range", "bytes 10-19/100"}}, "0123456789"},
      {206, {}, "0123456789"},
      {206, {{"content-range", "bytes 0-9/100"}}, "0123456789"},
      {206, {{"content-range", "bytes 10-29/100"}}, "0123456789"},
      {206, {{"content-range", "bytes 10-19/100"}}, "01234"},
  };
  for (const wrong_answer& wrong : table) {
    scene here;
    here.transport.then(answer(wrong.status, wrong.headers, wrong.body));
    std::array<std::byte, 10> into{};
    get_request request(object_key("k"), into);
    request.range = byte_range(10, 10);
    const auto got = here.run(here.client->get_object(request, {}));
    BOOST_REQUIRE(!got.has_value());
    BOOST_TEST((got.error().why == reason::protocol));
    BOOST_TEST((got.error().what_now == disposition::retry));
    BOOST_TEST(here.transport.sent.at(0).header("range") == "bytes=10-19");
  }
}

// The transport ends an answer that does not fit. To a range that is worth another attempt; an
// object that is larger than it was said to be will be so again.
BOOST_AUTO_TEST_CASE(an_answer_longer_than_its_range_is_asked_for_again) {
  engine::error longer;
  longer.why = reason::protocol;
  longer.status = 200;
  longer.message = "store.example:443: GET: the answer is longer than the 10 bytes asked for";
  scene here;
  std::array<std::byte, 10> into{};
  get_request request(object_key("k"), into);
  request.range = byte_range(10, 10);
  here.transport.then(longer);
  auto got = here.run(here.client->get_object(request, {}));
  BOOST_REQUIRE(!got.has_value());
  BOOST_TEST((got.error().what_now == disposition::retry));
  BOOST_TEST((got.error().why == reason::protocol));
  BOOST_TEST(contains(got.error().message, "k: asked for bytes 10-19, the store answered 200: "));
  BOOST_TEST(contains(got.error().message, longer.message));
  request.range.reset();
  here.transport.then(longer);
  got = here.run(here.client->get_object(request, {}));
  BOOST_REQUIRE(!got.has_value());
  BOOST_TEST((got.error().what_now == disposition::fail));
  // Too long an error document is no answer to the range either.
  request.range = byte_range(10, 10);
  longer.status = 403;
  here.transport.then(longer);
  got = here.run(here.client->get_object(request, {}));
  BOOST_REQUIRE(!got.has_value());
  BOOST_TEST((got.error().what_now == disposition::fail));
}

BOOST_AUTO_TEST_CASE(a_failed_exchange_names_key_or_bucket) {
  scene here;
  here.transport.then(network_error());
  const auto info = here.run(here.client->head_object(object_key("p/k"), {}));
  BOOST_REQUIRE(!info.has_value());
  BOOST_TEST(info.error().message == "HEAD p/k: store.example: connection refused");
  here.transport.then(network_error());
  const auto all = here.run(here.client->list_objects(list_request("p/"), {}));
  BOOST_REQUIRE(!all.has_value());
  BOOST_TEST(all.error().message == "GET bucket bucket: store.example: connection refused");
}

BOOST_AUTO_TEST_CASE(a_whole_object_is_read_into_the_target_with_its_condition) {
  scene here;
  here.transport.then(answer(200, {}, "body"));
  std::array<std::byte, 10> into{};
  get_request request(object_key("k"), into);
  request.must_match = etag("abc");
  request.fresh_connection = true;
  const auto got = here.run(here.client->get_object(request, {}));
  BOOST_REQUIRE_MESSAGE(got.has_value(), error_text(got));
  BOOST_TEST(*got == 4U);
  BOOST_TEST(here.transport.sent.at(0).header("if-match") == "\"abc\"");
  BOOST_TEST(here.transport.sent.at(0).header("range") == "(none)");
  BOOST_TEST(here.transport.sent.at(0).request.fresh_connection);
  here.transport.then(answer(206, {{"content-range", "bytes 0-3/9"}}, "body"));
  BOOST_TEST(!here.run(here.client->get_object(request, {})).has_value());
}

BOOST_AUTO_TEST_CASE(a_small_object_is_read_as_text_up_to_a_limit) {
  scene here;
  here.transport.then(answer(200, {{"etag", "\"e\""}}, "{}"));
  auto got = here.run(here.client->get_object_text(object_key("k"), 2, {}));
  BOOST_REQUIRE_MESSAGE(got.has_value(), error_text(got));
  BOOST_TEST(got->body == "{}");
  BOOST_TEST(got->tag.str() == "e");
  here.transport.then(answer(200, {{"etag", "\"e\""}}, "{} "));
  got = here.run(here.client->get_object_text(object_key("k"), 2, {}));
  BOOST_REQUIRE(!got.has_value());
  BOOST_TEST((got.error().what_now == disposition::fail));
  // The limit leaves room for an error document.
  here.transport.then(refusal(404, "NoSuchKey"));
  got = here.run(here.client->get_object_text(object_key("k"), 2, {}));
  BOOST_REQUIRE(!got.has_value());
  BOOST_TEST((got.error().what_now == disposition::not_found));
  BOOST_TEST(here.transport.sent.at(2).request.collected_body_bytes_max >= 1024U);
}

BOOST_AUTO_TEST_CASE(a_listing_follows_all_pages) {
  scene here;
  here.transport.then(answer(200, {},
                             listing_of("<IsTruncated>true</IsTruncated>" + entry("p/a") +
                                        "<NextContinuationToken>t/1</NextContinuationToken>")));
  here.transport.then(
      answer(200, {},
             listing_of(entry("p/b") + "<CommonPrefixes><Prefix>p/c/</Prefix></CommonPrefixes>")));
  list_request request("p/");
  request.delimiter = "/";
  request.start_after = "p/A";
  const auto all = here.run(here.client->list_objects(request, {}));
  BOOST_REQUIRE_MESSAGE(all.has_value(), error_text(all));
  BOOST_REQUIRE(all->objects.size() == 2U);
  BOOST_TEST(all->objects[1].key.str() == "p/b");
  BOOST_TEST(all->common_prefixes.size() == 1U);
  BOOST_TEST(here.transport.sent.at(0).request.url ==
             "https://store.example/"
             "bucket?delimiter=%2F&encoding-type=url&list-type=2&prefix=p%2F&start-after=p%2FA");
  BOOST_TEST(here.transport.sent.at(1).request.url ==
             "https://store.example/"
             "bucket?continuation-token=t%2F1&delimiter=%2F&encoding-type=url&list-type=2&"
             "prefix=p%2F&start-after=p%2FA");
}

BOOST_AUTO_TEST_CASE(a_listing_of_something_else_is_refused) {
  scene here;
  here.transport.then(answer(200, {}, listing_of(entry("p/a") + entry("q/b"))));
  auto all = here.run(here.client->list_objects(list_request("p/"), {}));
  BOOST_REQUIRE(!all.has_value());
  BOOST_TEST((all.error().why == reason::protocol));
  BOOST_TEST(contains(all.error().message, "q/b"));
}

BOOST_AUTO_TEST_CASE(a_listing_ends_when_the_store_repeats_a_page_or_lists_too_much) {
  scene here;
  const std::string page = listing_of("<IsTruncated>true</IsTruncated>" + entry("a") +
                                      "<NextContinuationToken>same</NextContinuationToken>");
  here.transport.then(answer(200, {}, page));
  here.transport.then(answer(200, {}, page));
  auto all = here.run(here.client->list_objects(list_request(""), {}));
  BOOST_REQUIRE(!all.has_value());
  BOOST_TEST((all.error().why == reason::protocol));
  list_request request("");
  request.objects_max = 1;
  here.transport.then(answer(200, {}, listing_of(entry("a") + entry("b"))));
  all = here.run(here.client->list_objects(request, {}));
  BOOST_REQUIRE(!all.has_value());
  BOOST_TEST((all.error().what_now == disposition::fail));
}

BOOST_AUTO_TEST_CASE(parts_of_an_upload_are_listed_over_all_pages) {
  scene here;
  const auto page = [](const std::string& more, int number) {
    return answer(200, {},
                  "<ListPartsResult>" + more + "<Part><PartNumber>" + std::to_string(number) +
                      "</PartNumber><ETag>\"e\"</ETag><Size>7</Size></Part></ListPartsResult>");
  };
  const std::string marker =
      "<IsTruncated>true</IsTruncated><NextPartNumberMarker>1</NextPartNumberMarker>";
  here.transport.then(page(marker, 1));
  here.transport.then(page("", 2));
  const auto parts = here.run(here.client->list_parts(object_key("k"), upload_id("u"), {}));
  BOOST_REQUIRE_MESSAGE(parts.has_value(), error_text(parts));
  BOOST_TEST(parts->size() == 2U);
  BOOST_TEST(here.transport.sent.at(0).request.url == "https://store.example/bucket/k?uploadId=u");
  BOOST_TEST(here.transport.sent.at(1).request.url ==
             "https://store.example/bucket/k?part-number-marker=1&uploadId=u");
  here.transport.then(page(marker, 1));
  here.transport.then(page(marker, 2));
  BOOST_TEST(!here.run(here.client->list_parts(object_key("k"), upload_id("u"), {})).has_value());
  here.transport.then(page(marker, 2));
  here.transport.then(page("", 1));
  BOOST_TEST(!here.run(here.client->list_parts(object_key("k"), upload_id("u"), {})).has_value());
}

BOOST_AUTO_TEST_CASE(open_uploads_are_listed_over_all_pages) {
  scene here;
  const auto page = [](const std::string& more, const std::string& key, const std::string& id) {
    return answer(200, {},
                  "<ListMultipartUploadsResult>" + more + "<Upload><Key>" + key +
                      "</Key><UploadId>" + id +
                      "</UploadId></Upload></ListMultipartUploadsResult>");
  };
  const std::string marker =
      "<IsTruncated>true</IsTruncated><NextKeyMarker>p/a</NextKeyMarker>"
      "<NextUploadIdMarker>1</NextUploadIdMarker>";
  here.transport.then(page(marker, "p/a", "1"));
  here.transport.then(page("", "p/b", "2"));
  const auto uploads = here.run(here.client->list_multipart_uploads("p/", {}));
  BOOST_REQUIRE_MESSAGE(uploads.has_value(), error_text(uploads));
  BOOST_TEST(uploads->size() == 2U);
  BOOST_TEST(here.transport.sent.at(0).request.url ==
             "https://store.example/bucket?encoding-type=url&prefix=p%2F&uploads=");
  BOOST_TEST(here.transport.sent.at(1).request.url ==
             "https://store.example/"
             "bucket?encoding-type=url&key-marker=p%2Fa&prefix=p%2F&upload-id-marker=1&uploads=");
  here.transport.then(page(marker, "p/a", "1"));
  here.transport.then(page(marker, "p/a", "1"));
  BOOST_TEST(!here.run(here.client->list_multipart_uploads("p/", {})).has_value());
  here.transport.then(page("", "other", "1"));
  BOOST_TEST(!here.run(here.client->list_multipart_uploads("p/", {})).has_value());
}

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
  scene here;
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
  scene here;
  engine::error failure = here.head_error(answer(404));
  BOOST_TEST((failure.what_now == disposition::not_found));
  BOOST_TEST(failure.code == "NoSuchKey");
  BOOST_TEST((here.head_error(answer(403)).why == reason::access));
  BOOST_TEST((here.head_error(answer(503)).why == reason::throttled));
  BOOST_TEST((here.head_error(answer(500)).what_now == disposition::retry));
  BOOST_TEST((here.head_error(answer(412)).why == reason::precondition));
}

BOOST_AUTO_TEST_CASE(an_access_error_names_the_key_and_where_it_came_from) {
  scene here;
  const engine::error failure = here.get_error(refusal(403, "SignatureDoesNotMatch", "no\nmatch"));
  BOOST_TEST(failure.message ==
             "GET k: store.example answered 403 SignatureDoesNotMatch (no match); access key "
             "AKIAIOSFODNN7EXAMPLE from the test");
  BOOST_TEST(contains(failure.remedy, "check the credentials"));
  BOOST_TEST(!contains(failure.text(), "wJalrXUtnFEMI"));
}

BOOST_AUTO_TEST_CASE(a_wrong_region_names_the_right_one) {
  const std::string remedy =
      "the bucket is in region eu-west-1: s3.region must be that, and is \"us-east-1\"";
  scene here;
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
  scene here;
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
  scene here;
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
  scene here;
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
    scene here;
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
  scene here;
  here.transport.then(refusal(400, "InvalidRequest", "checksum type and algorithm do not match"));
  const auto id = here.run(here.client->create_multipart_upload(object_key("k"), {}, {}));
  BOOST_REQUIRE(!id.has_value());
  BOOST_TEST((id.error().why == reason::unsupported));
}

BOOST_AUTO_TEST_CASE(clock_skew_is_corrected_from_the_servers_date_once) {
  scene here;
  here.transport.then(refusal(403, "RequestTimeTooSkewed", "skewed", "",
                              {{"date", "Fri, 24 May 2013 01:00:00 GMT"}}));
  here.transport.then(answer(200, {{"content-length", "1"}}));
  here.transport.then(answer(200, {{"content-length", "1"}}));
  BOOST_TEST(here.run(here.client->head_object(object_key("k"), {})).has_value());
  BOOST_TEST(here.run(here.client->head_object(object_key("k"), {})).has_value());
  BOOST_REQUIRE(here.transport.sent.size() == 3U);
  BOOST_TEST(here.transport.sent[0].header("x-amz-date") == "20130524T000000Z");
  BOOST_TEST(here.transport.sent[1].header("x-amz-date") == "20130524T010000Z");
  BOOST_TEST(here.transport.sent[2].header("x-amz-date") == "20130524T010000Z");
  BOOST_REQUIRE(here.log.lines.size() == 1U);
  BOOST_TEST(here.log.lines[0].starts_with("clock_skew_corrected seconds=3600"));
}

BOOST_AUTO_TEST_CASE(skew_that_stays_is_an_error_after_one_repetition) {
  scene here;
  here.transport.handler = [](const sent_request&) -> fake_transport::outcome {
    return refusal(403, "RequestTimeTooSkewed", "skewed", "",
                   {{"date", "Fri, 24 May 2013 01:00:00 GMT"}});
  };
  const auto info = here.run(here.client->head_object(object_key("k"), {}));
  BOOST_REQUIRE(!info.has_value());
  BOOST_TEST((info.error().why == reason::clock_skew));
  BOOST_TEST(here.transport.sent.size() == 2U);
}

BOOST_AUTO_TEST_CASE(a_403_with_a_date_like_ours_is_not_repeated) {
  scene here;
  const engine::error failure =
      here.head_error(answer(403, {{"date", "Fri, 24 May 2013 00:04:00 GMT"}}));
  BOOST_TEST((failure.why == reason::access));
  BOOST_TEST(here.transport.sent.size() == 1U);
}

BOOST_AUTO_TEST_CASE(requests_refused_together_are_each_repeated_with_the_corrected_time) {
  scene here;
  here.transport.handler = [](const sent_request& sent) -> fake_transport::outcome {
    if (sent.header("x-amz-date") == "20130524T010000Z") {
      return answer(200, {{"content-length", "1"}});
    }
    return answer(403, {{"date", "Fri, 24 May 2013 01:00:00 GMT"}});
  };
  struct ask {
    static engine::task<void> head(s3_client& client, int& succeeded) {
      auto asking = client.head_object(object_key("k"), {});
      const auto info = co_await std::move(asking);
      succeeded += info.has_value() ? 1 : 0;
    }
    static engine::task<void> all(engine::reactor& loop, s3_client& client, int& succeeded) {
      engine::async_scope scope(loop);
      for (int i = 0; i < 4; ++i) {
        scope.spawn(head(client, succeeded));
      }
      auto joining = scope.join();
      co_await std::move(joining);
    }
  };
  int succeeded = 0;
  here.run(ask::all(*here.loop, *here.client, succeeded));
  BOOST_TEST(succeeded == 4);
  BOOST_TEST(here.transport.sent.size() == 8U);
  BOOST_TEST(here.log.lines.size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_lost_connection_keeps_its_reason_and_names_the_request) {
  scene here;
  here.transport.then(network_error());
  const auto info = here.run(here.client->head_object(object_key("p/k"), {}));
  BOOST_REQUIRE(!info.has_value());
  BOOST_TEST((info.error().why == reason::network));
  BOOST_TEST((info.error().what_now == disposition::retry));
  BOOST_TEST(info.error().message == "HEAD p/k: store.example: connection refused");
}

BOOST_AUTO_TEST_CASE(a_stop_gives_cancelled) {
  scene here;
  here.transport.then(answer(200, {{"content-length", "1"}}));
  engine::stop_source source;
  source.request_stop();
  const auto info = here.run(here.client->head_object(object_key("k"), source.token()));
  BOOST_REQUIRE(!info.has_value());
  BOOST_TEST((info.error().what_now == disposition::cancelled));
}

BOOST_AUTO_TEST_CASE(keys_are_not_normalised) {
  scene here;
  here.transport.then(answer(200, {{"content-length", "1"}}));
  BOOST_TEST(
      here.run(here.client->head_object(object_key("a//../b+c%20\xc3\xa9"), {})).has_value());
  BOOST_TEST(here.transport.sent.at(0).request.url ==
             "https://store.example/bucket/a//../b%2Bc%2520%C3%A9");
}

BOOST_AUTO_TEST_CASE(attributes_are_asked_for_by_name) {
  scene here;
  here.transport.then(answer(200, {},
                             "<GetObjectAttributesResponse><ObjectSize>7</ObjectSize>"
                             "</GetObjectAttributesResponse>"));
  const auto found = here.run(here.client->get_object_attributes(object_key("p/k"), {}));
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  BOOST_TEST(found->size.value() == 7U);
  const sent_request& sent = here.transport.sent.at(0);
  BOOST_TEST(sent.request.method == "GET");
  BOOST_TEST(sent.request.url.ends_with("/p/k?attributes="), sent.request.url);
  BOOST_TEST(sent.header("x-amz-object-attributes") ==
             "Checksum,ObjectParts,ObjectSize,StorageClass");
  BOOST_TEST(sent.request.collected_body_bytes_max == 64U * 1024);
  BOOST_TEST(here.client->requests() == 1U);
}

// Ceph 16 takes no notice of ?attributes and sends the object.
BOOST_AUTO_TEST_CASE(a_store_that_sends_the_object_instead_of_its_attributes_has_none) {
  const auto reason_for = [](auto answered) {
    scene here;
    here.transport.then(answered);
    const auto found = here.run(here.client->get_object_attributes(object_key("k"), {}));
    BOOST_REQUIRE(!found.has_value());
    BOOST_TEST((found.error().what_now != disposition::retry));
    return found.error().why;
  };
  BOOST_TEST((reason_for(answer(200, {}, "btrfs-stream and more")) == reason::unsupported));
  engine::error cut;  // as the transport ends what is longer than it may be
  cut.why = reason::protocol;
  cut.status = 200;
  BOOST_TEST((reason_for(cut) == reason::unsupported));
  BOOST_TEST((reason_for(refusal(501, "NotImplemented")) == reason::unsupported));
  BOOST_TEST((reason_for(refusal(405, "MethodNotAllowed")) == reason::unsupported));
  BOOST_TEST((reason_for(refusal(403, "AccessDenied")) == reason::access));
  BOOST_TEST((reason_for(refusal(404, "NoSuchKey")) == reason::unspecified));
}

BOOST_AUTO_TEST_CASE(the_clock_of_the_store_is_known_from_its_answers) {
  scene here;
  BOOST_TEST(!here.client->store_time().has_value());
  here.transport.then(answer(200, {{"content-length", "1"}}));
  BOOST_TEST(here.run(here.client->head_object(object_key("k"), {})).has_value());
  BOOST_TEST(!here.client->store_time().has_value());
  // The scene's clock stands at 2013-05-24T00:00:00Z.
  here.transport.then(
      answer(200, {{"content-length", "1"}, {"date", "Fri, 24 May 2013 00:00:09 GMT"}}));
  BOOST_TEST(here.run(here.client->head_object(object_key("k"), {})).has_value());
  BOOST_REQUIRE(here.client->store_time().has_value());
  BOOST_TEST((*here.client->store_time() - here.clock.now() == std::chrono::seconds(9)));
  here.clock.time += std::chrono::minutes(1);
  BOOST_TEST((*here.client->store_time() - here.clock.now() == std::chrono::seconds(9)));
}

BOOST_AUTO_TEST_CASE(a_date_that_clocks_cannot_count_is_none) {
  for (const char* date : {"Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 1601 00:00:00 GMT"}) {
    scene here;
    here.transport.then(answer(200, {{"content-length", "1"}, {"date", date}}));
    BOOST_TEST(here.run(here.client->head_object(object_key("k"), {})).has_value());
    BOOST_TEST(!here.client->store_time().has_value());
    const engine::error failure = here.head_error(
        answer(503, {{"retry-after", date}, {"date", "Fri, 24 May 2013 00:00:00 GMT"}}));
    BOOST_TEST(failure.retry_after.count() == 0);
  }
  scene here;
  const engine::error failure =
      here.head_error(answer(503, {{"retry-after", "Fri, 24 May 2199 00:00:00 GMT"},
                                   {"date", "Fri, 24 May 2013 00:00:00 GMT"}}));
  BOOST_TEST(failure.retry_after.count() == 86'400);
}

BOOST_AUTO_TEST_CASE(what_a_restore_is_answered_with_is_an_outcome) {
  struct expectation {
    http_response response;
    restore_outcome outcome;
  };
  const expectation table[] = {
      {answer(202), restore_outcome::accepted},
      {answer(200), restore_outcome::thawed_already},
      {refusal(409, "RestoreAlreadyInProgress"), restore_outcome::in_progress},
      {refusal(503, "GlacierExpeditedRetrievalNotAvailable"),
       restore_outcome::no_expedited_capacity},
      {refusal(403, "InvalidObjectState"), restore_outcome::not_archived},
  };
  for (const expectation& expected : table) {
    scene here;
    here.transport.then(expected.response);
    const auto outcome =
        here.run(here.client->restore_object(object_key("a/k"), 7, retrieval_tier::standard, {}));
    BOOST_REQUIRE_MESSAGE(outcome.has_value(), error_text(outcome));
    BOOST_TEST((*outcome == expected.outcome));
    const sent_request& sent = here.transport.sent.at(0);
    BOOST_TEST(sent.request.method == "POST");
    BOOST_TEST(sent.request.url == "https://store.example/bucket/a/k?restore=");
    BOOST_TEST(sent.header("content-type") == "application/xml");
    BOOST_TEST(sent.body == write_restore_request(7, retrieval_tier::standard));
  }
}

BOOST_AUTO_TEST_CASE(what_a_restore_fails_with_is_an_error) {
  struct expectation {
    http_response response;
    disposition what_now;
    reason why;
    const char* remedy;
  };
  const expectation table[] = {
      {refusal(405, "MethodNotAllowed"), disposition::fail, reason::unsupported,
       "this store has no RestoreObject"},
      {refusal(501, "NotImplemented"), disposition::fail, reason::unsupported,
       "this store has no RestoreObject"},
      {answer(501), disposition::fail, reason::unsupported, "this store has no RestoreObject"},
      {refusal(403, "AccessDenied"), disposition::fail, reason::access, "s3:RestoreObject"},
      {refusal(404, "NoSuchKey"), disposition::not_found, reason::unspecified, ""},
      {refusal(503, "SlowDown"), disposition::retry, reason::throttled, ""},
      {refusal(409, "OperationAborted"), disposition::retry, reason::precondition, ""},
      {answer(204), disposition::retry, reason::protocol, ""},
  };
  for (const expectation& expected : table) {
    scene here;
    here.transport.then(expected.response);
    const auto outcome = here.run(
        here.client->restore_object(object_key("k"), std::nullopt, retrieval_tier::bulk, {}));
    BOOST_REQUIRE(!outcome.has_value());
    BOOST_TEST((outcome.error().what_now == expected.what_now));
    BOOST_TEST((outcome.error().why == expected.why));
    BOOST_TEST(contains(outcome.error().remedy, expected.remedy));
    BOOST_TEST(contains(outcome.error().message, "k"));
  }
}

BOOST_AUTO_TEST_SUITE_END()
