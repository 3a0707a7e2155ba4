#include "s3/credentials/sts.hh"

#include "engine/secret_string.hh"
#include "s3/credentials/aws_settings.hh"
#include "s3/credentials/credential_document.hh"
#include "s3/credentials/endpoint.hh"
#include "s3/credentials/sigv4_signer.hh"
#include "s3/credentials/small_file.hh"
#include "s3/http/clock_correction.hh"
#include "s3/http/one_line.hh"
#include "s3/http/percent_encoding.hh"

#include <pugixml.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <span>
#include <string_view>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// An answer has a session token of a few KiB.
constexpr std::size_t answer_bytes_max = 256 * 1024;
// STS answers within a second; nothing is sent meanwhile that could count as progress.
constexpr std::chrono::seconds stall_timeout{10};
constexpr std::chrono::seconds deadline{60};  // with name resolution, TCP and TLS

// Regions that are older than regional endpoints ("AWS STS Regional endpoints" in the SDKs'
// reference guide).
constexpr std::string_view legacy_regions[] = {
    "ap-northeast-1", "ap-south-1",   "ap-southeast-1", "ap-southeast-2",
    "aws-global",     "ca-central-1", "eu-central-1",   "eu-north-1",
    "eu-west-1",      "eu-west-2",    "eu-west-3",      "sa-east-1",
    "us-east-1",      "us-east-2",    "us-west-1",      "us-west-2"};

// Where STS is; `region`, which the signature names, becomes another where that is.
result<endpoint> sts_endpoint(const source_context& with, std::string& region) {
  // It becomes part of a host name and of the signature's header.
  if (region.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_") != std::string::npos) {
    return unusable("the region for STS, \"" + one_line(region) + "\", is none",
                    "correct AWS_REGION, AWS_DEFAULT_REGION or the profile's region");
  }
  if (const named_value url = configured_url("sts", with.environment); !url.value.empty()) {
    return parse_endpoint_url(url.from, url.value);
  }
  auto variant = wanted_variant(with.environment);
  if (!variant) {
    return std::move(variant.error());
  }
  auto legacy = legacy_sts(with.environment);
  if (!legacy) {
    return std::move(legacy.error());
  }
  endpoint made;
  made.scheme = "https";
  const bool has_global = std::find(std::begin(legacy_regions), std::end(legacy_regions), region) !=
                          std::end(legacy_regions);
  if (*legacy && has_global && variant->usual()) {
    region = "us-east-1";
    made.host = "sts.amazonaws.com";
    return made;
  }
  const aws_partition& partition = partition_of(region);
  const bool no_dualstack = !variant->dualstack.empty() && partition.dualstack_suffix.empty();
  if (no_dualstack || (!variant->fips.empty() && !partition.fips)) {
    error failure =
        unusable((no_dualstack ? variant->dualstack : variant->fips) + ": STS has no " +
                     (no_dualstack ? "dual-stack" : "FIPS") + " endpoint in region " + region,
                 "unset it, or name another region");
    failure.why = reason::configuration;
    return failure;
  }
  // GovCloud's usual endpoints are FIPS already.
  const bool named_fips =
      !variant->fips.empty() && !(region.starts_with("us-gov-") && variant->dualstack.empty());
  made.host = (named_fips ? "sts-fips." : "sts.") + region + ".";
  made.host += variant->dualstack.empty() ? partition.suffix : partition.dualstack_suffix;
  return made;
}

std::string region_of(const source_context& with, const role_request& wanted) {
  return wanted.region.empty() ? find_region(with.environment).value_or(with.region)
                               : wanted.region;
}

// Form fields that both calls have.
query_list form_of(const source_context& with, const char* action, const role_request& wanted) {
  query_list form = {{"Action", action}, {"Version", "2011-06-15"}, {"RoleArn", wanted.role_arn}};
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(with.clock.now().time_since_epoch());
  form.emplace_back("RoleSessionName", wanted.session_name.empty()
                                           ? "btrfs_to_s3-" + std::to_string(seconds.count())
                                           : wanted.session_name);
  if (!wanted.duration_seconds.empty()) {
    form.emplace_back("DurationSeconds", wanted.duration_seconds);
  }
  return form;
}

http_request request_of(const endpoint& where, const std::string& body) {
  const std::string path = where.base_path.empty() ? "/" : where.base_path;
  http_request request("POST", where.url(path, ""));
  request.headers = {{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}};
  request.body = std::as_bytes(std::span(body.data(), body.size()));
  request.collected_body_bytes_max = answer_bytes_max;
  request.secret_answer = true;
  request.stall_timeout = stall_timeout;
  request.deadline = deadline;
  return request;
}

// <ErrorResponse><Error>, of which Code and Message are of interest.
error refusal(const role_request& wanted, const endpoint& where, const http_response& answer) {
  pugi::xml_document document;
  const bool parsed = static_cast<bool>(document.load_buffer(
      answer.body.data(), answer.body.size(), pugi::parse_default, pugi::encoding_utf8));
  const pugi::xml_node node =
      parsed ? document.child("ErrorResponse").child("Error") : pugi::xml_node();
  error failure;
  failure.status = answer.status;
  failure.code = one_line(node.child("Code").text().get());
  failure.message =
      wanted.source + ": " + where.host + " answered " + std::to_string(answer.status);
  if (!failure.code.empty()) {
    failure.message += " " + failure.code;
  }
  if (const std::string said = one_line(node.child("Message").text().get()); !said.empty()) {
    failure.message += " (" + said + ")";
  }
  const bool passing = answer.status >= 500 || answer.status == 429 ||
                       failure.code == "Throttling" || failure.code == "IDPCommunicationError";
  if (passing) {
    failure.what_now = disposition::retry;
    failure.why = answer.status == 429 || failure.code == "Throttling" ? reason::throttled
                                                                       : reason::unspecified;
    return failure;
  }
  failure.why = reason::access;
  failure.remedy = "check " + wanted.role_arn + ", its trust policy, and what asks for it";
  if (failure.code == "ExpiredTokenException" || failure.code == "ExpiredToken") {
    failure.remedy = "the token or the credentials that ask for the role have run out: renew them";
  }
  return failure;
}

