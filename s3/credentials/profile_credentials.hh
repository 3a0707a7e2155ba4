// What a profile of the shared AWS files gives: AWS_PROFILE's, or "default"'s.
//
// Its settings are tried in this order ("Settings reference", AWS SDKs and Tools Reference Guide):
// a role (role_arn) for the token in web_identity_token_file, or with the credentials of
// source_profile (which may be a role's in turn) or credential_source (Environment, EcsContainer,
// Ec2InstanceMetadata); keys; credential_process. The files are read anew each time, because people
// rotate keys in them.
//
// Not supported, and an error that says so: single sign-on and login sessions, for which
// credential_process can call the AWS command line, and roles that ask for an MFA code.
#pragma once

#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/credentials/credential_source.hh"

namespace bts3::s3 {

// nothing_in() when the profile has nothing of all that, or when there is no profile at all; but a
// profile that AWS_PROFILE names and neither file has is unusable().
engine::task<engine::result<credentials>> find_in_profile(const source_context& with,
                                                          engine::stop_token stop);

}  // namespace bts3::s3
