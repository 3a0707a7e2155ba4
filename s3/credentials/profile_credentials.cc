#include "s3/credentials/profile_credentials.hh"

#include "s3/credentials/container_credentials.hh"
#include "s3/credentials/credential_process.hh"
#include "s3/credentials/instance_metadata.hh"
#include "s3/credentials/sts.hh"
#include "s3/http/one_line.hh"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace bts3::s3 {

namespace {

using engine::disposition;
using engine::error;
using engine::result;
using engine::task;

// AWS's own limit for roles that lead to roles is this session length's, not a number; nobody has
// this many.
constexpr std::size_t roles_max = 8;

// Settings by which a profile gets its keys from elsewhere, in ways that are not supported.
constexpr const char* sign_on_settings[] = {"sso_session", "sso_start_url", "sso_account_id",
                                            "login_session"};

// Roles that lead to others, so far: "a -> b -> ".
std::string trail(const std::vector<std::string>& visited) {
  std::string text;
  for (const std::string& name : visited) {
    text += name + " -> ";
  }
  return text;
}

// In seconds, as STS takes it ("AssumeRole", AWS Security Token Service API Reference).
constexpr unsigned session_seconds_min = 900;
constexpr unsigned session_seconds_max = 43'200;

bool is_session_length(const std::string& text) {
  unsigned seconds = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, seconds);
  return parsed.ec == std::errc() && parsed.ptr == end && seconds >= session_seconds_min &&
         seconds <= session_seconds_max;
}

result<role_request> role_of(const shared_profiles& profiles, const std::string& profile) {
  role_request wanted;
  wanted.role_arn = profiles.setting(profile, "role_arn");
  wanted.session_name = profiles.setting(profile, "role_session_name");
  wanted.duration_seconds = profiles.setting(profile, "duration_seconds");
  if (!wanted.duration_seconds.empty() && !is_session_length(wanted.duration_seconds)) {
    return unusable(profiles.where(profile, "duration_seconds") + ": duration_seconds = " +
                        one_line(wanted.duration_seconds) + " is no length of a role's session",
                    "write seconds, from " + std::to_string(session_seconds_min) + " to " +
                        std::to_string(session_seconds_max) + ", or leave it out (an hour)");
  }
  wanted.external_id = profiles.setting(profile, "external_id");
  wanted.region = profiles.setting(profile, "region");
  wanted.source = "role " + wanted.role_arn + " of " + profiles.where(profile, "role_arn");
  return wanted;
}

task<result<credentials>> named_source(const source_context& with, std::string name,
                                       std::string where, engine::stop_token stop) {
  if (name == "Environment") {
    co_return environment_keys(with.environment);
  }
  if (name == "EcsContainer") {
    auto asking = find_in_container(with, stop);
    co_return co_await std::move(asking);
  }
  if (name == "Ec2InstanceMetadata") {
    auto asking = find_in_instance_metadata(with, stop);
    co_return co_await std::move(asking);
  }
  co_return unusable(where + ": credential_source = " + name + " is unknown",
                     "it must be Environment, EcsContainer or Ec2InstanceMetadata");
}

error unsupported_sign_on(const shared_profiles& profiles, const std::string& profile,
                          const char* setting) {
  return unusable(profiles.where(profile, setting) + " relies on " + setting +
                      ", which this program does not support",
                  "let the AWS command line do it: credential_process = aws configure "
                  "export-credentials --format process --profile " +
                      profile + ", in a profile of its own");
}

// A profile that has none of all the settings that give credentials.
error nothing_for(const shared_profiles& profiles, const std::string& profile) {
  if (!profiles.has(profile) && (profiles.explicitly_chosen() || profile != profiles.chosen())) {
    return unusable("there is no profile \"" + profile + "\": " + profiles.why_nothing(profile),
                    "correct AWS_PROFILE or source_profile, or add the profile");
  }
  return nothing_in(profiles.why_nothing(profile));
}

task<result<credentials>> resolve(const source_context& with, const shared_profiles& profiles,
                                  std::string profile, std::vector<std::string> visited,
                                  engine::stop_token stop);

