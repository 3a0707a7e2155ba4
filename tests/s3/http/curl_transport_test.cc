#include "s3/http/curl_transport.hh"

#include "tests/s3/http/curl_support.hh"
#include "tests/support/closed_port.hh"

#include <chrono>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::testing;
using namespace std::chrono_literals;
using engine::disposition;
using engine::reason;
using s3::http_request;

BOOST_AUTO_TEST_SUITE(curl_transport)

BOOST_AUTO_TEST_CASE(a_body_goes_up_and_comes_down_unchanged) {
  wire net;
  const std::string body = random_text(3 * mebibyte + 17);
  const auto stored = net.perform(put(net, "key", body));
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(stored->status == 200);
  BOOST_TEST(stored->header("etag").has_value());

  std::string back(body.size(), '\0');
  http_request get = net.request("GET", "key");
  get.body_target = std::as_writable_bytes(std::span(back.data(), back.size()));
  const auto got = net.perform(std::move(get));
  BOOST_REQUIRE_MESSAGE(got.has_value(), error_text(got));
  BOOST_TEST(got->status == 200);
  BOOST_TEST(got->body.empty());
  BOOST_TEST(got->body_target_bytes == body.size());
  BOOST_TEST((back == body));
  BOOST_TEST(net.transport->counters().body_bytes_sent == body.size());
  BOOST_TEST(net.transport->counters().body_bytes_received == body.size());
  BOOST_TEST(net.transport->counters().exchanges == 2U);
  BOOST_TEST(net.transport->counters().connections == 1U);
}

BOOST_AUTO_TEST_CASE(an_error_body_is_collected_and_never_reaches_the_target) {
  wire net;
  std::string target(4096, 'x');
  http_request get = net.request("GET", "missing");
  get.body_target = std::as_writable_bytes(std::span(target.data(), target.size()));
  const auto got = net.perform(std::move(get));
  BOOST_REQUIRE_MESSAGE(got.has_value(), error_text(got));
  BOOST_TEST(got->status == 404);
  check_contains(got->body, "NoSuchKey");
  BOOST_TEST(got->body_target_bytes == 0U);
  BOOST_TEST(target == std::string(4096, 'x'));
}

BOOST_AUTO_TEST_CASE(only_the_given_headers_are_sent) {
  wire net;
  http_request get = net.request("GET", "a%20b/../c");
  get.headers.emplace_back("X-Empty", "");
  BOOST_REQUIRE(net.perform(std::move(get)).has_value());
  const std::string nothing;
  http_request post = net.request("POST", "key?uploads=");
  BOOST_REQUIRE(net.perform(std::move(post)).has_value());
  const auto requests = net.server.requests();
  BOOST_REQUIRE(requests.size() == 2U);
  BOOST_TEST(requests[0].target == "/bucket/a%20b/../c");
  std::string names;
  for (const auto& [name, value] : requests[0].headers) {
    names += name + ' ';
  }
  BOOST_TEST(names == "authorization host user-agent x-empty ");
  names.clear();
  for (const auto& [name, value] : requests[1].headers) {
    names += name + ' ';
  }
  BOOST_TEST(names == "authorization content-length host user-agent ");
  BOOST_TEST(requests[1].header("content-length") == "0");
  BOOST_TEST(requests[1].method == "POST");
  BOOST_TEST(requests[0].header("host") == "127.0.0.1:" + std::to_string(net.server.port()));
}

BOOST_AUTO_TEST_CASE(only_large_bodies_ask_before_they_are_sent) {
  wire net;
  const std::string large = random_text(2 * mebibyte);
  const std::string small = random_text(1000);
  BOOST_REQUIRE(net.perform(put(net, "large", large)).has_value());
  BOOST_REQUIRE(net.perform(put(net, "small", small)).has_value());
  http_request told = put(net, "told", large);
  told.headers.emplace_back("Expect", "");
  BOOST_REQUIRE(net.perform(std::move(told)).has_value());
  const auto requests = net.server.requests();
  BOOST_REQUIRE(requests.size() == 3U);
  BOOST_TEST(requests[0].header("expect") == "100-continue");
  BOOST_TEST(requests[1].header("expect").empty());
  BOOST_TEST(requests[2].header("expect").empty());
  BOOST_TEST(requests[2].body_bytes == large.size());
}

