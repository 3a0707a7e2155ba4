#include "s3/http/proxy.hh"

#include "s3/http/ascii_text.hh"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::error;
using engine::result;
using engine::value_of;

constexpr std::string_view schemes[] = {"http", "https", "socks4", "socks4a", "socks5", "socks5h"};

constexpr const char* remedy =
    "give it as http://host:port or http://user:password@host:port, with what is neither letter "
    "nor digit in user and password percent-encoded (%40 is @)";

using url_parts = std::unique_ptr<CURLU, decltype(&::curl_url_cleanup)>;

// One component of a parsed URL; empty when it is not there.
std::string component(const url_parts& url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (::curl_url_get(url.get(), which, &text, flags) != CURLUE_OK) {
    return {};
  }
  const std::unique_ptr<char, decltype(&::curl_free)> owner(text, &::curl_free);
  return text;
}

bool has_control_characters(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

error bad_proxy(const engine::wording& name, const std::string& text, const std::string& what) {
  error failure;
  failure.why = engine::reason::configuration;
  // Whatever has an @ in it, or looks as if somebody forgot one, may be a password.
  const bool secret = text.find('@') != std::string::npos || has_control_characters(text);
  failure.message = name.text() + (secret ? "" : " = \"" + text + "\"") + ": " + what;
  failure.remedy = remedy;
  return failure;
}

// An address as its bytes, 4 or 16; empty: it is none. "[...]" and a zone are taken off.
std::string address_bytes(std::string_view text) {
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  }
  const std::string bare(text.substr(0, text.find('%')));
  std::array<char, 16> bytes{};
  if (::inet_pton(AF_INET, bare.c_str(), bytes.data()) == 1) {
    return {bytes.data(), 4};
  }
  if (::inet_pton(AF_INET6, bare.c_str(), bytes.data()) == 1) {
    return {bytes.data(), 16};
  }
  return {};
}

// Whether the address is one of the block "10.0.0.0/8".
bool in_block(const std::string& address, std::string_view block) {
  const std::size_t slash = block.find('/');
  if (slash == std::string_view::npos) {
    return false;
  }
  const std::string base = address_bytes(block.substr(0, slash));
  const std::string_view count = block.substr(slash + 1);
  unsigned bits = 0;
  const auto parsed = std::from_chars(count.data(), count.data() + count.size(), bits);
  if (base.empty() || base.size() != address.size() || parsed.ec != std::errc() ||
      parsed.ptr != count.data() + count.size() || bits > base.size() * 8) {
    return false;
  }
  for (unsigned bit = 0; bit < bits; ++bit) {
    const auto mask = static_cast<unsigned char>(0x80U >> (bit % 8));
    const auto one = static_cast<unsigned char>(base[bit / 8]);
    const auto other = static_cast<unsigned char>(address[bit / 8]);
    if (((one ^ other) & mask) != 0) {
      return false;
    }
  }
  return true;
}

// The first of these that is set.
std::pair<std::string, std::string> first_set(const engine::environment_lookup& environment,
                                              std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (std::string value = value_of(environment, name); !value.empty()) {
      return {name, std::move(value)};
    }
  }
  return {};
}

result<std::optional<proxy_server>> proxy_in(const engine::environment_lookup& environment,
                                             std::initializer_list<const char*> names) {
  const auto [name, value] = first_set(environment, names);
  if (value.empty()) {
    return std::optional<proxy_server>();
  }
  auto parsed = parse_proxy(name, value);
  if (!parsed) {
    return std::move(parsed.error());
  }
  return std::optional<proxy_server>(std::move(*parsed));
}

}  // namespace

