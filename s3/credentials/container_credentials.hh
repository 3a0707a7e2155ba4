// The credentials endpoint of a container: ECS tasks, EKS pods, and agents that imitate them
// ("Container credential provider", AWS SDKs and Tools Reference Guide).
//
// AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is a path at ECS's link-local address;
// AWS_CONTAINER_CREDENTIALS_FULL_URI, looked at when the first is not set, is a whole address. The
// request carries what AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE holds, read each time, or else
// AWS_CONTAINER_AUTHORIZATION_TOKEN.
#pragma once

#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/credentials/credential_source.hh"

#include <string>

namespace bts3::s3 {

engine::task<engine::result<credentials>> find_in_container(const source_context& with,
                                                            engine::stop_token stop);

// Whether a full address may be asked: over https any host, over http only this machine
// (localhost, 127.0.0.0/8, ::1) and the link-local addresses of ECS (169.254.170.2) and EKS
// (169.254.170.23, fd00:ec2::23), so that the token does not leave it in the clear.
[[nodiscard]] bool may_ask_for_credentials(const std::string& url);

}  // namespace bts3::s3
