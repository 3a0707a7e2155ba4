#include "s3/http/curl_transport.hh"

#include "tests/s3/http/wire_support.hh"
#include "tests/support/closed_port.hh"
#include "tests/support/small_proxy.hh"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

using namespace bts3;
using namespace bts3::testing;
using namespace std::chrono_literals;
using engine::disposition;
using engine::reason;
using s3::http_request;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;

http_request put(const wire& net, const std::string& key, const std::string& body) {
  http_request made = net.request("PUT", key);
  made.body = bytes_of(body);
  return made;
}

void check_network_error(const engine::result<s3::http_response>& answer) {
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().what_now == disposition::retry));
  BOOST_TEST((answer.error().why == reason::network));
}

// Takes one connection, reads what comes first, says `text`, and closes.
class saying_server {
 public:
  explicit saying_server(std::string text) {
    _listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    BOOST_REQUIRE(::bind(_listener, generic, length) == 0 && ::listen(_listener, 4) == 0 &&
                  ::getsockname(_listener, generic, &length) == 0);
    _host = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    _thread = std::thread([fd = _listener, text = std::move(text)] {
      const int client = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
      char piece[4096];
      if (::recv(client, piece, sizeof piece, 0) > 0 && !text.empty()) {
        ::send(client, text.data(), text.size(), MSG_NOSIGNAL);
      }
      ::close(client);
    });
  }
  ~saying_server() {
    ::shutdown(_listener, SHUT_RDWR);  // where nobody has come
    _thread.join();
    ::close(_listener);
  }
  saying_server(const saying_server&) = delete;
  saying_server& operator=(const saying_server&) = delete;
  [[nodiscard]] const std::string& host() const { return _host; }

 private:
  int _listener = -1;
  std::string _host;
  std::thread _thread;
};

s3::proxy_rules proxy_at(const std::string& place) {
  auto parsed = s3::parse_proxy("s3.proxy", place);
  BOOST_REQUIRE_MESSAGE(parsed.has_value(), error_text(parsed));
  return s3::proxy_rules(*parsed);
}

void check_contains(const std::string& text, const std::string& part) {
  BOOST_TEST(text.find(part) != std::string::npos, "\"" << part << "\" is not in: " << text);
}

engine::task<void> perform_one(s3::curl_transport& transport, http_request request,
                               engine::stop_token stop, std::vector<int>& statuses) {
  auto performing = transport.perform(std::move(request), stop);
  auto answer = co_await std::move(performing);
  statuses.push_back(answer ? answer->status : -1);
}

engine::task<void> perform_all(wire& net, std::vector<http_request> requests,
                               std::vector<int>& statuses) {
  engine::async_scope scope(*net.loop);
  for (http_request& request : requests) {
    scope.spawn(perform_one(*net.transport, std::move(request), {}, statuses));
  }
  co_await scope.join();
}

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

// Stops a request once the server has stalled it, the `nth` that it stalls.
engine::result<s3::http_response> stop_when_stalled(wire& net, http_request request,
                                                    std::size_t nth = 1) {
  engine::stop_source stop;
  std::thread watcher([&net, &stop, nth] {
    const bool stalled = net.server.wait_for_stalls(nth);
    net.loop->post([&stop, stalled] {
      BOOST_TEST(stalled);
      stop.request_stop();
    });
  });
  auto answer = net.perform(std::move(request), stop.token());
  watcher.join();
  return answer;
}

}  // namespace

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

BOOST_AUTO_TEST_CASE(a_certificate_of_an_unknown_authority_is_refused_with_a_remedy) {
  scripted_s3_options with_tls;
  with_tls.tls = true;
  wire net(with_tls);
  const auto answer = net.perform(http_request("GET", net.server.https_url() + "/bucket/key"));
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().what_now == disposition::fail));
  check_contains(answer.error().message, "certificate");
  check_contains(answer.error().remedy, "s3.ca_bundle");
  check_contains(answer.error().remedy, "clock");
  BOOST_TEST(net.server.requests().empty());
}

