// Which proxy a request goes through: what the configuration says, else the variables that other
// programs obey, as curl takes them.
//
// For https that is https_proxy, HTTPS_PROXY, all_proxy, ALL_PROXY, the first that is set and not
// empty; for http it is http_proxy, all_proxy, ALL_PROXY. HTTP_PROXY does not count: where a web
// server starts a program (CGI) that is the request's header "Proxy:", and so the client's choice.
// no_proxy (or NO_PROXY) lists where to go directly, separated by commas or blanks: names, which
// stand for what is below them too, addresses, blocks of addresses ("10.0.0.0/8"), each with a port
// where that alone is meant; "*" is everything. It holds for the configuration's proxy as well.
//
// Which requests never go through one (http_request::direct) is not decided here.
#pragma once

#include "engine/environment.hh"
#include "engine/result.hh"
#include "engine/wording.hh"

#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace bts3::s3 {

struct proxy_server {
  std::string url;  // "http://host:port", with neither user nor password: for messages as well
  std::string user;
  std::string password;
  engine::wording from;  // the setting or variable that names it
};

// `text` is "http://user:password@host:port"; without a scheme it is http, without a port 1080 (443
// for https). Schemes: http, https, socks4, socks4a, socks5, socks5h. An error (reason
// configuration) names `name`, and never quotes what may hold a password.
engine::result<proxy_server> parse_proxy(const engine::wording& name, const std::string& text);

// What the configuration says: what the variables name, none although they name one, or this one.
struct proxy_of_environment {};
struct no_proxy {};
using proxy_choice = std::variant<proxy_of_environment, no_proxy, proxy_server>;

class proxy_rules {
 public:
  proxy_rules() = default;  // no proxy at all
  // Errors, of what the environment names, as parse_proxy()'s.
  static engine::result<proxy_rules> read(const proxy_choice& configured,
                                          const engine::environment_lookup& environment);
  // For every request.
  explicit proxy_rules(const proxy_server& for_all) : _for_http(for_all), _for_https(for_all) {}

  // What `url` (http or https) is reached through; null: nothing.
  [[nodiscard]] const proxy_server* for_url(const std::string& url) const;

 private:
  [[nodiscard]] bool excepted(const std::string& host, const std::string& port) const;

  std::optional<proxy_server> _for_http;
  std::optional<proxy_server> _for_https;
  std::vector<std::string> _exceptions;  // in lower case
};

}  // namespace bts3::s3
