// The way through a proxy, or past it.
#include "s3/http/curl_transport.hh"

#include "tests/s3/http/curl_support.hh"
#include "tests/support/closed_port.hh"
#include "tests/support/shown_setting.hh"
#include "tests/support/small_proxy.hh"

#include <cstdlib>
#include <string>
#include <vector>

using bts3::engine::setting;
using bts3::testing::shown;

using namespace bts3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;
using s3::http_request;

namespace {

s3::proxy_rules proxy_at(const std::string& place) {
  auto parsed = s3::parse_proxy(setting::proxy, place);
  BOOST_REQUIRE_MESSAGE(parsed.has_value(), error_text(parsed));
  return s3::proxy_rules(*parsed);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(curl_transport)

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
  options.proxies = s3::proxy_rules(*s3::parse_proxy(setting::proxy, "http://" + nobody.host()));
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
  check_contains(plain->proxy, "http://" + proxy.host() + " (" + shown(setting::proxy) + ")");
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
      check_contains(answer.error().remedy, shown(setting::proxy));
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
    check_contains(answer.error().message,
                   "through the proxy http://" + host + " (" + shown(setting::proxy) + ")");
    check_contains(answer.error().remedy, "check " + shown(setting::proxy));
  }
}

BOOST_AUTO_TEST_SUITE_END()
