// Certificates and handshakes.
#include "s3/http/curl_transport.hh"

#include "tests/s3/http/curl_support.hh"
#include "tests/support/shown_setting.hh"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

using bts3::engine::setting;
using bts3::testing::shown;

using namespace bts3;
using namespace bts3::testing;
using namespace std::chrono_literals;
using engine::disposition;
using engine::reason;
using s3::http_request;

namespace {

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

}  // namespace

BOOST_AUTO_TEST_SUITE(curl_transport)

BOOST_AUTO_TEST_CASE(a_certificate_of_an_unknown_authority_is_refused_with_a_remedy) {
  scripted_s3_options with_tls;
  with_tls.tls = true;
  wire net(with_tls);
  const auto answer = net.perform(http_request("GET", net.server.https_url() + "/bucket/key"));
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().what_now == disposition::fail));
  check_contains(answer.error().message, "certificate");
  check_contains(answer.error().remedy, shown(setting::trusted_authorities));
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
  check_contains(answer.error().remedy, "http:// in " + shown(setting::endpoint));
}

BOOST_AUTO_TEST_CASE(http_towards_a_port_with_tls_is_final_and_named) {
  const saying_server tls(std::string("\x15\x03\x01\x00\x02\x02\x46", 7));  // an alert
  wire net;
  const auto answer = net.perform(http_request("GET", "http://" + tls.host() + "/bucket/key"));
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().what_now == disposition::fail));
  check_contains(answer.error().remedy, "https:// in " + shown(setting::endpoint));
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

BOOST_AUTO_TEST_SUITE_END()