// Spends the answer: what it says is parsed where it is, so that there is one place to wipe.
result<credentials> credentials_in(const role_request& wanted, const char* action,
                                   http_response& answer) {
  const engine::wiped afterwards(answer.body);
  pugi::xml_document document;
  const bool parsed = static_cast<bool>(document.load_buffer_inplace(
      answer.body.data(), answer.body.size(), pugi::parse_default, pugi::encoding_utf8));
  const std::string name = action;
  const pugi::xml_node node = document.child((name + "Response").c_str())
                                  .child((name + "Result").c_str())
                                  .child("Credentials");
  credentials found;
  found.access_key_id = node.child("AccessKeyId").text().get();
  found.secret_access_key = node.child("SecretAccessKey").text().get();
  found.session_token = node.child("SessionToken").text().get();
  found.expiration = parse_iso8601(node.child("Expiration").text().get());
  found.source = wanted.source;
  trim_keys(found);
  if (!parsed || found.access_key_id.empty() || found.secret_access_key.empty() ||
      found.session_token.empty() || !found.expiration) {
    error failure;
    failure.what_now = disposition::retry;
    failure.why = reason::protocol;
    failure.message =
        wanted.source + ": the answer to " + name + " has no whole set of credentials";
    return failure;
  }
  return checked_keys(std::move(found), {"AccessKeyId", "SecretAccessKey", "SessionToken"});
}

}  // namespace

task<result<credentials>> assume_role_with_web_identity(const source_context& with,
                                                        role_request wanted, std::string token_file,
                                                        engine::stop_token stop) {
  // The file is replaced when the token is renewed, so it is read each time.
  auto token = read_small_file(token_file);
  if (!token) {
    co_return unusable(wanted.source + ": token file " + token_file + ": " + token.error().message,
                       "it must hold the web identity's token");
  }
  std::string region = region_of(with, wanted);
  auto where = sts_endpoint(with, region);
  if (!where) {
    co_return std::move(where.error());
  }
  constexpr const char* action = "AssumeRoleWithWebIdentity";
  query_list form = form_of(with, action, wanted);
  const engine::wiped token_afterwards(*token);
  std::string body = canonical_query(std::move(form));
  // The last field in order, which is the one to wipe.
  constexpr std::string_view token_field = "&WebIdentityToken=";
  std::string encoded = uri_encode(*token, false);
  const engine::wiped encoded_afterwards(encoded);
  body.reserve(body.size() + token_field.size() + encoded.size());
  body.append(token_field).append(encoded);
  const engine::wiped body_afterwards(body);
  http_request request = request_of(*where, body);
  auto asking = with.transport.perform(std::move(request), stop);
  auto answer = co_await std::move(asking);
  if (!answer) {
    co_return std::move(answer.error()).within(wanted.source);
  }
  if (answer->status != 200) {
    co_return refusal(wanted, *where, *answer);
  }
  co_return credentials_in(wanted, action, *answer);
}

task<result<credentials>> assume_role(const source_context& with, role_request wanted,
                                      credentials who, engine::stop_token stop) {
  std::string region = region_of(with, wanted);
  auto where = sts_endpoint(with, region);
  if (!where) {
    co_return std::move(where.error());
  }
  constexpr const char* action = "AssumeRole";
  query_list form = form_of(with, action, wanted);
  if (!wanted.external_id.empty()) {
    form.emplace_back("ExternalId", wanted.external_id);
  }
  const std::string body = canonical_query(std::move(form));
  clock_correction time(with.clock, with.log);
  for (int attempt = 1;; ++attempt) {
    const std::chrono::seconds offset = time.offset();
    http_request request = request_of(*where, body);
    signing_input input;
    input.method = "POST";
    input.path = where->base_path.empty() ? "/" : where->base_path;
    input.headers = request.headers;
    input.headers.emplace_back("Host", where->host);
    input.payload = sha256_hex(body);
    signing_scope scope;
    scope.region = region;
    scope.service = "sts";
    header_list signature = sign(input, who, scope, time.now_with(offset));
    std::move(signature.begin(), signature.end(), std::back_inserter(request.headers));
    auto asking = with.transport.perform(std::move(request), stop);
    auto answer = co_await std::move(asking);
    if (!answer) {
      co_return std::move(answer.error()).within(wanted.source);
    }
    if (answer->status == 200) {
      co_return credentials_in(wanted, action, *answer);
    }
    if (attempt == 1 && time.learn(*answer, offset, false)) {
      continue;
    }
    error failure = refusal(wanted, *where, *answer);
    failure.message += "; access key " + who.access_key_id + " from " + who.source;
    co_return failure;
  }
}

}  // namespace bts3::s3
