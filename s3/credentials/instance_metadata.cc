#include "s3/credentials/instance_metadata.hh"

#include "engine/plain_text.hh"
#include "engine/secret_string.hh"
#include "s3/credentials/credential_document.hh"
#include "s3/credentials/endpoint.hh"
#include "s3/http/ascii_text.hh"
#include "s3/http/percent_encoding.hh"

#include <cstddef>
#include <string>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::disposition;
using engine::error;
using engine::result;
using engine::task;
using engine::value_of;

constexpr const char* where_ipv4 = "http://169.254.169.254";
constexpr const char* where_ipv6 = "http://[fd00:ec2::254]";
constexpr const char* token_path = "/latest/api/token";
constexpr const char* role_path = "/latest/meta-data/iam/security-credentials/";
// Six hours, the longest; a new one is fetched each time, this only has to last for two requests.
constexpr const char* token_ttl_seconds = "21600";
// What AWS's own SDKs wait (AWS_METADATA_SERVICE_TIMEOUT).
constexpr std::chrono::seconds stall_timeout{1};
constexpr std::chrono::seconds deadline{10};
constexpr std::size_t answer_bytes_max = 64 * 1024;

bool is(const std::string& value, std::string_view wanted) {
  return lower_case(value) == wanted;
}

result<std::string> address(const engine::environment_lookup& environment) {
  const char* variable = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
  if (const std::string given = value_of(environment, variable); !given.empty()) {
    auto parsed = parse_endpoint_url(variable, given);
    if (!parsed) {
      return std::move(parsed.error());
    }
    return parsed->url(parsed->base_path, "");
  }
  variable = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
  const std::string mode = value_of(environment, variable);
  if (mode.empty() || is(mode, "ipv4")) {
    return std::string(where_ipv4);
  }
  if (is(mode, "ipv6")) {
    return std::string(where_ipv6);
  }
  return unusable(std::string(variable) + " = \"" + mode + "\"", "it must be IPv4 or IPv6");
}

http_request request_of(const char* method, const std::string& url, const char* header,
                        const std::string& value) {
  http_request request(method, url);
  request.headers.emplace_back(header, value);
  request.collected_body_bytes_max = answer_bytes_max;
  request.secret_answer = true;
  request.stall_timeout = stall_timeout;
  request.deadline = deadline;
  request.direct = true;
  return request;
}

error bad_answer(const std::string& source, const char* what, int status) {
  error failure =
      nothing_in(source + " (" + what + ": it answered " + std::to_string(status) + ")");
  failure.status = status;
  if (status >= 500 || status == 429) {
    failure.what_now = disposition::retry;
  }
  return failure;
}

std::string first_line(const std::string& text) {
  // A token goes into a header, a role into an address and into messages.
  return engine::is_plain(text.substr(0, text.find_first_of("\r\n")))
             ? text.substr(0, text.find_first_of("\r\n"))
             : std::string();
}

}  // namespace

task<result<credentials>> find_in_instance_metadata(const source_context& with,
                                                    engine::stop_token stop) {
  std::string source = "the EC2 instance metadata service";
  if (is(value_of(with.environment, "AWS_EC2_METADATA_DISABLED"), "true")) {
    co_return nothing_in(source + " (AWS_EC2_METADATA_DISABLED is true)");
  }
  auto where = address(with.environment);
  if (!where) {
    co_return std::move(where.error());
  }
  http_request for_token = request_of("PUT", *where + token_path,
                                      "X-aws-ec2-metadata-token-ttl-seconds", token_ttl_seconds);
  auto asking = with.transport.perform(std::move(for_token), stop);
  auto answer = co_await std::move(asking);
  if (!answer) {
    error failure = std::move(answer.error()).within(source);
    failure.remedy = "in a container on EC2, let the metadata service's hop limit be 2";
    co_return failure;
  }
  std::string token = first_line(answer->body);
  const engine::wiped token_afterwards(token);
  engine::wipe(answer->body);
  if (answer->status != 200 || token.empty()) {
    co_return bad_answer(source, "no token", answer->status);
  }

  http_request for_role = request_of("GET", *where + role_path, "X-aws-ec2-metadata-token", token);
  auto asking_role = with.transport.perform(std::move(for_role), stop);
  answer = co_await std::move(asking_role);
  if (!answer) {
    co_return std::move(answer.error()).within(source);
  }
  const std::string role = first_line(answer->body);
  if (answer->status != 200 || role.empty()) {
    co_return bad_answer(source, "no role is attached to this instance", answer->status);
  }

  source += " (role " + role + ")";
  http_request for_keys = request_of("GET", *where + role_path + uri_encode(role, false),
                                     "X-aws-ec2-metadata-token", token);
  auto asking_keys = with.transport.perform(std::move(for_keys), stop);
  answer = co_await std::move(asking_keys);
  if (!answer) {
    co_return std::move(answer.error()).within(source);
  }
  const engine::wiped keys_afterwards(answer->body);
  if (answer->status != 200) {
    co_return bad_answer(source, "no credentials", answer->status);
  }
  co_return parse_credential_document(answer->body, credential_dialect::metadata, source);
}

}  // namespace bts3::s3
