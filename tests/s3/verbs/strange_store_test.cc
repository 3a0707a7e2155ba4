// Stores that answer what no store answers, and whoever answers in a store's place.
#include "s3/verbs/retrying_store.hh"
#include "s3/verbs/s3_client.hh"
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

constexpr std::size_t megabytes = std::size_t{3} << 20;

http_response portal(int status = 200) {
  return bare_answer(status, {{"server", "nginx/1.22.1"}, {"content-type", "text/html"}},
                     "<html><body>Please sign in</body></html>");
}

http_response page(const std::string& content, const std::string& token = {}) {
  return answer(200, {},
                "<ListBucketResult>" + content +
                    (token.empty() ? ""
                                   : "<IsTruncated>true</IsTruncated><NextContinuationToken>" +
                                         token + "</NextContinuationToken>") +
                    "</ListBucketResult>");
}

class strange_scene {
 public:
  explicit strange_scene(const std::string& url = "https://store.example",
                         const std::string& token = {})
      : loop(engine::testing::make_reactor()), transport(*loop), clock(reference_time) {
    client_options options;
    options.bucket = bucket_name("bucket");
    options.region = "us-east-1";
    auto where = make_endpoint(url, options.region, options.bucket, addressing::automatic);
    BOOST_REQUIRE_MESSAGE(where.has_value(), error_text(where));
    options.where = *where;
    credentials who;
    who.access_key_id = "AKIAIOSFODNN7EXAMPLE";
    who.secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    who.session_token = token;
    who.source = "the test";
    client.emplace(transport, who, clock, log, options);
    retry_policy policy;
    policy.backoff_first = std::chrono::milliseconds(1);
    policy.backoff_max = std::chrono::milliseconds(1);
    policy.random = [] { return 0.5; };
    store.emplace(*loop, *client, log, policy);
  }

  template <typename T>
  T run(engine::task<T> work) {
    return loop->run(std::move(work));
  }
  engine::error head_error() {
    auto outcome = run(client->head_object(object_key("k"), {}));
    BOOST_REQUIRE(!outcome.has_value());
    return outcome.error();
  }
  engine::error text_error() {
    auto outcome = run(client->get_object_text(object_key("k"), 100, {}));
    BOOST_REQUIRE(!outcome.has_value());
    return outcome.error();
  }
  engine::error list_error(const std::string& prefix = "p/") {
    list_request request(prefix);
    request.delimiter = "/";
    auto outcome = run(client->list_objects(std::move(request), {}));
    BOOST_REQUIRE(!outcome.has_value());
    return outcome.error();
  }
  // The store has answered once.
  void greet() {
    transport.then(answer(200, {{"content-length", "1"}, {"etag", "\"1\""}}));
    BOOST_REQUIRE(run(client->head_object(object_key("k"), {})).has_value());
  }

