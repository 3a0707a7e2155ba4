#include "s3/credentials/credential_chain.hh"

#include "s3/credentials/container_credentials.hh"
#include "s3/credentials/host_credentials.hh"
#include "s3/credentials/instance_metadata.hh"
#include "s3/credentials/profile_credentials.hh"
#include "s3/credentials/sts.hh"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <string>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::disposition;
using engine::error;
using engine::result;
using engine::stop_token;
using engine::task;
using engine::value_of;

task<result<credentials>> find_in_environment(const source_context& with, stop_token) {
  co_return environment_keys(with.environment);
}

task<result<credentials>> find_web_identity(const source_context& with, stop_token stop) {
  const std::string token_file = value_of(with.environment, "AWS_WEB_IDENTITY_TOKEN_FILE");
  role_request wanted;
  wanted.role_arn = value_of(with.environment, "AWS_ROLE_ARN");
  if (token_file.empty()) {
    co_return nothing_in("a web identity (AWS_WEB_IDENTITY_TOKEN_FILE is not set)");
  }
  if (wanted.role_arn.empty()) {
    co_return unusable("the environment has AWS_WEB_IDENTITY_TOKEN_FILE without AWS_ROLE_ARN",
                       "set AWS_ROLE_ARN too, or neither of the two");
  }
  wanted.session_name = value_of(with.environment, "AWS_ROLE_SESSION_NAME");
  wanted.source = "role " + wanted.role_arn + " for the web identity in the environment";
  auto assuming = assume_role_with_web_identity(with, std::move(wanted), token_file, stop);
  co_return co_await std::move(assuming);
}

struct place {
  task<result<credentials>> (*find)(const source_context& with, stop_token stop);
  bool guessed;  // asked without having been configured: any failure means that it is not there
};

constexpr place places[] = {
    {&find_in_environment, false}, {&find_web_identity, false},        {&find_in_profile, false},
    {&find_in_container, false},   {&find_in_instance_metadata, true},
};

}  // namespace

credential_chain::credential_chain(source_context with) : _with(std::move(with)) {}

task<result<credentials>> credential_chain::find(stop_token stop) {
  if (_place) {
    auto asking = find_again(*_place, stop);
    co_return co_await std::move(asking);
  }
  std::string looked_at;
  for (std::size_t i = 0; i < std::size(places); ++i) {
    auto asking = places[i].find(_with, stop);
    auto found = co_await std::move(asking);
    if (found) {
      _place = i;
      co_return found;
    }
    const error& failure = found.error();
    const bool nothing = failure.what_now == disposition::not_found ||
                         (places[i].guessed && failure.what_now != disposition::cancelled);
    if (!nothing) {
      co_return found;
    }
    looked_at += (looked_at.empty() ? "" : "; ") + failure.message;
  }
  co_return unusable("no S3 credentials found; looked at " + looked_at, remedy());
}

// A systemd unit (systemd/) sees neither a shell's environment nor, with LoadCredential=, the file
// itself: it is given a copy, in the directory that the service manager names.
std::string credential_chain::remedy() const {
  const shared_profiles profiles = shared_profiles::read(_with.environment);
  const std::string keys =
      "put aws_access_key_id and aws_secret_access_key under [" + profiles.chosen() + "] in ";
  if (!value_of(_with.environment, "CREDENTIALS_DIRECTORY").empty()) {
    return keys + unit_credentials_file + " (root's, mode 0600), which the systemd unit reads";
  }
  struct stat file{};
  if (::geteuid() != 0 && (::stat(unit_credentials_file, &file) == 0 || errno == EACCES)) {
    return std::string("run this as root, who alone may read ") + unit_credentials_file +
           ", or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
  }
  return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or " + keys +
         profiles.files().front().path;
}

// Nothing where there was something may be a file that is just being replaced: worth a repetition
// later, and no reason to look elsewhere.
task<result<credentials>> credential_chain::find_again(std::size_t place, stop_token stop) {
  auto asking = places[place].find(_with, stop);
  auto found = co_await std::move(asking);
  if (!found && found.error().what_now == disposition::not_found) {
    error failure = std::move(found.error());
    failure.what_now = disposition::retry;
    failure.message = "the credentials that were used so far are gone: " + failure.message;
    co_return failure;
  }
  co_return found;
}

}  // namespace bts3::s3
