#include "engine/async_scope.hh"
#include "tests/s3/verbs/client_scene.hh"

#include <array>
#include <string>

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;

namespace {

constexpr const char* unsigned_body = "UNSIGNED-PAYLOAD";

}  // namespace

BOOST_AUTO_TEST_SUITE(s3_client_suite)

BOOST_AUTO_TEST_CASE(a_ranged_get_is_the_references_worked_example) {
  client_scene here;
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
    client_scene here(expected.url, expected.signing);
    here.transport.then(answer(200, {{"etag", "\"e\""}}));
    put_request request(object_key("k"), as_bytes(body));
    BOOST_TEST(here.run(here.client->put_object(request, {})).has_value());
    BOOST_TEST(here.transport.sent.at(0).header("x-amz-content-sha256") == expected.hash);
    BOOST_TEST(here.client->signs_payload() == (expected.hash == digest));
  }
}

BOOST_AUTO_TEST_CASE(a_digest_that_is_known_is_used_instead_of_hashing_again) {
  client_scene here("http://h");
  const std::string body = "x";
  here.transport.then(answer(200, {{"etag", "\"e\""}}));
  put_request request(object_key("k"), as_bytes(body));
  request.digests.payload_sha256 = engine::sha256_state{{1, 2, 3, 4, 5, 6, 7, 8}};
  BOOST_TEST(here.run(here.client->put_object(request, {})).has_value());
  BOOST_TEST(here.transport.sent.at(0).header("x-amz-content-sha256") ==
             "0000000100000002000000030000000400000005000000060000000700000008");
}

BOOST_AUTO_TEST_CASE(only_large_bodies_ask_before_they_are_sent) {
  client_scene here;
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

BOOST_AUTO_TEST_CASE(deleting_and_aborting_what_is_gone_succeeds) {
  client_scene here;
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
  client_scene here;
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
  client_scene here;
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
    client_scene here;
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
  client_scene here;
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
  client_scene here;
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
  client_scene here;
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
  client_scene here;
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

BOOST_AUTO_TEST_CASE(clock_skew_is_corrected_from_the_servers_date_once) {
  client_scene here;
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
  client_scene here;
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
  client_scene here;
  const engine::error failure =
      here.head_error(answer(403, {{"date", "Fri, 24 May 2013 00:04:00 GMT"}}));
  BOOST_TEST((failure.why == reason::access));
  BOOST_TEST(here.transport.sent.size() == 1U);
}

BOOST_AUTO_TEST_CASE(requests_refused_together_are_each_repeated_with_the_corrected_time) {
  client_scene here;
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
  client_scene here;
  here.transport.then(network_error());
  const auto info = here.run(here.client->head_object(object_key("p/k"), {}));
  BOOST_REQUIRE(!info.has_value());
  BOOST_TEST((info.error().why == reason::network));
  BOOST_TEST((info.error().what_now == disposition::retry));
  BOOST_TEST(info.error().message == "HEAD p/k: store.example: connection refused");
}

BOOST_AUTO_TEST_CASE(a_stop_gives_cancelled) {
  client_scene here;
  here.transport.then(answer(200, {{"content-length", "1"}}));
  engine::stop_source source;
  source.request_stop();
  const auto info = here.run(here.client->head_object(object_key("k"), source.token()));
  BOOST_REQUIRE(!info.has_value());
  BOOST_TEST((info.error().what_now == disposition::cancelled));
}

BOOST_AUTO_TEST_CASE(keys_are_not_normalised) {
  client_scene here;
  here.transport.then(answer(200, {{"content-length", "1"}}));
  BOOST_TEST(
      here.run(here.client->head_object(object_key("a//../b+c%20\xc3\xa9"), {})).has_value());
  BOOST_TEST(here.transport.sent.at(0).request.url ==
             "https://store.example/bucket/a//../b%2Bc%2520%C3%A9");
}

BOOST_AUTO_TEST_CASE(attributes_are_asked_for_by_name) {
  client_scene here;
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
    client_scene here;
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
  client_scene here;
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
    client_scene here;
    here.transport.then(answer(200, {{"content-length", "1"}, {"date", date}}));
    BOOST_TEST(here.run(here.client->head_object(object_key("k"), {})).has_value());
    BOOST_TEST(!here.client->store_time().has_value());
    const engine::error failure = here.head_error(
        answer(503, {{"retry-after", date}, {"date", "Fri, 24 May 2013 00:00:00 GMT"}}));
    BOOST_TEST(failure.retry_after.count() == 0);
  }
  client_scene here;
  const engine::error failure =
      here.head_error(answer(503, {{"retry-after", "Fri, 24 May 2199 00:00:00 GMT"},
                                   {"date", "Fri, 24 May 2013 00:00:00 GMT"}}));
  BOOST_TEST(failure.retry_after.count() == 86'400);
}

BOOST_AUTO_TEST_SUITE_END()
