#include "s3/http/proxy.hh"
#include "tests/support/shown_setting.hh"

#include <boost/test/unit_test.hpp>

#include <map>
#include <string>

using bts3::engine::setting;
using bts3::testing::shown;

using namespace bts3::s3;

namespace {

using variables_map = std::map<std::string, std::string, std::less<>>;

bts3::engine::environment_lookup variables(variables_map values) {
  return [values = std::move(values)](std::string_view name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

std::string through(const variables_map& values, const std::string& url,
                    const std::string& configured = "") {
  proxy_choice choice;
  if (configured == "none") {
    choice = no_proxy();
  } else if (!configured.empty()) {
    auto server = parse_proxy(setting::proxy, configured);
    if (!server) {
      return "error: " + server.error().text();
    }
    choice = std::move(*server);
  }
  const auto rules = proxy_rules::read(choice, variables(values));
  if (!rules) {
    return "error: " + rules.error().text();
  }
  const proxy_server* const found = rules->for_url(url);
  return found == nullptr ? "directly" : found->url + " " + found->from;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(proxy_suite)

BOOST_AUTO_TEST_CASE(the_variables_count_as_curl_takes_them) {
  const std::string https = "https://s3.example/b";
  const std::string http = "http://s3.example/b";
  BOOST_TEST(through({}, https) == "directly");
  BOOST_TEST(through({{"https_proxy", "p:3128"}}, https) == "http://p:3128 https_proxy");
  BOOST_TEST(through({{"https_proxy", "p:3128"}}, http) == "directly");
  BOOST_TEST(through({{"HTTPS_PROXY", "http://p:3128/"}}, https) == "http://p:3128 HTTPS_PROXY");
  BOOST_TEST(through({{"https_proxy", "low:1"}, {"HTTPS_PROXY", "up:2"}}, https) ==
             "http://low:1 https_proxy");
  BOOST_TEST(through({{"http_proxy", "p:3128"}}, http) == "http://p:3128 http_proxy");
  // Under CGI it would be a header of the client's.
  BOOST_TEST(through({{"HTTP_PROXY", "p:3128"}}, http) == "directly");
  BOOST_TEST(through({{"all_proxy", "socks5h://p"}}, https) == "socks5h://p:1080 all_proxy");
  BOOST_TEST(through({{"ALL_PROXY", "https://p"}}, http) == "https://p:443 ALL_PROXY");
  BOOST_TEST(through({{"all_proxy", "all:1"}, {"https_proxy", "p:2"}}, https) ==
             "http://p:2 https_proxy");
  BOOST_TEST(through({{"all_proxy", "all:1"}, {"https_proxy", ""}}, https) ==
             "http://all:1 all_proxy");
}

BOOST_AUTO_TEST_CASE(the_key_beats_the_variables) {
  BOOST_TEST(through({{"https_proxy", "env:1"}}, "https://s3/", "http://key:2") ==
             "http://key:2 " + shown(setting::proxy));
  BOOST_TEST(through({{"https_proxy", "env:1"}}, "https://s3/", "none") == "directly");
  BOOST_TEST(through({{"no_proxy", "s3"}}, "https://s3/", "http://key:2") == "directly");
}

BOOST_AUTO_TEST_CASE(what_no_proxy_lists_is_reached_directly) {
  const auto with = [](const std::string& list, const std::string& url) {
    return through({{"all_proxy", "p:1"}, {"no_proxy", list}}, url) == "directly";
  };
  BOOST_TEST(with("*", "https://anything/"));
  BOOST_TEST(with("example.org", "https://example.org/"));
  BOOST_TEST(with("example.org", "https://s3.EXAMPLE.org/"));
  BOOST_TEST(with(".example.org", "https://example.org:9000/"));
  BOOST_TEST(with("a, b ,example.org.", "https://s3.example.org/"));
  BOOST_TEST(!with("example.org", "https://notexample.org/"));
  BOOST_TEST(!with("s3.example.org", "https://example.org/"));
  BOOST_TEST(with("example.org:9000", "https://example.org:9000/"));
  BOOST_TEST(!with("example.org:9000", "https://example.org/"));
  BOOST_TEST(with("10.0.0.0/8,::1", "http://10.20.30.40:9000/b"));
  BOOST_TEST(!with("10.0.0.0/8", "http://11.20.30.40:9000/b"));
  BOOST_TEST(!with("10.0.0.0/33", "http://10.0.0.1/b"));
  BOOST_TEST(with("127.0.0.1", "http://127.0.0.1:1/b"));
  BOOST_TEST(!with("0.0.1", "http://127.0.0.1:1/b"));
  BOOST_TEST(with("::1", "http://[::1]:9000/b"));
  BOOST_TEST(with("[fe80::1]", "http://[fe80::1%25eth0]:9000/b"));
  BOOST_TEST(with("fd00::/8", "http://[fd12::1]/b"));
  BOOST_TEST(!with("", "https://example.org/"));
  BOOST_TEST(through({{"all_proxy", "p:1"}, {"NO_PROXY", "s3"}}, "https://s3/") == "directly");
}

BOOST_AUTO_TEST_CASE(user_and_password_are_decoded_and_part_of_no_message) {
  const auto one = parse_proxy("https_proxy", "http://me%40home:p%3Ass%2Fword@proxy:3128");
  BOOST_REQUIRE(one.has_value());
  BOOST_TEST(one->url == "http://proxy:3128");
  BOOST_TEST(one->user == "me@home");
  BOOST_TEST(one->password == "p:ss/word");
  for (const char* text : {"http://me:hunter2@", "ftp://me:hunter2@proxy",
                           "http://me:hunter2@proxy:port", "http://me:hunter2@proxy/path",
                           "http://me:hunter2%0a@proxy", "me:hunter2@proxy:3128/a?b"}) {
    const auto bad = parse_proxy("https_proxy", text);
    BOOST_REQUIRE_MESSAGE(!bad.has_value(), text);
    BOOST_TEST(bad.error().text().find("hunter2") == std::string::npos, bad.error().text());
    BOOST_TEST(bad.error().message.starts_with("https_proxy: "), bad.error().message);
    BOOST_TEST((bad.error().why == bts3::engine::reason::configuration));
    BOOST_TEST(bad.error().remedy.find("percent-encoded") != std::string::npos);
  }
  BOOST_TEST(parse_proxy("all_proxy", "gopher://p").error().message ==
             "all_proxy = \"gopher://p\": a proxy is http, https, socks4, socks4a, socks5 or "
             "socks5h");
}

BOOST_AUTO_TEST_CASE(a_variable_that_names_no_proxy_is_an_error_and_not_ignored) {
  BOOST_TEST(through({{"https_proxy", "http://"}}, "https://s3/")
                 .starts_with("error: https_proxy = \"http://\": "));
}

BOOST_AUTO_TEST_SUITE_END()