  std::unique_ptr<engine::reactor> loop;
  fake_transport transport;
  fixed_clock clock;
  line_log log;
  std::optional<s3_client> client;
  std::optional<retrying_store> store;
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void check_no_answer(const engine::error& failure) {
  BOOST_TEST((failure.what_now == disposition::retry), failure.text());
  BOOST_TEST((failure.why == reason::network), failure.text());
}

engine::error configuration_error() {
  engine::error failure;
  failure.why = reason::configuration;
  failure.message = "the answer is not HTTP";
  return failure;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(strange_store_suite)

BOOST_AUTO_TEST_CASE(a_page_in_place_of_an_object_is_no_answer_and_its_sender_is_named) {
  strange_scene here;
  here.transport.then(portal());
  const engine::error failure = here.text_error();
  check_no_answer(failure);
  BOOST_TEST(contains(failure.message, "GET k: a web page came back"), failure.message);
  BOOST_TEST(contains(failure.message, "nginx/1.22.1 with 200"), failure.message);
  BOOST_TEST(contains(failure.message, "Please sign in"), failure.message);
  BOOST_TEST(!failure.remedy.empty());
}

BOOST_AUTO_TEST_CASE(a_web_servers_404_is_no_absence) {
  strange_scene here;
  for (const int status : {404, 403, 412}) {
    here.transport.then(portal(status));
    check_no_answer(here.text_error());
    here.transport.then(portal(status));
    check_no_answer(here.head_error());
    here.transport.then(portal(status));
    check_no_answer(here.list_error());
    here.transport.then(portal(status));
    BOOST_TEST(!here.run(here.client->delete_object(object_key("k"), {})).has_value());
    here.transport.then(portal(status));
    BOOST_TEST(!here.run(here.client->abort_multipart_upload(object_key("k"), upload_id("u"), {}))
                    .has_value());
  }
}

BOOST_AUTO_TEST_CASE(a_page_acknowledges_nothing) {
  strange_scene here;
  const std::string body = "x";
  here.transport.then(portal());
  const auto put =
      here.run(here.client->put_object(put_request(object_key("k"), as_bytes(body)), {}));
  BOOST_REQUIRE(!put.has_value());
  check_no_answer(put.error());
  here.transport.then(portal());
  const auto part = here.run(here.client->upload_part(
      upload_part_request(object_key("k"), upload_id("u"), 1, as_bytes(body)), {}));
  BOOST_REQUIRE(!part.has_value());
  check_no_answer(part.error());
  here.transport.then(portal());
  const auto gone = here.run(here.client->delete_object(object_key("k"), {}));
  BOOST_REQUIRE(!gone.has_value());
  check_no_answer(gone.error());
  here.transport.then(portal());
  const auto thawing =
      here.run(here.client->restore_object(object_key("k"), 1, retrieval_tier::standard, {}));
  BOOST_REQUIRE(!thawing.has_value());
  check_no_answer(thawing.error());
}

BOOST_AUTO_TEST_CASE(a_foreign_answer_is_repeated_like_a_broken_line_and_not_five_times) {
  strange_scene here;
  for (int i = 0; i < 12; ++i) {
    here.transport.then(portal(i % 2 == 0 ? 200 : 404));
  }
  here.transport.then(answer(200, {{"etag", "\"1\""}}, "{}"));
  const auto text = here.run(here.store->get_object_text(object_key("k"), 100, {}));
  BOOST_REQUIRE_MESSAGE(text.has_value(), error_text(text));
  BOOST_TEST(text->body == "{}");
}

BOOST_AUTO_TEST_CASE(the_clock_of_whoever_answers_in_between_is_not_the_stores) {
  strange_scene here;
  http_response wrong = portal(403);
  wrong.headers.emplace_back("date", "Fri, 24 May 2013 09:00:00 GMT");
  here.transport.then(wrong);
  check_no_answer(here.text_error());
  BOOST_TEST(!here.client->store_time().has_value());
  BOOST_TEST(here.transport.sent.size() == 1U);
}

BOOST_AUTO_TEST_CASE(what_is_no_http_is_a_matter_of_configuration_at_first_only) {
  strange_scene here;
  here.transport.then(configuration_error());
  BOOST_TEST((here.head_error().what_now == disposition::fail));
  here.greet();
  here.transport.then(configuration_error());
  check_no_answer(here.head_error());
}

BOOST_AUTO_TEST_CASE(a_redirect_is_worth_minutes_at_first_and_an_outage_later) {
  strange_scene here;
  for (const int status : {301, 302, 307, 308}) {
    here.transport.then(bare_answer(status, {{"location", "http://portal.example/"}}));
    const engine::error failure = here.head_error();
    check_no_answer(failure);
    BOOST_TEST(failure.at_boot);
  }
  here.transport.then(refusal(301, "PermanentRedirect"));
  BOOST_TEST((here.text_error().why == reason::configuration));
  here.greet();
  for (const int status : {301, 302, 307, 308}) {
    here.transport.then(bare_answer(status, {{"location", "http://portal.example/"}}));
    const engine::error failure = here.head_error();
    check_no_answer(failure);
    BOOST_TEST(!failure.at_boot);
  }
}

BOOST_AUTO_TEST_CASE(a_certificate_that_is_refused_between_good_answers_is_no_answer) {
  engine::error untrusted;
  untrusted.why = reason::network;
  untrusted.message = "the server's certificate was not accepted";
  strange_scene here;
  here.transport.then(untrusted);
  BOOST_TEST((here.head_error().what_now == disposition::fail));
  here.greet();
  here.transport.then(untrusted);
  check_no_answer(here.head_error());
}

BOOST_AUTO_TEST_CASE(a_common_prefix_that_is_none_is_refused) {
  strange_scene here;
  for (const char* prefix : {"p", "", "q/x/", "p/", "p/x", "other/p/"}) {
    here.transport.then(
        page(std::string("<CommonPrefixes><Prefix>") + prefix + "</Prefix></CommonPrefixes>"));
    BOOST_TEST((here.list_error().why == reason::protocol), prefix);
  }
  here.transport.then(page("<CommonPrefixes/>"));
  BOOST_TEST((here.list_error().why == reason::protocol));
}

BOOST_AUTO_TEST_CASE(identifiers_of_megabytes_are_refused_where_they_are_read) {
  const std::string endless(megabytes, 'x');
  strange_scene here;
  here.transport.then(page("", endless));
  BOOST_TEST((here.list_error().why == reason::protocol));
  here.transport.then(page("<Contents><Key>p/" + endless + "</Key><Size>1</Size></Contents>"));
  BOOST_TEST((here.list_error().why == reason::protocol));
  here.transport.then(page("<CommonPrefixes><Prefix>p/" + endless + "/</Prefix></CommonPrefixes>"));
  BOOST_TEST((here.list_error().why == reason::protocol));
  here.transport.then(answer(200, {},
                             "<InitiateMultipartUploadResult><UploadId>" + endless +
                                 "</UploadId></InitiateMultipartUploadResult>"));
  BOOST_TEST(!here.run(here.client->create_multipart_upload(object_key("k"), {}, {})).has_value());
  here.transport.then(answer(200, {},
                             "<ListMultipartUploadsResult><Upload><Key>p/k</Key><UploadId>" +
                                 endless + "</UploadId></Upload></ListMultipartUploadsResult>"));
  BOOST_TEST(!here.run(here.client->list_multipart_uploads("p/", {})).has_value());
  here.transport.then(answer(200, {{"content-length", "1"}, {"etag", "\"" + endless + "\""}}));
  BOOST_TEST((here.head_error().why == reason::protocol));
}

BOOST_AUTO_TEST_CASE(a_key_that_no_store_can_have_is_not_asked_for) {
  strange_scene here;
  const object_key key(std::string(megabytes, 'k'));
  const auto info = here.run(here.client->head_object(key, {}));
  BOOST_REQUIRE(!info.has_value());
  BOOST_TEST((info.error().what_now == disposition::fail));
  BOOST_TEST(info.error().message.size() < 1000U);
  BOOST_TEST(here.transport.sent.empty());
}

BOOST_AUTO_TEST_CASE(an_etag_that_no_header_can_carry_is_refused) {
  strange_scene here;
  for (const char* tag : {"\"a\rb\"", "\"a\nb\"", "\"a\x01\"", "\"\x7f\""}) {
    here.transport.then(answer(200, {{"content-length", "1"}, {"etag", tag}}));
    BOOST_TEST((here.head_error().why == reason::protocol));
    here.transport.then(answer(200, {{"etag", tag}}, "{}"));
    BOOST_TEST((here.text_error().why == reason::protocol));
  }
  for (const char* tag : {"a&#13;b", "a&#10;b", "&#1;"}) {
    here.transport.then(page(std::string("<Contents><Key>p/k</Key><Size>1</Size><ETag>") + tag +
                             "</ETag></Contents>"));
    BOOST_TEST((here.list_error().why == reason::protocol));
    std::optional<error_document> inside;
    BOOST_TEST(!parse_complete_upload(std::string("<CompleteMultipartUploadResult><ETag>") + tag +
                                          "</ETag></CompleteMultipartUploadResult>",
                                      inside)
                    .has_value());
    BOOST_TEST(!parse_parts(std::string("<ListPartsResult><Part><PartNumber>1</PartNumber>"
                                        "<Size>1</Size><ETag>") +
                            tag + "</ETag></Part></ListPartsResult>")
                    .has_value());
  }
}

BOOST_AUTO_TEST_CASE(a_size_that_no_object_has_is_refused) {
  strange_scene here;
  here.transport.then(answer(200, {{"content-length", "18446744073709551615"}, {"etag", "\"1\""}}));
  BOOST_TEST((here.head_error().why == reason::protocol));
  here.transport.then(page("<Contents><Key>p/k</Key><Size>18446744073709551615</Size></Contents>"));
  BOOST_TEST((here.list_error().why == reason::protocol));
}

BOOST_AUTO_TEST_CASE(pages_that_lead_in_a_circle_end_a_listing) {
  strange_scene here;
  unsigned turn = 0;
  here.transport.handler = [&turn](const sent_request&) -> fake_transport::outcome {
    ++turn;
    return page("<Contents><Key>p/k" + std::to_string(turn) + "</Key><Size>1</Size></Contents>",
                turn % 3 == 0   ? "a"
                : turn % 3 == 1 ? "b"
                                : "c");
  };
  const engine::error failure = here.list_error();
  BOOST_TEST((failure.why == reason::protocol));
  BOOST_TEST(contains(failure.message, "repeats a page"), failure.message);
  BOOST_TEST(turn == 4U);
}

BOOST_AUTO_TEST_CASE(empty_pages_without_end_end_a_listing) {
  strange_scene here;
  unsigned turn = 0;
  here.transport.handler = [&turn](const sent_request&) -> fake_transport::outcome {
    return page("", std::to_string(++turn));
  };
  BOOST_TEST((here.list_error().why == reason::protocol));
  BOOST_TEST(turn == empty_pages_max);

  turn = 0;
  here.transport.handler = [&turn](const sent_request&) -> fake_transport::outcome {
    return answer(200, {},
                  "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>" +
                      std::to_string(++turn) + "</NextKeyMarker></ListMultipartUploadsResult>");
  };
  BOOST_TEST(!here.run(here.client->list_multipart_uploads("p/", {})).has_value());
  BOOST_TEST(turn == empty_pages_max);
}

BOOST_AUTO_TEST_CASE(some_empty_pages_are_no_end) {
  strange_scene here;
  unsigned turn = 0;
  here.transport.handler = [&turn](const sent_request&) -> fake_transport::outcome {
    ++turn;
    const std::string entry = turn % 50 == 0 ? "<Contents><Key>p/" + std::to_string(turn) +
                                                   "</Key><Size>1</Size></Contents>"
                                             : "";
    return page(entry, turn == 500 ? "" : std::to_string(turn));
  };
  const auto found = here.run(here.client->list_objects(list_request("p/"), {}));
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  BOOST_TEST(found->objects.size() == 10U);
}

BOOST_AUTO_TEST_CASE(questions_have_a_deadline_and_transfers_have_none) {
  strange_scene here;
  const std::string body = "x";
  std::array<std::byte, 1> into{};
  here.transport.handler = [](const sent_request&) -> fake_transport::outcome {
    return answer(500);
  };
  static_cast<void>(here.run(here.client->head_object(object_key("k"), {})));
  static_cast<void>(here.run(here.client->list_objects(list_request("p/"), {})));
  static_cast<void>(here.run(here.client->get_object_text(object_key("k"), 100, {})));
  static_cast<void>(here.run(here.client->delete_object(object_key("k"), {})));
  static_cast<void>(here.run(here.client->list_multipart_uploads("p/", {})));
  static_cast<void>(here.run(here.client->get_object_attributes(object_key("k"), {})));
  for (const sent_request& one : here.transport.sent) {
    BOOST_TEST((one.request.deadline == std::chrono::milliseconds(120'000)));
  }
  here.transport.sent.clear();
  static_cast<void>(here.run(here.client->complete_multipart_upload(
      object_key("k"), upload_id("u"), {completed_part(1, etag("e"), std::nullopt)}, {})));
  BOOST_TEST((here.transport.sent.at(0).request.deadline == std::chrono::milliseconds(3'600'000)));
  here.transport.sent.clear();
  static_cast<void>(here.run(here.client->upload_part(
      upload_part_request(object_key("k"), upload_id("u"), 1, as_bytes(body)), {})));
  static_cast<void>(
      here.run(here.client->put_object(put_request(object_key("k"), as_bytes(body)), {})));
  static_cast<void>(here.run(here.client->get_object(get_request(object_key("k"), into), {})));
  BOOST_TEST(here.transport.sent.size() == 3U);
  for (const sent_request& one : here.transport.sent) {
    BOOST_TEST(!one.request.deadline.has_value());
  }
}

BOOST_AUTO_TEST_CASE(a_session_token_over_plain_http_is_warned_of_once) {
  const auto warnings = [](const std::string& url, const std::string& token) {
    strange_scene here(url, token);
    here.greet();
    here.greet();
    std::size_t count = 0;
    for (const std::string& line : here.log.lines) {
      count += contains(line, "session_token_over_plain_http") ? 1 : 0;
    }
    return count;
  };
  BOOST_TEST(warnings("http://store.example", "TOKEN") == 1U);
  BOOST_TEST(warnings("http://store.example", "") == 0U);
  BOOST_TEST(warnings("https://store.example", "TOKEN") == 0U);
  BOOST_TEST(warnings("http://127.0.0.1:9000", "TOKEN") == 0U);
}

BOOST_AUTO_TEST_CASE(what_a_store_says_reaches_no_terminal_raw) {
  strange_scene here;
  here.transport.then(refusal(403, "Access&#27;[31mDenied",
                              "no&#13;\xc2\x9b"
                              "2J \xe2\x80\xae!&#10;"));
  const std::string text = here.text_error().text();
  for (const char* raw : {"\x1b", "\r", "\n", "\xc2\x9b", "\xe2\x80\xae"}) {
    BOOST_TEST(!contains(text, raw), text);
  }
  here.transport.then(refusal(400, std::string(megabytes, 'C'), std::string(megabytes, 'm')));
  BOOST_TEST(here.text_error().text().size() < 5000U);
}

BOOST_AUTO_TEST_SUITE_END()