result<proxy_server> parse_proxy(const engine::wording& name, const std::string& text) {
  const url_parts url(::curl_url(), &::curl_url_cleanup);
  const std::string whole = text.find("://") == std::string::npos ? "http://" + text : text;
  const CURLUcode parsed =
      ::curl_url_set(url.get(), CURLUPART_URL, whole.c_str(), CURLU_NON_SUPPORT_SCHEME);
  if (parsed != CURLUE_OK || has_control_characters(text)) {
    return bad_proxy(name, text, "this is no proxy's address");
  }
  const std::string scheme = lower_case(component(url, CURLUPART_SCHEME));
  if (std::find(std::begin(schemes), std::end(schemes), scheme) == std::end(schemes)) {
    return bad_proxy(name, text, "a proxy is http, https, socks4, socks4a, socks5 or socks5h");
  }
  const std::string path = component(url, CURLUPART_PATH);
  const std::string host = component(url, CURLUPART_HOST);
  if (host.empty() || (!path.empty() && path != "/") || whole.find_first_of("?#") != whole.npos) {
    return bad_proxy(name, text, "this is no proxy's address");
  }
  std::string port = component(url, CURLUPART_PORT);
  if (port.empty()) {
    port = scheme == "https" ? "443" : "1080";
  }
  proxy_server made;
  made.url = scheme + "://" + host + ":" + port;
  made.user = component(url, CURLUPART_USER, CURLU_URLDECODE);
  made.password = component(url, CURLUPART_PASSWORD, CURLU_URLDECODE);
  made.from = name;
  // libcurl decodes no control characters: then there is nothing.
  const bool undecodable = made.user.empty() != component(url, CURLUPART_USER).empty() ||
                           made.password.empty() != component(url, CURLUPART_PASSWORD).empty();
  if (undecodable || has_control_characters(made.user) || has_control_characters(made.password)) {
    return bad_proxy(name, text, "user or password hold control characters");
  }
  return made;
}

result<proxy_rules> proxy_rules::read(const proxy_choice& configured,
                                      const engine::environment_lookup& environment) {
  proxy_rules made;
  if (std::holds_alternative<no_proxy>(configured)) {
    return made;
  }
  if (const auto* server = std::get_if<proxy_server>(&configured)) {
    made = proxy_rules(*server);
  } else {
    auto for_http = proxy_in(environment, {"http_proxy", "all_proxy", "ALL_PROXY"});
    auto for_https =
        proxy_in(environment, {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"});
    if (!for_http || !for_https) {
      return std::move(for_http ? for_https.error() : for_http.error());
    }
    made._for_http = std::move(*for_http);
    made._for_https = std::move(*for_https);
  }
  std::string list = lower_case(first_set(environment, {"no_proxy", "NO_PROXY"}).second);
  std::string_view rest = list;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find_first_of(", \t"), rest.size());
    if (end > 0) {
      made._exceptions.emplace_back(rest.substr(0, end));
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return made;
}

bool proxy_rules::excepted(const std::string& host, const std::string& port) const {
  const std::string address = address_bytes(host);
  const auto names_it = [&](std::string_view entry) {
    if (entry == "*") {
      return true;
    }
    const std::size_t colon = entry.rfind(':');
    const bool with_port = colon != std::string_view::npos && address_bytes(entry).empty() &&
                           entry.find('/') == std::string_view::npos;
    if (with_port && entry.substr(colon + 1) != port) {
      return false;
    }
    entry = with_port ? entry.substr(0, colon) : entry;
    if (!address.empty()) {
      return address_bytes(entry) == address || in_block(address, entry);
    }
    while (entry.starts_with('.')) {
      entry.remove_prefix(1);
    }
    if (entry.ends_with('.')) {
      entry.remove_suffix(1);
    }
    return !entry.empty() && host.ends_with(entry) &&
           (host.size() == entry.size() || host[host.size() - entry.size() - 1] == '.');
  };
  return std::any_of(_exceptions.begin(), _exceptions.end(), names_it);
}

const proxy_server* proxy_rules::for_url(const std::string& url) const {
  const std::optional<proxy_server>& chosen = url.starts_with("https://") ? _for_https : _for_http;
  if (!chosen) {
    return nullptr;
  }
  const url_parts parts(::curl_url(), &::curl_url_cleanup);
  if (::curl_url_set(parts.get(), CURLUPART_URL, url.c_str(), CURLU_PATH_AS_IS) != CURLUE_OK) {
    return &*chosen;  // libcurl will refuse it
  }
  std::string host = lower_case(component(parts, CURLUPART_HOST));
  if (host.ends_with('.')) {
    host.pop_back();
  }
  return excepted(host, component(parts, CURLUPART_PORT, CURLU_DEFAULT_PORT)) ? nullptr : &*chosen;
}

}  // namespace bts3::s3