BOOST_AUTO_TEST_CASE(the_first_readable_one_of_the_systems_bundles_is_trusted) {
  scripted_s3_options with_tls;
  with_tls.tls = true;
  scripted_s3_server other(with_tls);
  s3::curl_options options;
  options.system_ca_bundles = {"/nonexistent/first.pem", other.ca_path(), "/nonexistent/last.pem"};
  wire net({}, options);
  const auto answer = net.perform(http_request("GET", other.https_url() + "/bucket/key"));
  BOOST_REQUIRE(answer.has_value());
  BOOST_TEST(other.requests().size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_host_without_authorities_is_told_where_they_were_looked_for) {
  scripted_s3_options with_tls;
  with_tls.tls = true;
  scripted_s3_server other(with_tls);
  s3::curl_options options;
  options.system_ca_bundles = {"/nonexistent/first.pem", "/nonexistent/last.pem"};
  wire net({}, options);
  const auto answer = net.perform(http_request("GET", other.https_url() + "/bucket/key"));
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().what_now == disposition::fail));
  check_contains(answer.error().remedy, "/nonexistent/first.pem, /nonexistent/last.pem");
  check_contains(answer.error().remedy, "AWS_CA_BUNDLE");
  BOOST_TEST(other.requests().empty());
}

BOOST_AUTO_TEST_CASE(a_named_authority_is_trusted) {
  const std::string body = random_text(5 * mebibyte + 3);
  scripted_s3_options with_tls;
  with_tls.tls = true;
  scripted_s3_server other(with_tls);
  s3::curl_options options;
  options.ca_bundle = other.ca_path();
  wire net({}, options);
  http_request up("PUT", other.https_url() + "/bucket/key");
  up.headers.emplace_back("Authorization", "test");
  up.body = bytes_of(body);
  const auto stored = net.perform(std::move(up));
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(stored->status == 200);
  std::string back(body.size(), '\0');
  http_request down("GET", other.https_url() + "/bucket/key");
  down.headers.emplace_back("Authorization", "test");
  down.body_target = std::as_writable_bytes(std::span(back.data(), back.size()));
  const auto got = net.perform(std::move(down));
  BOOST_REQUIRE_MESSAGE(got.has_value(), error_text(got));
  BOOST_TEST((back == body));
  BOOST_TEST(other.connections() == 1U);
}

BOOST_AUTO_TEST_CASE(a_tls_connection_that_is_reset_or_stalled_ends_as_a_plain_one_does) {
  scripted_s3_options with_tls;
  with_tls.tls = true;
  scripted_s3_server other(with_tls);
  s3::curl_options options;
  options.ca_bundle = other.ca_path();
  wire net({}, options);
  other.script({s3_verb::put_object, 1, 1}, scripted_action::reset_after(mebibyte));
  other.script({s3_verb::put_object, 2, 1}, scripted_action::stall_after(mebibyte));
  const std::string body = random_text(32 * mebibyte);
  http_request up("PUT", other.https_url() + "/bucket/key");
  up.headers.emplace_back("Authorization", "test");
  up.body = bytes_of(body);
  up.stall_timeout = 300ms;
  check_network_error(net.perform(up));
  const auto stalled = net.perform(up);
  check_network_error(stalled);
  BOOST_TEST(stalled.error().code == "stalled");
  up.stall_timeout = 10s;
  const auto stored = net.perform(up);
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(stored->status == 200);
}

BOOST_AUTO_TEST_CASE(tls_towards_a_port_without_it_is_final_and_named) {
  const saying_server web("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  wire net;
  const auto answer = net.perform(http_request("GET", "https://" + web.host() + "/bucket"));
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().what_now == disposition::fail));
  check_contains(answer.error().message, "nobody speaks TLS there");
  check_contains(answer.error().remedy, "http:// in s3.endpoint_url");
}

