// The Security Token Service: a role's temporary credentials, for a web identity's token or signed
// with other credentials ("AWS Security Token Service API Reference").
//
// The address is what configured_url() has for it (stores that imitate AWS often serve STS at their
// own), else AWS's for the region, in the variant that is wanted, or, where
// AWS_STS_REGIONAL_ENDPOINTS is "legacy", the global one for the regions that had no other. A
// session's length is the role's default (an hour) unless duration_seconds says otherwise.
#pragma once

#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/credentials/credential_source.hh"

#include <string>

namespace bts3::s3 {

struct role_request {
  std::string role_arn;
  std::string session_name;      // empty: "btrfs_to_s3-" and the time
  std::string duration_seconds;  // empty: the default; else 900 to 43200
  std::string external_id;       // assume_role() only; empty: none
  std::string region;            // empty: find_region(), else the context's
  std::string source;            // names it in messages and becomes credentials::source
};

// Presents the token that `token_file` holds now; not signed, so our clock does not matter.
engine::task<engine::result<credentials>> assume_role_with_web_identity(const source_context& with,
                                                                        role_request wanted,
                                                                        std::string token_file,
                                                                        engine::stop_token stop);

// Signed by `who`; a clock that is off is corrected as for S3.
engine::task<engine::result<credentials>> assume_role(const source_context& with,
                                                      role_request wanted, credentials who,
                                                      engine::stop_token stop);

}  // namespace bts3::s3