BOOST_AUTO_TEST_CASE(a_refusal_before_the_body_costs_no_upload) {
  wire net;
  net.server.script(s3_verb::put_object,
                    scripted_action::answer_before_body(503, "SlowDown", {{"Retry-After", "7"}}));
  const std::string body = random_text(8 * mebibyte);
  const auto answer = net.perform(put(net, "key", body));
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  BOOST_TEST(answer->status == 503);
  BOOST_TEST(answer->header("retry-after").value_or("") == "7");
  check_contains(answer->body, "SlowDown");
  BOOST_TEST(net.transport->counters().body_bytes_sent == 0U);
}

BOOST_AUTO_TEST_CASE(a_refusal_after_the_body_keeps_the_connection) {
  wire net;
  net.server.script(s3_verb::put_object, scripted_action::answer(503, "SlowDown"));
  const std::string body = random_text(2 * mebibyte);
  const auto refused = net.perform(put(net, "key", body));
  BOOST_REQUIRE_MESSAGE(refused.has_value(), error_text(refused));
  BOOST_TEST(refused->status == 503);
  const auto stored = net.perform(put(net, "key", body));
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(stored->status == 200);
  BOOST_TEST(net.server.connections() == 1U);
}

BOOST_AUTO_TEST_CASE(a_reset_while_sending_is_a_network_error_that_names_the_host) {
  wire net;
  net.server.script(s3_verb::put_object, scripted_action::reset_after(mebibyte));
  const std::string body = random_text(32 * mebibyte);
  const auto answer = net.perform(put(net, "key", body));
  check_network_error(answer);
  check_contains(answer.error().message, "127.0.0.1:" + std::to_string(net.server.port()));
  BOOST_TEST(net.perform(put(net, "key", body)).has_value());
}

BOOST_AUTO_TEST_CASE(a_reset_instead_of_an_answer_is_a_network_error) {
  wire net;
  net.server.script(s3_verb::put_object, scripted_action::perform_then_reset());
  const std::string body = random_text(100);
  check_network_error(net.perform(put(net, "key", body)));
  BOOST_TEST(net.server.object("bucket", "key").has_value());
}

BOOST_AUTO_TEST_CASE(a_server_that_stops_reading_is_cut_off) {
  wire net;
  net.server.script(s3_verb::put_object, scripted_action::stall_after(mebibyte));
  const std::string body = random_text(32 * mebibyte);
  http_request request = put(net, "key", body);
  request.stall_timeout = 200ms;
  const auto answer = net.perform(std::move(request));
  check_network_error(answer);
  BOOST_TEST(answer.error().code == "stalled");
  check_contains(answer.error().message, "no byte moved for 200 ms");
  BOOST_TEST(net.transport->counters().stalls == 1U);
  // The next exchange gets a connection of its own.
  BOOST_TEST(net.perform(put(net, "key", body)).has_value());
  BOOST_TEST(net.server.connections() == 2U);
}

BOOST_AUTO_TEST_CASE(a_server_that_never_answers_is_cut_off) {
  wire net;
  net.server.script(s3_verb::put_object, scripted_action::stall_before_answer());
  const std::string body = random_text(100);
  http_request request = put(net, "key", body);
  request.stall_timeout = 200ms;
  const auto answer = net.perform(std::move(request));
  check_network_error(answer);
  BOOST_TEST(answer.error().code == "stalled");
}

BOOST_AUTO_TEST_CASE(a_server_that_stops_in_its_answer_is_cut_off) {
  wire net;
  net.server.put("bucket", "key", random_text(mebibyte));
  net.server.script(s3_verb::get_object, scripted_action::stall_in_answer(1000));
  http_request request = net.request("GET", "key");
  request.stall_timeout = 200ms;
  const auto answer = net.perform(std::move(request));
  check_network_error(answer);
  BOOST_TEST(answer.error().code == "stalled");
}