BOOST_AUTO_TEST_CASE(http_towards_a_port_with_tls_is_final_and_named) {
  const saying_server tls(std::string("\x15\x03\x01\x00\x02\x02\x46", 7));  // an alert
  wire net;
  const auto answer = net.perform(http_request("GET", "http://" + tls.host() + "/bucket/key"));
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().what_now == disposition::fail));
  check_contains(answer.error().remedy, "https:// in s3.endpoint_url");
}

BOOST_AUTO_TEST_CASE(a_handshake_that_is_cut_off_may_succeed_later) {
  const saying_server gone("");
  wire net;
  const auto answer = net.perform(http_request("GET", "https://" + gone.host() + "/bucket/key"));
  check_network_error(answer);
  BOOST_TEST(!answer.error().at_boot);
}

BOOST_AUTO_TEST_CASE(a_certificate_that_is_not_valid_yet_may_be_so_after_boot) {
  scripted_s3_options with_tls;
  with_tls.tls = true;
  with_tls.certificate_valid_from = 3600s;
  scripted_s3_server other(with_tls);
  s3::curl_options options;
  options.ca_bundle = other.ca_path();
  wire net({}, options);
  const auto answer = net.perform(http_request("GET", other.https_url() + "/bucket/key"));
  check_network_error(answer);
  BOOST_TEST(answer.error().at_boot);
  check_contains(answer.error().remedy, "clock");
}

BOOST_AUTO_TEST_CASE(a_certificate_that_has_expired_is_final) {
  scripted_s3_options with_tls;
  with_tls.tls = true;
  with_tls.certificate_valid_from = -2 * 86'400s;
  scripted_s3_server other(with_tls);
  s3::curl_options options;
  options.ca_bundle = other.ca_path();
  wire net({}, options);
  const auto answer = net.perform(http_request("GET", other.https_url() + "/bucket/key"));
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().what_now == disposition::fail));
}

