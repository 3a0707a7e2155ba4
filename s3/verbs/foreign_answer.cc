#include "s3/verbs/foreign_answer.hh"

#include "engine/wording.hh"
#include "s3/http/one_line.hh"
#include "s3/http/web_page.hh"
#include "s3/verbs/xml.hh"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::setting;
using engine::wording;

// As much of what somebody else said as fits into a message.
constexpr std::size_t quoted_bytes_max = 60;

constexpr std::string_view store_headers[] = {
    "x-amz-", "x-amzn-", "x-goog-", "x-guploader", "x-trans-id", "x-openstack-", "x-minio-"};

bool has_store_header(const http_response& answer) {
  return std::any_of(answer.headers.begin(), answer.headers.end(), [](const auto& header) {
    return std::any_of(std::begin(store_headers), std::end(store_headers),
                       [&](std::string_view prefix) { return header.first.starts_with(prefix); });
  });
}

bool has_tag(const http_response& answer) {
  return !answer.header("etag").value_or("").empty();
}

bool can_be_success(const http_response& answer, answer_kind kind) {
  if (is_html(answer)) {
    return false;
  }
  switch (kind) {
    case answer_kind::object:
      return has_tag(answer);
    case answer_kind::document:
      return body_text(answer).starts_with('<');
    case answer_kind::nothing:
      break;
  }
  return true;
}

// What proxies and load balancers answer for the servers behind them.
bool is_of_balancer(int status) {
  return status == 429 || (status >= 502 && status <= 504);
}

bool can_be_refusal(const http_response& answer, std::string_view method) {
  if (answer.status == 511 || answer.status == 407) {
    return false;
  }
  if (is_of_balancer(answer.status)) {
    return !is_html(answer);
  }
  if (answer.status >= 500 || answer.status == 408) {
    return true;
  }
  if (method == "HEAD" && answer.status / 100 != 3) {
    return !is_html(answer);
  }
  const auto document = parse_error(answer.body);
  return document && !document->code.empty();
}

// What a foreign answer with some status means.
struct meaning {
  engine::disposition what_now = engine::disposition::retry;
  engine::reason why = engine::reason::network;
  bool at_boot = false;
  std::string sentence;  // empty: nothing more than that it is foreign
  wording remedy;
};

meaning meaning_of_redirect(const http_response& answer, const std::string& endpoint) {
  const std::string place = one_line(answer.header("location").value_or(""), 3 * quoted_bytes_max);
  meaning found;
  if (endpoint.starts_with("http://") && place.starts_with("https://" + endpoint.substr(7))) {
    found.what_now = engine::disposition::fail;
    found.why = engine::reason::configuration;
    found.sentence = "the endpoint wants https";
    found.remedy = "write https:// in " + wording(setting::endpoint);
    return found;
  }
  found.at_boot = true;
  found.sentence =
      "the request is sent on to " + (place.empty() ? std::string("nowhere") : place) +
      ", as by a portal where somebody has to sign in to the network, or by another endpoint's "
      "web server";
  found.remedy = "sign in to the network, or check " + wording(setting::endpoint);
  return found;
}

// Of one of is_of_balancer().
meaning meaning_of_balancer(int status, const std::string& endpoint) {
  meaning found;
  found.sentence = "a proxy or load balancer answers instead of the store: ";
  found.remedy = "it is tried again; if it lasts, ask whoever runs what answers for " + endpoint;
  if (status == 429) {
    found.why = engine::reason::throttled;
    found.sentence += "there are too many requests";
    found.remedy = "lower " + wording(setting::concurrency) + ", or have its limit raised";
  } else if (status == 502) {
    found.sentence += "it cannot make sense of what the store says";
  } else if (status == 503) {
    found.sentence += "it has no store that is ready behind it";
  } else {
    found.sentence += "it has waited for the store in vain";
  }
  return found;
}

