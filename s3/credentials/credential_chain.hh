// Where credentials are looked for, in the order of AWS's SDKs ("Default credentials provider
// chain", AWS SDK for Java 2.x; Go's and Python's agree as far as they have the same places):
//
//   1. the environment's keys, which beat a profile, also one that AWS_PROFILE names
//   2. the environment's web identity: AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN
//   3. the profile: a role, keys, credential_process
//   4. the container's endpoint
//   5. the EC2 instance metadata service
//
// The first place with something configured counts; when that gives no credentials the search ends
// there, because going on would silently act as somebody else. The metadata service alone is asked
// without having been configured, so that its silence is no error of its own. Once a place has
// given credentials it is the only one that is asked again, for the same reason.
#pragma once

#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/credentials/credential_source.hh"

#include <cstddef>
#include <optional>
#include <string>

namespace bts3::s3 {

class credential_chain final : public credential_source {
 public:
  explicit credential_chain(source_context with);

  // Without any credentials: `fail`, listing every place looked at and what was found there.
  engine::task<engine::result<credentials>> find(engine::stop_token stop) override;

 private:
  engine::task<engine::result<credentials>> find_again(std::size_t place, engine::stop_token stop);
  [[nodiscard]] std::string remedy() const;  // where there are none

  source_context _with;
  std::optional<std::size_t> _place;  // that has given credentials
};

}  // namespace bts3::s3