BOOST_AUTO_TEST_CASE(a_ca_bundle_that_cannot_be_read_is_a_configuration_error) {
  const auto loop = engine::testing::make_reactor();
  s3::curl_options options;
  options.ca_bundle = "/nonexistent/ca.pem";
  const auto made = s3::curl_transport::create(*loop, options);
  BOOST_REQUIRE(!made.has_value());
  BOOST_TEST((made.error().why == reason::configuration));
  check_contains(made.error().message, "/nonexistent/ca.pem");
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

BOOST_AUTO_TEST_CASE(the_environment_names_no_proxy_but_an_option_does) {
  const closed_port nobody;
  ::setenv("http_proxy", ("http://" + nobody.host()).c_str(), 1);
  ::setenv("all_proxy", ("http://" + nobody.host()).c_str(), 1);
  {
    wire net;
    BOOST_TEST(net.perform(net.request("GET", "key")).has_value());
  }
  ::unsetenv("http_proxy");
  ::unsetenv("all_proxy");
  s3::curl_options options;
  options.proxies = s3::proxy_rules(*s3::parse_proxy("s3.proxy", "http://" + nobody.host()));
  wire net({}, options);
  check_network_error(net.perform(net.request("GET", "key")));
}

BOOST_AUTO_TEST_CASE(a_proxy_forwards_http_and_tunnels_https) {
  scripted_s3_options with_tls;
  with_tls.tls = true;
  scripted_s3_server store(with_tls);
  const small_proxy proxy;
  s3::curl_options options;
  options.ca_bundle = store.ca_path();
  options.proxies = proxy_at(proxy.host());
  wire net({}, options);
  const std::string port = std::to_string(store.port());
  // A name that nobody but the proxy resolves.
  const auto plain =
      net.perform(http_request("GET", "http://store.invalid:" + port + "/bucket/key"));
  BOOST_REQUIRE_MESSAGE(plain.has_value(), error_text(plain));
  check_contains(plain->proxy, "http://" + proxy.host() + " (s3.proxy)");
  const std::string body = random_text(5 * mebibyte + 3);
  http_request up("PUT", store.https_url() + "/bucket/key");
  up.headers.emplace_back("Authorization", "test");
  up.body = bytes_of(body);
  const auto stored = net.perform(std::move(up));
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(stored->status == 200);
  BOOST_TEST(
      proxy.lines() == (std::vector<std::string>{"GET http://store.invalid:" + port + "/bucket/key",
                                                 "CONNECT " + store.https_url().substr(8)}),
      boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_belongs_to_this_machine_goes_through_no_proxy) {
  const small_proxy proxy;
  s3::curl_options options;
  options.proxies = proxy_at(proxy.host());
  wire net({}, options);
  http_request direct = net.request("GET", "key");
  direct.direct = true;
  const auto answer = net.perform(std::move(direct));
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  BOOST_TEST(answer->proxy.empty());
  BOOST_TEST(proxy.lines().empty());
}

BOOST_AUTO_TEST_CASE(a_proxy_that_wants_a_login_gets_it_or_is_named) {
  scripted_s3_options with_tls;
  with_tls.tls = true;
  scripted_s3_server store(with_tls);
  small_proxy_options guarded;
  guarded.login = "me@home:hunter2";
  const small_proxy proxy(guarded);
  const std::string plain_url = "http://127.0.0.1:" + std::to_string(store.port()) + "/bucket/key";
  for (const std::string& url : {plain_url, store.https_url() + "/bucket/key"}) {
    for (const auto& [login, said] :
         {std::pair<const char*, const char*>{"", "wants a login (407)"},
          {"me%40home:wrong@", "does not accept the login"}}) {
      s3::curl_options options;
      options.ca_bundle = store.ca_path();
      options.proxies = proxy_at(login + proxy.host());
      wire net({}, options);
      const auto answer = net.perform(http_request("GET", url));
      BOOST_REQUIRE_MESSAGE(!answer.has_value(), url);
      BOOST_TEST((answer.error().what_now == disposition::fail), url);
      BOOST_TEST((answer.error().why == reason::access));
      check_contains(answer.error().message, said);
      check_contains(answer.error().message, proxy.host());
      check_contains(answer.error().remedy, "s3.proxy");
      BOOST_TEST(answer.error().text().find("wrong") == std::string::npos);
    }
    s3::curl_options options;
    options.ca_bundle = store.ca_path();
    options.proxies = proxy_at("me%40home:hunter2@" + proxy.host());
    wire net({}, options);
    const auto answer = net.perform(http_request("GET", url));
    BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  }
  for (const recorded_request& one : store.requests()) {
    BOOST_TEST(one.header("proxy-authorization").empty());
  }
}

BOOST_AUTO_TEST_CASE(a_proxy_that_refuses_to_connect_is_named_and_final_unless_it_cannot) {
  for (const int status : {403, 405, 502, 503}) {
    small_proxy_options closed;
    closed.refuses_connect_with = status;
    const small_proxy proxy(closed);
    s3::curl_options options;
    options.proxies = proxy_at(proxy.host());
    wire net({}, options);
    const auto answer = net.perform(http_request("GET", "https://store.invalid/bucket/key"));
    BOOST_REQUIRE(!answer.has_value());
    BOOST_TEST((answer.error().what_now == (status < 500 ? disposition::fail : disposition::retry)),
               status);
    check_contains(answer.error().message, "CONNECT was answered with " + std::to_string(status));
    check_contains(answer.error().remedy, "no_proxy");
  }
}

BOOST_AUTO_TEST_CASE(a_proxy_that_is_not_there_is_named) {
  const closed_port nobody;
  for (const std::string& host : {nobody.host(), std::string("proxy.invalid:3128")}) {
    s3::curl_options options;
    options.proxies = proxy_at(host);
    wire net({}, options);
    const auto answer = net.perform(net.request("GET", "key"));
    check_network_error(answer);
    check_contains(answer.error().message, "through the proxy http://" + host + " (s3.proxy)");
    check_contains(answer.error().remedy, "check s3.proxy");
  }
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