meaning meaning_of(const http_response& answer, const std::string& endpoint) {
  if (is_of_balancer(answer.status)) {
    return meaning_of_balancer(answer.status, endpoint);
  }
  meaning found;
  found.remedy = "a proxy, a web server or a portal answers on the way to the store: check " +
                 wording(setting::endpoint) + " and the network";
  if (answer.status / 100 == 3) {
    return meaning_of_redirect(answer, endpoint);
  }
  switch (answer.status) {
    case 200:
      if (is_html(answer)) {
        found.sentence =
            "a web page came back, and whoever sends that is no object store (a portal, say, or "
            "the "
            "console beside one)";
        found.remedy += "; a console has a port or a name of its own";
      }
      break;
    case 400:
      if (endpoint.starts_with("http://") && answer.body.find("HTTPS") != std::string::npos) {
        found.what_now = engine::disposition::fail;
        found.why = engine::reason::configuration;
        found.sentence = "the port wants https";
        found.remedy = "write https:// in " + wording(setting::endpoint);
      }
      break;
    case 403:
      found.at_boot = true;
      found.sentence = "a filter or a firewall on the way refuses the request, not the store";
      found.remedy =
          "have the network's administrator let this host reach " + endpoint +
          (answer.proxy.empty() ? "" : ", or list it in no_proxy if it can be reached without");
      break;
    case 407:
      found.what_now = engine::disposition::fail;
      found.why = engine::reason::access;
      found.sentence = "a proxy on the way wants a login, and none is configured";
      found.remedy = "name it in " + wording(setting::proxy) +
                     " or https_proxy, as http://user:password@host:port";
      break;
    case 413:
      found.what_now = engine::disposition::fail;
      found.why = engine::reason::configuration;
      found.sentence = "a proxy or load balancer before the store limits the size of requests";
      found.remedy = "raise its limit (client_max_body_size of nginx), or lower " +
                     wording(setting::part_size) + " below it";
      break;
    case 511:
      found.at_boot = true;
      found.sentence = "the network wants somebody to sign in";
      found.remedy = "sign in to the network, or have this host exempted from it";
      break;
    default:
      break;
  }
  return found;
}

// Of Retry-After, where it has no date; an hour at most.
std::chrono::seconds seconds_in(std::string_view text) {
  constexpr unsigned most = 3600;
  unsigned value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
  return std::chrono::seconds(whole ? std::min(value, most) : 0);
}

std::string description(const http_response& answer) {
  std::string text = one_line(answer.header("server").value_or(""), quoted_bytes_max);
  text = (text.empty() ? "somebody unnamed" : text) + " with " + std::to_string(answer.status);
  if (const auto type = answer.header("content-type"); type && !type->empty()) {
    text += ", " + one_line(*type, quoted_bytes_max);
  }
  const std::string said = one_line(body_text(answer), quoted_bytes_max);
  return said.empty() ? text : text + ": \"" + said + "\"";
}

}  // namespace

std::optional<std::string> foreign_answer(const http_response& answer, std::string_view method,
                                          answer_kind kind) {
  const bool is_status = answer.status >= 100 && answer.status <= 599;
  if (is_status && has_store_header(answer)) {
    return std::nullopt;
  }
  const bool possible = is_status && (answer.status / 100 == 2 ? can_be_success(answer, kind)
                                                               : can_be_refusal(answer, method));
  return possible ? std::nullopt : std::optional(description(answer));
}

engine::error foreign_error(const http_response& answer, const std::string& endpoint,
                            const std::string& somebody) {
  meaning found = meaning_of(answer, endpoint);
  engine::error failure;
  failure.what_now = found.what_now;
  failure.why = found.why;
  failure.at_boot = found.at_boot;
  const bool of_balancer = is_of_balancer(answer.status);
  failure.status = found.what_now == engine::disposition::fail || of_balancer ? answer.status : 0;
  if (of_balancer) {
    failure.retry_after = seconds_in(answer.header("retry-after").value_or(""));
  }
  failure.code = "foreign_answer";
  failure.message =
      (found.sentence.empty() ? "what answered for " + endpoint + " is no object store"
                              : found.sentence + ", for " + endpoint) +
      (answer.proxy.empty() ? "" : " through the proxy " + answer.proxy) + ": " + somebody;
  failure.remedy = std::move(found.remedy);
  return failure;
}

}  // namespace bts3::s3
