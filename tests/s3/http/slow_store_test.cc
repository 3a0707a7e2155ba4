// Stores that answer, a byte now and then, and requests that are none.
#include "tests/s3/http/wire_support.hh"
#include "tests/support/small_http_server.hh"

#include <chrono>
#include <string>

using namespace bts3;
using namespace bts3::testing;
using namespace std::chrono_literals;
using engine::disposition;
using engine::reason;
using s3::http_request;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;

// Cuts what moves less than 32 KiB in a fifth of a second.
s3::curl_options impatient() {
  s3::curl_options options;
  options.crawl_window = 200ms;
  return options;
}

void check_stalled(const engine::result<s3::http_response>& answer, const std::string& why) {
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().what_now == disposition::retry));
  BOOST_TEST((answer.error().why == reason::network));
  BOOST_TEST(answer.error().code == "stalled");
  BOOST_TEST(answer.error().message.find(why) != std::string::npos, answer.error().message);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(slow_store)

BOOST_AUTO_TEST_CASE(an_answer_that_drips_is_cut_at_its_deadline) {
  wire net;
  net.server.put("bucket", "key", random_text(mebibyte));
  net.server.script(s3_verb::get_object, scripted_action::answer_slowly(1, 20ms));
  http_request request = net.request("GET", "key");
  request.deadline = 200ms;
  check_stalled(net.perform(std::move(request)), "no whole answer in 200 ms");
}

BOOST_AUTO_TEST_CASE(a_long_answer_that_flows_has_time_beyond_the_deadline) {
  wire net;
  net.server.put("bucket", "key", random_text(64 * 1024));
  // Over half a second in all, and 64 seconds allowed for it.
  net.server.script(s3_verb::get_object, scripted_action::answer_slowly(1024, 8ms));
  http_request request = net.request("GET", "key");
  request.deadline = 100ms;
  const auto answer = net.perform(std::move(request));
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  BOOST_TEST(answer->body.size() == 64U * 1024);
}

BOOST_AUTO_TEST_CASE(a_download_that_drips_is_a_stall) {
  wire net({}, impatient());
  net.server.put("bucket", "key", random_text(mebibyte));
  net.server.script(s3_verb::get_object, scripted_action::answer_slowly(1, 20ms));
  std::string back(mebibyte, '\0');
  http_request request = net.request("GET", "key");
  request.body_target = std::as_writable_bytes(std::span(back.data(), back.size()));
  check_stalled(net.perform(std::move(request)), "bytes moved in 200 ms");
}

BOOST_AUTO_TEST_CASE(an_upload_that_is_taken_too_slowly_is_a_stall) {
  s3::curl_options options = impatient();
  options.crawl_bytes_min = std::uint64_t{1} << 40;
  wire net({}, options);
  net.server.script(s3_verb::put_object, scripted_action::read_slowly(64 * 1024, 20ms));
  const std::string body = random_text(32 * mebibyte);
  http_request request = net.request("PUT", "key");
  request.body = bytes_of(body);
  check_stalled(net.perform(std::move(request)), "bytes moved in 200 ms");
}

BOOST_AUTO_TEST_CASE(an_acknowledgement_that_drips_is_a_stall) {
  wire net({}, impatient());
  net.server.script(s3_verb::put_object, scripted_action::answer_slowly(1, 20ms));
  const std::string body = random_text(100);
  http_request request = net.request("PUT", "key");
  request.body = bytes_of(body);
  check_stalled(net.perform(std::move(request)), "bytes moved in 200 ms");
}

BOOST_AUTO_TEST_CASE(a_slow_line_that_moves_enough_is_left_alone) {
  wire net({}, impatient());
  net.server.put("bucket", "key", random_text(mebibyte));
  // About 0.8 MB/s: four windows, with five times what each asks for.
  net.server.script(s3_verb::get_object, scripted_action::answer_slowly(8192, 10ms));
  std::string back(mebibyte, '\0');
  http_request request = net.request("GET", "key");
  request.body_target = std::as_writable_bytes(std::span(back.data(), back.size()));
  const auto answer = net.perform(std::move(request));
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
}

BOOST_AUTO_TEST_CASE(a_transfer_that_a_limit_holds_back_does_not_crawl) {
  s3::curl_options options = impatient();
  options.receive_bytes_per_second = 100'000;
  options.crawl_bytes_min = mebibyte;
  wire net({}, options);
  net.server.put("bucket", "key", random_text(128 * 1024));
  std::string back(128 * 1024, '\0');
  http_request request = net.request("GET", "key");
  request.body_target = std::as_writable_bytes(std::span(back.data(), back.size()));
  const auto answer = net.perform(std::move(request));
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
}

BOOST_AUTO_TEST_CASE(a_header_with_a_bare_carriage_return_is_no_answer) {
  for (const char* value : {"\"a\rb\"", "\"a\r\""}) {
    small_http_server server(
        [value](const small_request&) { return small_answer(200, "x", {{"ETag", value}}); });
    wire net;
    const auto answer = net.perform(http_request("GET", server.url() + "/bucket/key"));
    BOOST_REQUIRE(!answer.has_value());
    BOOST_TEST((answer.error().why == reason::network));
    BOOST_TEST((answer.error().what_now == disposition::retry));
  }
}

BOOST_AUTO_TEST_CASE(a_page_in_html_does_not_reach_the_target) {
  small_http_server server([](const small_request&) {
    return small_answer(200, std::string(10'000, 'x'), {{"Content-Type", "text/html"}});
  });
  wire net;
  std::string target(16, 'o');
  http_request request("GET", server.url() + "/bucket/key");
  request.body_target = std::as_writable_bytes(std::span(target.data(), target.size()));
  const auto answer = net.perform(std::move(request));
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  BOOST_TEST(answer->body.size() == 10'000U);
  BOOST_TEST(answer->body_target_bytes == 0U);
  BOOST_TEST(target == std::string(16, 'o'));
}

BOOST_AUTO_TEST_CASE(a_request_that_is_none_is_an_error_and_no_abort) {
  wire net;
  const auto refused = [&](http_request request) {
    const auto answer = net.perform(std::move(request));
    BOOST_REQUIRE(!answer.has_value());
    BOOST_TEST((answer.error().what_now == disposition::fail));
    BOOST_TEST((answer.error().why == reason::unspecified));
    BOOST_TEST(answer.error().message.size() < 1000U);
  };
  for (const std::string& value :
       {std::string("a\rb"), std::string("a\nb"), std::string("a\0b", 3)}) {
    http_request request = net.request("GET", "key");
    request.headers.emplace_back("If-Match", value);
    refused(std::move(request));
  }
  http_request named = net.request("GET", "key");
  named.headers.emplace_back("X-\nEvil", "1");
  refused(std::move(named));
  http_request long_header = net.request("GET", "key");
  long_header.headers.emplace_back("X-Long", std::string(10 * mebibyte, 'x'));
  refused(std::move(long_header));
  refused(net.request("GET", std::string(10 * mebibyte, 'k')));
  BOOST_TEST(net.server.requests().empty());
  net.server.put("bucket", "key", "x");
  BOOST_TEST(net.perform(net.request("GET", "key")).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
