#include "s3/http/curl_outcome.hh"

#include "engine/assert.hh"
#include "engine/wording.hh"

#include <curl/curl.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

namespace bts3::s3 {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::setting;
using engine::wording;

namespace {

// What to do where this host has no authorities to trust at all.
wording no_authorities_remedy(const std::vector<std::string>& looked_at) {
  std::string text = "this host has no CA certificates; looked for ";
  for (const std::string& path : looked_at) {
    text += (&path == &looked_at.front() ? "" : ", ") + path;
  }
  return text +
         "; install ca-certificates, or copy that file of another host and name it in "
         "AWS_CA_BUNDLE or " +
         wording(setting::trusted_authorities);
}

// What a libcurl failure means to the caller.
struct fault {
  CURLcode code;
  disposition what_now;
  reason why;
  const char* what;
  wording remedy;
};

// Of <openssl/x509_vfy.h>, as CURLINFO_SSL_VERIFYRESULT tells it.
constexpr long certificate_not_yet_valid = 9;

// Whether a handshake failed for what the other side is, and not because the connection was lost:
// OpenSSL's own errors, among them "wrong version number" (no TLS at all) and every alert.
bool is_final_handshake(std::string_view detail) {
  const bool of_openssl = detail.find("SSL routines") != std::string_view::npos;
  return of_openssl && detail.find("unexpected eof") == std::string_view::npos;
}

std::string shown(const proxy_server& proxy) {
  return proxy.url + " (" + proxy.from.text() + ")";
}

error wants_login(const std::string& where, const proxy_server& proxy) {
  error failure;
  failure.why = reason::access;
  failure.status = 407;
  failure.code = "proxy_login";
  failure.message = where + ": the proxy " + shown(proxy) +
                    (proxy.user.empty() ? " wants a login (407)"
                                        : " does not accept the login that it was given (407)");
  failure.remedy =
      wording(proxy.user.empty() ? "put user and password into " : "correct the login in ") +
      proxy.from +
      " (http://user:password@host:port), or list the host in no_proxy; Basic is the "
      "only kind of login that is supported";
  return failure;
}

const std::vector<fault>& faults() {
  static const std::vector<fault> all = {
      {CURLE_COULDNT_RESOLVE_HOST, disposition::retry, reason::network, "name resolution failed",
       "check the endpoint's spelling, the region and this host's DNS"},
      {CURLE_COULDNT_RESOLVE_PROXY, disposition::retry, reason::network,
       "name resolution of the proxy failed", ""},
      {CURLE_PROXY, disposition::retry, reason::network, "the proxy did not connect", ""},
      {CURLE_COULDNT_CONNECT, disposition::retry, reason::network, "connection failed",
       "check that the endpoint is up, its port, and the firewall"},
      {CURLE_OPERATION_TIMEDOUT, disposition::retry, reason::network, "connecting timed out",
       "check that the endpoint is up, its port, and the firewall"},
      {CURLE_PEER_FAILED_VERIFICATION, disposition::fail, reason::network,
       "the server's certificate was not accepted",
       "if the endpoint uses its own certificate authority, name its PEM file in " +
           wording(setting::trusted_authorities) +
           "; if the certificate is expired or not yet valid, check this host's clock"},
      {CURLE_SSL_CACERT_BADFILE, disposition::fail, reason::configuration,
       "the certificate bundle cannot be used",
       setting::trusted_authorities + wording(" must name a readable PEM file of certificates")},
      {CURLE_SSL_CONNECT_ERROR, disposition::retry, reason::network, "the TLS handshake failed",
       "check that the endpoint's port speaks TLS 1.2 or newer"},
      {CURLE_PARTIAL_FILE, disposition::retry, reason::network, "the answer was cut short", ""},
      {CURLE_GOT_NOTHING, disposition::retry, reason::network,
       "the connection was closed without an answer", ""},
      {CURLE_SEND_ERROR, disposition::retry, reason::network, "the connection broke while sending",
       ""},
      {CURLE_RECV_ERROR, disposition::retry, reason::network,
       "the connection broke while receiving", ""},
      {CURLE_WEIRD_SERVER_REPLY, disposition::retry, reason::network, "the answer is not HTTP",
       "check that the endpoint is an S3 service and its port"},
      {CURLE_UNSUPPORTED_PROTOCOL, disposition::fail, reason::configuration,
       "the address is neither http nor https, or the answer is not HTTP",
       "check " + wording(setting::endpoint)},
      {CURLE_URL_MALFORMAT, disposition::fail, reason::configuration, "the address is malformed",
       "check " + wording(setting::endpoint) + " and " + setting::bucket},
      {CURLE_OUT_OF_MEMORY, disposition::fail, reason::system, "out of memory", ""},
  };
  return all;
}

const fault& fault_of(CURLcode code) {
  static const fault other = {CURLE_OK, disposition::retry, reason::network, "the exchange failed",
                              ""};
  const auto found = std::find_if(faults().begin(), faults().end(),
                                  [code](const fault& entry) { return entry.code == code; });
  return found != faults().end() ? *found : other;
}

// Whether there is no way through the proxy, by what it said; nullopt: it did not say so.
std::optional<error> refused_by_proxy(const curl_exchange& work) {
  long answered = 0;
  curl_easy_getinfo(work.easy, CURLINFO_HTTP_CONNECTCODE, &answered);
  const bool unwrapped = work.finished && work.code == CURLE_OK && work.response.status == 407;
  if (work.through == nullptr || (!unwrapped && (work.code == CURLE_OK || answered < 300))) {
    return std::nullopt;
  }
  const std::string where = host_and_port(work.request.url);
  if (unwrapped || answered == 407) {
    return wants_login(where, *work.through);
  }
  error failure;
  failure.what_now = answered >= 500 ? disposition::retry : disposition::fail;
  failure.why = answered >= 500 ? reason::network : reason::access;
  failure.code = "proxy_refused";
  failure.message = where + ": the proxy " + shown(*work.through) +
                    (answered >= 500 ? " cannot connect to it" : " refuses to connect to it") +
                    " (CONNECT was answered with " + std::to_string(answered) + ")";
  failure.remedy = "have the proxy allow CONNECT to " + where +
                   ", or list the host in no_proxy if it can be reached without";
  return failure;
}

// A libcurl failure.
error broken_off(const curl_exchange& work, const curl_options& options) {
  const fault& known = fault_of(work.code);
  const std::string_view detail =
      work.curl_text[0] != '\0' ? work.curl_text.data() : curl_easy_strerror(work.code);
  error failure;
  failure.what_now = known.what_now;
  failure.why = known.why;
  const bool about_trust =
      known.code == CURLE_PEER_FAILED_VERIFICATION || known.code == CURLE_SSL_CACERT_BADFILE;
  failure.remedy = about_trust && options.ca_bundle.empty() && options.ca_directory.empty()
                       ? no_authorities_remedy(options.system_ca_bundles)
                       : known.remedy;
  failure.message = host_and_port(work.request.url);
  if (work.through != nullptr) {
    failure.message += " through the proxy " + shown(*work.through);
  }
  failure.message += std::string(": ") + known.what;
  long system_code = 0;
  curl_easy_getinfo(work.easy, CURLINFO_OS_ERRNO, &system_code);
  if (system_code != 0 && known.code == CURLE_COULDNT_CONNECT) {
    failure.message += std::string(": ") + ::strerrordesc_np(static_cast<int>(system_code));
  }
  failure.message += " (";
  failure.message += detail;
  failure.message += ')';

  long verified = 0;
  curl_easy_getinfo(work.easy, CURLINFO_SSL_VERIFYRESULT, &verified);
  if (known.code == CURLE_PEER_FAILED_VERIFICATION && verified == certificate_not_yet_valid) {
    // A machine without a clock of its own begins somewhere in the past.
    failure.what_now = disposition::retry;
    failure.at_boot = true;
    failure.remedy = "set this host's clock (NTP), which seems to be behind";
  } else if (known.code == CURLE_SSL_CONNECT_ERROR && is_final_handshake(detail)) {
    failure.what_now = disposition::fail;
    if (detail.find("wrong version number") != std::string_view::npos) {
      failure.message += ": nobody speaks TLS there";
      failure.remedy = "check the port, or write http:// in " + wording(setting::endpoint) +
                       " if the store has no TLS";
    }
  } else if (known.code == CURLE_UNSUPPORTED_PROTOCOL && work.request.url.starts_with("http://")) {
    failure.remedy = "check the port, or write https:// in " + wording(setting::endpoint) +
                     " if the store speaks TLS";
  }
  const bool unreachable = known.code == CURLE_COULDNT_CONNECT ||
                           known.code == CURLE_OPERATION_TIMEDOUT ||
                           known.code == CURLE_COULDNT_RESOLVE_PROXY || known.code == CURLE_PROXY;
  if (work.through != nullptr && unreachable) {
    failure.remedy = "check " + work.through->from +
                     " and that the proxy is up, or list the host in "
                     "no_proxy if it can be reached without";
  }
  return failure;
}

}  // namespace

error not_given(const std::string& what, const std::string& why) {
  error failure;
  failure.what_now = disposition::retry;
  failure.why = reason::system;
  failure.message = what + ": libcurl: " + why;
  failure.remedy = "end other programs, or raise MemoryMax= of the unit";
  return failure;
}

std::string host_and_port(const std::string& url) {
  CURLU* parts = curl_url();
  if (parts == nullptr) {
    return url;
  }
  char* host = nullptr;
  char* port = nullptr;
  std::string text = url;
  if (curl_url_set(parts, CURLUPART_URL, url.c_str(), 0) == CURLUE_OK &&
      curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
      curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
    text = std::string(host) + ':' + port;
  }
  curl_free(host);
  curl_free(port);
  curl_url_cleanup(parts);
  return text;
}

result<http_response> outcome_of(curl_exchange& work, const curl_options& options) {
  if (auto refused = refused_by_proxy(work); refused && !work.stalled) {
    return std::move(*refused);
  }
  if (work.finished && work.code == CURLE_OK) {
    work.response.proxy = work.through != nullptr ? shown(*work.through) : "";
    return std::move(work.response);
  }
  const std::string where = host_and_port(work.request.url);
  error failure;
  if (work.stalled) {
    failure.what_now = disposition::retry;
    failure.why = reason::network;
    failure.code = "stalled";
    failure.message = where + ": " + work.request.method + " stalled: " + work.stall_text +
                      ", after " + std::to_string(work.body_bytes_taken) + " of " +
                      std::to_string(work.request.body.size()) + " bytes";
    return failure;
  }
  BTS3_ASSERT(work.finished);
  if (!work.broken_rule.empty()) {
    failure.what_now = work.malformed ? disposition::retry : disposition::fail;
    failure.why = work.malformed ? reason::network : reason::protocol;
    failure.status = work.malformed ? 0 : work.response.status;
    failure.message = where + ": " + work.request.method + ": " + work.broken_rule;
    return failure;
  }
  if (work.source_failure && work.code == CURLE_ABORTED_BY_CALLBACK) {
    failure = *work.source_failure;
    return std::move(failure).within(where + ": the body of " + work.request.method);
  }
  return broken_off(work, options);
}

}  // namespace bts3::s3
