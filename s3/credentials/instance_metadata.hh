// The EC2 instance metadata service, version 2: a token, the role's name, its credentials
// ("Use IMDSv2", Amazon EC2 User Guide). There is no way back to version 1, which needs no token.
//
// AWS_EC2_METADATA_DISABLED=true leaves it out; AWS_EC2_METADATA_SERVICE_ENDPOINT, or
// AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv6, say where it is. Nothing tells beforehand whether a
// machine has one, so each step is asked once and given up after a second without an answer: a
// machine outside EC2 waits that long, once.
#pragma once

#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/credentials/credential_source.hh"

namespace bts3::s3 {

// nothing_in() when it is disabled, is none (the token is refused) or no role is attached; `retry`
// when it cannot be reached, which outside EC2 means the same.
engine::task<engine::result<credentials>> find_in_instance_metadata(const source_context& with,
                                                                    engine::stop_token stop);

}  // namespace bts3::s3
