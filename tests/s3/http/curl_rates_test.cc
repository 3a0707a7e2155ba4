// Limits of rate.
#include "s3/http/curl_transport.hh"

#include "tests/s3/http/curl_support.hh"

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::testing;
using namespace std::chrono_literals;
using engine::disposition;
using s3::http_request;

namespace {

engine::task<void> joined(engine::async_scope& scope) {
  auto joining = scope.join();
  co_await std::move(joining);
}

// Waits for the first of several downloads, and tells how far the slowest is then.
engine::task<void> when_first_is_done(wire& net, const std::vector<int>& statuses,
                                      const std::vector<std::string>& targets, std::size_t& least) {
  while (statuses.empty()) {
    auto sleeping = net.loop->sleep_for(1ms);
    BOOST_REQUIRE((co_await std::move(sleeping)).has_value());
  }
  for (const std::string& target : targets) {
    least = std::min(least, target.find_last_not_of('\0') + 1);
  }
}

engine::task<void> stop_when_delayed(wire& net, engine::stop_source& stop) {
  while (net.transport->counters().pauses == 0) {
    auto sleeping = net.loop->sleep_for(1ms);
    BOOST_REQUIRE((co_await std::move(sleeping)).has_value());
  }
  stop.request_stop();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(curl_transport)

BOOST_AUTO_TEST_CASE(a_limited_rate_delays_every_exchange_and_harms_none) {
  s3::curl_options options;
  options.send_bytes_per_second = 40 * mebibyte;
  wire net({}, options);
  const std::string body = random_text(2 * mebibyte);
  request_match broken(s3_verb::put_object, 1, 0);
  broken.key_contains = "reset";
  net.server.script(broken, scripted_action::reset_after(mebibyte));
  std::vector<http_request> requests;
  for (int i = 0; i < 6; ++i) {
    requests.push_back(put(net, (i == 5 ? "reset" : "key") + std::to_string(i), body));
  }
  std::vector<int> statuses;
  net.loop->run(perform_all(net, std::move(requests), statuses));
  BOOST_TEST(std::count(statuses.begin(), statuses.end(), 200) == 5);
  for (int i = 0; i < 5; ++i) {
    BOOST_TEST((net.server.object("bucket", "key" + std::to_string(i))->body == body));
  }
  // A fiftieth of a second's worth at a time: twelve portions of 256 KiB were asked for at least.
  BOOST_TEST(net.transport->counters().pauses >= 12U);
}

BOOST_AUTO_TEST_CASE(a_limited_rate_delays_every_download_in_turn_and_harms_none) {
  s3::curl_options options;
  options.receive_bytes_per_second = 6 * mebibyte;
  wire net({}, options);
  const std::string body = random_text(2 * mebibyte);
  BOOST_REQUIRE(net.perform(put(net, "key", body)).has_value());
  std::vector<std::string> targets(4, std::string(body.size(), '\0'));
  std::vector<http_request> requests;
  for (std::string& target : targets) {
    requests.push_back(net.request("GET", "key"));
    requests.back().body_target = std::as_writable_bytes(std::span(target.data(), target.size()));
  }
  // When the first is whole, the others have had their turns as well.
  std::size_t least = body.size();
  std::vector<int> statuses;
  engine::async_scope scope(*net.loop);
  for (http_request& request : requests) {
    scope.spawn(perform_one(*net.transport, std::move(request), {}, statuses));
  }
  scope.spawn(when_first_is_done(net, statuses, targets, least));
  net.loop->run(joined(scope));
  BOOST_TEST((statuses == std::vector<int>(4, 200)));
  for (const std::string& target : targets) {
    BOOST_TEST((target == body));
  }
  BOOST_TEST(least >= body.size() / 2);
  // A turn is a fiftieth of a second's worth and 16 KiB at most: 58 turns for 8 MiB, of which a
  // tenth of a second's worth goes at once.
  BOOST_TEST(net.transport->counters().pauses >= 50U);
  BOOST_TEST(net.transport->counters().stalls == 0U);
}

BOOST_AUTO_TEST_CASE(a_stop_ends_a_download_that_waits_for_its_turn) {
  s3::curl_options options;
  options.receive_bytes_per_second = 20'000;
  wire net({}, options);
  const std::string body = random_text(8 * mebibyte);  // seven minutes of it
  BOOST_REQUIRE(net.perform(put(net, "key", body)).has_value());
  std::string target(body.size(), '\0');
  http_request get = net.request("GET", "key");
  get.body_target = std::as_writable_bytes(std::span(target.data(), target.size()));
  engine::stop_source stop;
  std::vector<int> statuses;
  engine::async_scope scope(*net.loop);
  scope.spawn(perform_one(*net.transport, std::move(get), stop.token(), statuses));
  scope.spawn(stop_when_delayed(net, stop));
  net.loop->run(joined(scope));
  BOOST_TEST((statuses == std::vector<int>{-1}));
  BOOST_TEST(net.transport->counters().body_bytes_received < body.size());
}

BOOST_AUTO_TEST_CASE(a_stop_ends_an_exchange_that_a_limit_holds_back) {
  s3::curl_options options;
  options.send_bytes_per_second = 20'000;
  wire net({}, options);
  net.server.script(s3_verb::put_object, scripted_action::stall_after(1000));
  const std::string body = random_text(32 * mebibyte);  // half an hour of it
  const auto answer = stop_when_stalled(net, put(net, "key", body));
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().what_now == disposition::cancelled));
  BOOST_TEST(net.transport->counters().pauses > 0U);
}

BOOST_AUTO_TEST_SUITE_END()
