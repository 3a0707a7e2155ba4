// A shared credentials file of this host's, which root has beside its own.
#pragma once

namespace bts3::s3 {

// Asked of an engine::environment_lookup for its path, which is looked at before
// ~/.aws/credentials. No variable can be called so: whoever makes the lookup decides.
inline constexpr const char* host_credentials_file = "=host_credentials_file";

// Where that file is, for the units and for root.
inline constexpr const char* unit_credentials_file = "/etc/btrfs_to_s3/aws_credentials";

}  // namespace bts3::s3