// With the credentials that `profile` names as its role's source.
task<result<credentials>> role_from_source(const source_context& with,
                                           const shared_profiles& profiles, std::string profile,
                                           std::vector<std::string> visited,
                                           engine::stop_token stop) {
  auto role = role_of(profiles, profile);
  if (!role) {
    co_return std::move(role.error());
  }
  role_request wanted = std::move(*role);
  const std::string where = profiles.where(profile, "role_arn");
  const std::string from = profiles.setting(profile, "source_profile");
  const std::string named = profiles.setting(profile, "credential_source");
  if (!profiles.setting(profile, "mfa_serial").empty()) {
    co_return unusable(where + ": mfa_serial is not supported, nobody is there to type a code",
                       "use a role that does not ask for one");
  }
  if (from.empty() == named.empty()) {
    co_return unusable(
        where + ": role_arn needs source_profile, credential_source or web_identity_token_file" +
            (from.empty() ? "" : ", and not two of them"),
        "name one of them in that profile");
  }
  result<credentials> base = credentials();
  if (!named.empty()) {
    auto asking = named_source(with, named, where, stop);
    base = co_await std::move(asking);
  } else if (from == profile) {
    base = profile_keys(profiles, profile);  // the role's own profile may hold the keys
  } else {
    visited.push_back(profile);
    auto resolving = resolve(with, profiles, from, std::move(visited), stop);
    base = co_await std::move(resolving);
  }
  if (!base) {
    error failure = std::move(base.error());
    if (failure.what_now == disposition::not_found) {
      failure = unusable("its source has no credentials: " + failure.message,
                         "put keys or credential_process there");
    }
    co_return std::move(failure).within(wanted.source);
  }
  auto assuming = assume_role(with, std::move(wanted), std::move(*base), stop);
  co_return co_await std::move(assuming);
}

task<result<credentials>> resolve(const source_context& with, const shared_profiles& profiles,
                                  std::string profile, std::vector<std::string> visited,
                                  engine::stop_token stop) {
  const bool again = std::find(visited.begin(), visited.end(), profile) != visited.end();
  if (again || visited.size() == roles_max) {
    co_return unusable("source_profile leads in a circle: " + trail(visited) + profile,
                       "let it end at a profile with keys or credential_process");
  }
  const std::string token_file = profiles.setting(profile, "web_identity_token_file");
  const bool has_role = !profiles.setting(profile, "role_arn").empty();
  if (!token_file.empty()) {
    if (!has_role) {
      co_return unusable(profiles.where(profile, "web_identity_token_file") +
                             " has web_identity_token_file without role_arn",
                         "set role_arn too, or neither of the two");
    }
    auto role = role_of(profiles, profile);
    if (!role) {
      co_return std::move(role.error());
    }
    auto assuming = assume_role_with_web_identity(with, std::move(*role), token_file, stop);
    co_return co_await std::move(assuming);
  }
  if (has_role) {
    auto assuming = role_from_source(with, profiles, profile, std::move(visited), stop);
    co_return co_await std::move(assuming);
  }
  auto keys = profile_keys(profiles, profile);
  if (keys || keys.error().what_now != disposition::not_found) {
    co_return keys;
  }
  if (std::string command = profiles.setting(profile, "credential_process"); !command.empty()) {
    const std::string source =
        "credential_process of " + profiles.where(profile, "credential_process");
    auto running = run_credential_process(with.loop, std::move(command), source, stop);
    co_return co_await std::move(running);
  }
  for (const char* setting : sign_on_settings) {
    if (!profiles.setting(profile, setting).empty()) {
      co_return unsupported_sign_on(profiles, profile, setting);
    }
  }
  co_return nothing_for(profiles, profile);
}

}  // namespace

task<result<credentials>> find_in_profile(const source_context& with, engine::stop_token stop) {
  const shared_profiles profiles = shared_profiles::read(with.environment);
  auto resolving = resolve(with, profiles, profiles.chosen(), std::vector<std::string>(), stop);
  co_return co_await std::move(resolving);
}

}  // namespace bts3::s3