// The socket's buffer takes the whole body at once: what then still moves, only TCP knows.
BOOST_AUTO_TEST_CASE(a_slow_upload_is_left_alone) {
  wire net;
  net.server.script(s3_verb::put_object, scripted_action::read_slowly(64 * 1024, 50ms));
  const std::string body = random_text(3 * mebibyte);
  http_request request = put(net, "key", body);
  request.stall_timeout = 800ms;
  const auto begun = std::chrono::steady_clock::now();
  const auto answer = net.perform(std::move(request));
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  BOOST_TEST(answer->status == 200);
  BOOST_TEST((std::chrono::steady_clock::now() - begun > 1600ms));
}

BOOST_AUTO_TEST_CASE(a_slow_answer_is_left_alone) {
  wire net;
  net.server.put("bucket", "key", random_text(20));
  net.server.script(s3_verb::get_object, scripted_action::answer_slowly(5, 40ms));
  http_request request = net.request("GET", "key");
  request.stall_timeout = 1000ms;
  const auto begun = std::chrono::steady_clock::now();
  const auto answer = net.perform(std::move(request));
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  BOOST_TEST(answer->body.size() == 20U);
  BOOST_TEST((std::chrono::steady_clock::now() - begun > 1200ms));
}

BOOST_AUTO_TEST_CASE(a_refused_connection_says_so_and_what_to_check) {
  wire net;
  const closed_port nobody;
  const auto answer = net.perform(http_request("GET", "http://" + nobody.host() + "/bucket/key"));
  check_network_error(answer);
  check_contains(answer.error().message, nobody.host());
  check_contains(answer.error().message, "Connection refused");
  BOOST_TEST(!answer.error().remedy.empty());
}

BOOST_AUTO_TEST_CASE(an_unknown_host_is_named) {
  wire net;
  const auto answer = net.perform(http_request("GET", "https://nonexistent.invalid/bucket/key"));
  check_network_error(answer);
  check_contains(answer.error().message, "nonexistent.invalid:443");
  check_contains(answer.error().message, "name resolution failed");
  check_contains(answer.error().remedy, "DNS");
}

