#include "s3/credentials/container_credentials.hh"

#include "engine/secret_string.hh"
#include "s3/credentials/credential_document.hh"
#include "s3/credentials/small_file.hh"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;
using engine::value_of;

constexpr const char* ecs_endpoint = "http://169.254.170.2";
constexpr const char* allowed_ipv4[] = {"169.254.170.2", "169.254.170.23"};
constexpr const char* allowed_ipv6[] = {"::1", "fd00:ec2::23"};

constexpr std::size_t answer_bytes_max = 64 * 1024;
// An agent on the same machine, which may have to ask STS itself first.
constexpr std::chrono::seconds stall_timeout{5};
constexpr std::chrono::seconds deadline{30};

std::string component(CURLU* url, CURLUPart which) {
  char* text = nullptr;
  if (::curl_url_get(url, which, &text, 0) != CURLUE_OK) {
    return {};
  }
  const std::unique_ptr<char, decltype(&::curl_free)> owner(text, &::curl_free);
  return text;
}

bool allowed_address(const std::string& host) {
  in_addr four{};
  if (::inet_pton(AF_INET, host.c_str(), &four) == 1) {
    const bool loopback = (ntohl(four.s_addr) >> 24) == 127;
    return loopback || std::any_of(std::begin(allowed_ipv4), std::end(allowed_ipv4),
                                   [&](const char* allowed) { return host == allowed; });
  }
  in6_addr six{};
  if (host.size() < 2 ||
      ::inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &six) != 1) {
    return false;
  }
  return std::any_of(std::begin(allowed_ipv6), std::end(allowed_ipv6), [&](const char* text) {
    in6_addr allowed{};
    return ::inet_pton(AF_INET6, text, &allowed) == 1 &&
           std::memcmp(&allowed, &six, sizeof six) == 0;
  });
}

// "" when there is none to send.
result<std::string> authorization(const source_context& with) {
  const char* variable = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
  std::string token;
  if (const std::string path = value_of(with.environment, variable); !path.empty()) {
    auto text = read_small_file(path);
    if (!text) {
      return unusable(std::string(variable) + " = " + path + ": " + text.error().message,
                      "it must name a readable file that holds the token");
    }
    token = std::move(*text);
  } else {
    variable = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
    token = value_of(with.environment, variable);
  }
  if (token.find_first_of("\r\n") != std::string::npos) {
    return unusable(std::string(variable) + ": the token has more than one line",
                    "a token is one line");
  }
  return token;
}

}  // namespace

bool may_ask_for_credentials(const std::string& url) {
  const std::unique_ptr<CURLU, decltype(&::curl_url_cleanup)> parts(::curl_url(),
                                                                    &::curl_url_cleanup);
  if (::curl_url_set(parts.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) {
    return false;
  }
  const std::string scheme = component(parts.get(), CURLUPART_SCHEME);
  const std::string host = component(parts.get(), CURLUPART_HOST);
  return scheme == "https" || (scheme == "http" && (host == "localhost" || allowed_address(host)));
}

task<result<credentials>> find_in_container(const source_context& with, engine::stop_token stop) {
  const std::string relative = value_of(with.environment, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  const std::string full = value_of(with.environment, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (relative.empty() && full.empty()) {
    co_return nothing_in(
        "a container (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and "
        "AWS_CONTAINER_CREDENTIALS_FULL_URI are not set)");
  }
  if (!relative.empty() && relative.front() != '/') {
    co_return unusable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = \"" + relative + "\" is no path",
                       "it must begin with a slash");
  }
  const std::string url = relative.empty() ? full : ecs_endpoint + relative;
  if (relative.empty() && !may_ask_for_credentials(url)) {
    co_return unusable(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI = \"" + url + "\": credentials are not asked for there",
        "it must be https, or http to this machine or to the addresses of ECS and "
        "EKS");
  }
  auto token = authorization(with);
  if (!token) {
    co_return std::move(token.error());
  }
  const engine::wiped token_afterwards(*token);
  http_request request("GET", url);
  request.headers.emplace_back("Accept", "application/json");
  if (!token->empty()) {
    request.headers.emplace_back("Authorization", *token);
  }
  request.collected_body_bytes_max = answer_bytes_max;
  request.secret_answer = true;
  request.stall_timeout = stall_timeout;
  request.deadline = deadline;
  request.direct = true;
  const std::string source = "the container's endpoint " + url;
  auto asking = with.transport.perform(std::move(request), stop);
  auto answer = co_await std::move(asking);
  if (!answer) {
    co_return std::move(answer.error()).within(source);
  }
  const engine::wiped answer_afterwards(answer->body);
  if (answer->status != 200) {
    error failure = unusable(source + " answered " + std::to_string(answer->status),
                             "check the role of the task or pod and the AWS_CONTAINER_ variables");
    failure.status = answer->status;
    if (answer->status >= 500 || answer->status == 429) {
      failure.what_now = disposition::retry;
    }
    co_return failure;
  }
  co_return parse_credential_document(answer->body, credential_dialect::metadata, source);
}

}  // namespace bts3::s3