BOOST_AUTO_TEST_CASE(an_answer_cut_short_is_a_network_error) {
  wire net;
  net.server.put("bucket", "key", random_text(100'000));
  net.server.script({s3_verb::get_object, 1, 1}, scripted_action::cut_answer(5000));
  net.server.script({s3_verb::get_object, 2, 1}, scripted_action::cut_answer(5000, true));
  for (int i = 0; i < 2; ++i) {
    std::string target(100'000, '\0');
    http_request get = net.request("GET", "key");
    get.body_target = std::as_writable_bytes(std::span(target.data(), target.size()));
    check_network_error(net.perform(std::move(get)));
  }
}

BOOST_AUTO_TEST_CASE(an_answer_longer_than_the_target_is_a_protocol_error) {
  wire net;
  net.server.put("bucket", "key", random_text(100'000));
  std::string target(99'999, '\0');
  http_request get = net.request("GET", "key");
  get.body_target = std::as_writable_bytes(std::span(target.data(), target.size()));
  const auto answer = net.perform(std::move(get));
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().why == reason::protocol));
  BOOST_TEST((answer.error().what_now == disposition::fail));
  check_contains(answer.error().message, "99999");
}

BOOST_AUTO_TEST_CASE(a_collected_answer_has_a_limit) {
  wire net;
  net.server.put("bucket", "key", random_text(100'000));
  http_request get = net.request("GET", "key");
  get.collected_body_bytes_max = 1000;
  const auto answer = net.perform(std::move(get));
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().why == reason::protocol));
}

BOOST_AUTO_TEST_CASE(endless_headers_are_no_answer) {
  wire net;
  net.server.put("bucket", "key", "body");
  net.server.script(s3_verb::get_object, scripted_action::perform_then([](server_answer& answer) {
                      for (int i = 0; i < 100; ++i) {
                        answer.headers.emplace_back("X-" + std::to_string(i),
                                                    std::string(1000, 'x'));
                      }
                    }));
  const auto answer = net.perform(net.request("GET", "key"));
  check_network_error(answer);
}

BOOST_AUTO_TEST_CASE(a_head_request_has_headers_and_no_body) {
  wire net;
  net.server.put("bucket", "key", random_text(12345));
  const auto answer = net.perform(net.request("HEAD", "key"));
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  BOOST_TEST(answer->status == 200);
  BOOST_TEST(answer->header("content-length").value_or("") == "12345");
  BOOST_TEST(answer->body.empty());
}

BOOST_AUTO_TEST_CASE(a_delete_is_answered_without_a_body) {
  wire net;
  net.server.put("bucket", "key", "body");
  const auto answer = net.perform(net.request("DELETE", "key"));
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  BOOST_TEST(answer->status == 204);
  BOOST_TEST(net.server.object_count() == 0U);
}

BOOST_AUTO_TEST_CASE(a_redirect_is_reported_and_not_followed) {
  wire net;
  net.server.script(s3_verb::get_object,
                    scripted_action::answer(301, "PermanentRedirect",
                                            {{"x-amz-bucket-region", "eu-west-1"},
                                             {"Location", net.server.url() + "/bucket/other"}}));
  const auto answer = net.perform(net.request("GET", "key"));
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  BOOST_TEST(answer->status == 301);
  BOOST_TEST(answer->header("x-amz-bucket-region").value_or("") == "eu-west-1");
  BOOST_TEST(net.server.requests().size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_stop_before_the_start_sends_nothing) {
  wire net;
  engine::stop_source stop;
  stop.request_stop();
  const auto answer = net.perform(net.request("GET", "key"), stop.token());
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().what_now == disposition::cancelled));
  BOOST_TEST(net.server.requests().empty());
}

BOOST_AUTO_TEST_CASE(a_stop_in_mid_upload_ends_it_at_once) {
  wire net;
  net.server.script(s3_verb::put_object, scripted_action::stall_after(mebibyte));
  const std::string body = random_text(32 * mebibyte);
  const auto answer = stop_when_stalled(net, put(net, "key", body));
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().what_now == disposition::cancelled));
  BOOST_TEST(net.perform(put(net, "key", body)).has_value());
}

BOOST_AUTO_TEST_CASE(a_stop_in_mid_download_ends_it_at_once) {
  wire net;
  net.server.put("bucket", "key", random_text(mebibyte));
  net.server.script(s3_verb::get_object, scripted_action::stall_in_answer(1000));
  const auto answer = stop_when_stalled(net, net.request("GET", "key"));
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().what_now == disposition::cancelled));
}

BOOST_AUTO_TEST_CASE(fifty_requests_in_a_row_share_one_connection) {
  wire net;
  const std::string body = random_text(1000);
  for (int i = 0; i < 50; ++i) {
    const auto answer = net.perform(put(net, "key" + std::to_string(i), body));
    BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
    BOOST_TEST(answer->status == 200);
  }
  BOOST_TEST(net.server.connections() == 1U);
  BOOST_TEST(net.server.object_count() == 50U);
}

BOOST_AUTO_TEST_CASE(a_fresh_connection_is_made_when_asked_for) {
  wire net;
  const std::string body = random_text(1000);
  for (int i = 0; i < 20; ++i) {
    http_request request = put(net, "key", body);
    request.fresh_connection = true;
    const auto answer = net.perform(std::move(request));
    BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  }
  BOOST_TEST(net.server.connections() == 20U);
}

BOOST_AUTO_TEST_CASE(a_pooled_connection_that_died_is_replaced_and_the_body_sent_again) {
  wire net;
  const std::string body = random_text(2 * mebibyte);
  BOOST_REQUIRE(net.perform(put(net, "key", body)).has_value());
  net.server.script(s3_verb::put_object, scripted_action::reset_after(0));
  const auto answer = net.perform(put(net, "again", body));
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  BOOST_TEST(answer->status == 200);
  BOOST_TEST((net.server.object("bucket", "again")->body == body));
  BOOST_TEST(net.server.connections() == 2U);
}

BOOST_AUTO_TEST_CASE(a_post_is_never_repeated_unnoticed) {
  wire net;
  BOOST_REQUIRE(net.perform(net.request("GET", "key")).has_value());
  net.server.script(s3_verb::create_upload, scripted_action::perform_then_reset());
  check_network_error(net.perform(net.request("POST", "key?uploads=")));
  BOOST_TEST(net.server.count(s3_verb::create_upload) == 1U);
}

BOOST_AUTO_TEST_CASE(sixteen_requests_run_at_the_same_time_and_keep_their_connections) {
  wire net;
  const std::string body = random_text(mebibyte);
  for (int round = 0; round < 2; ++round) {
    std::vector<http_request> requests;
    for (int i = 0; i < 16; ++i) {
      requests.push_back(put(net, "key" + std::to_string(i), body));
    }
    std::vector<int> statuses;
    net.loop->run(perform_all(net, std::move(requests), statuses));
    BOOST_TEST(statuses == std::vector<int>(16, 200), boost::test_tools::per_element());
    BOOST_TEST(net.server.connections() <= 16U);
  }
  BOOST_TEST(net.server.object_count() == 16U);
}

BOOST_AUTO_TEST_CASE(failing_exchanges_do_not_disturb_those_beside_them) {
  wire net;
  const std::string body = random_text(4 * mebibyte);
  request_match broken(s3_verb::put_object, 1, 0);
  broken.key_contains = "reset";
  net.server.script(broken, scripted_action::reset_after(mebibyte));
  broken.key_contains = "stall";
  net.server.script(broken, scripted_action::stall_after(mebibyte));
  std::vector<http_request> requests;
  for (int i = 0; i < 12; ++i) {
    const char* kinds[] = {"good", "reset", "stall"};
    requests.push_back(put(net, kinds[i % 3] + std::to_string(i), body));
    if (i % 3 == 2) {
      requests.back().stall_timeout = 300ms;
    }
  }
  std::vector<int> statuses;
  net.loop->run(perform_all(net, std::move(requests), statuses));
  BOOST_TEST(std::count(statuses.begin(), statuses.end(), 200) == 4);
  BOOST_TEST(std::count(statuses.begin(), statuses.end(), -1) == 8);
  BOOST_TEST(net.server.object_count() == 4U);
}

BOOST_AUTO_TEST_CASE(an_address_that_is_no_url_is_a_configuration_error) {
  wire net;
  for (const char* address : {"ftp://127.0.0.1/x", "http://:99999/", "http://"}) {
    const auto answer = net.perform(http_request("GET", address));
    BOOST_REQUIRE(!answer.has_value());
    BOOST_TEST((answer.error().why == reason::configuration));
  }
}

BOOST_AUTO_TEST_CASE(no_descriptor_is_left_behind) {
  const std::string body = random_text(4 * mebibyte);
  // libcurl and OpenSSL may keep descriptors of their own from the first use on.
  std::size_t before = 0;
  for (int round = 0; round < 2; ++round) {
    before = round == 1 ? engine::testing::open_descriptors() : 0;
    wire net;
    net.server.script({s3_verb::put_object, 2, 1}, scripted_action::reset_after(mebibyte));
    net.server.script({s3_verb::put_object, 3, 1}, scripted_action::stall_after(mebibyte));
    BOOST_TEST(net.perform(put(net, "one", body)).has_value());
    BOOST_TEST(!net.perform(put(net, "two", body)).has_value());
    http_request stalled = put(net, "three", body);
    stalled.stall_timeout = 100ms;
    BOOST_TEST(!net.perform(std::move(stalled)).has_value());
    net.server.script({s3_verb::put_object, 1, 1}, scripted_action::stall_after(mebibyte));
    BOOST_TEST(!stop_when_stalled(net, put(net, "four", body), 2).has_value());
    std::vector<http_request> requests;
    for (int i = 0; i < 8; ++i) {
      requests.push_back(put(net, "key" + std::to_string(i), body));
    }
    std::vector<int> statuses;
    net.loop->run(perform_all(net, std::move(requests), statuses));
    BOOST_TEST(statuses == std::vector<int>(8, 200), boost::test_tools::per_element());
  }
  BOOST_TEST(engine::testing::open_descriptors() == before);
}

BOOST_AUTO_TEST_CASE(a_transport_that_was_never_used_needs_no_closing) {
  const auto loop = engine::testing::make_reactor();
  const auto made = s3::curl_transport::create(*loop, s3::curl_options());
  BOOST_TEST(made.has_value());
}

BOOST_AUTO_TEST_SUITE_END()
