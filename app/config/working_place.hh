// Where a command works: with the configuration file, or with a bucket that the command line names
// instead of one.
#pragma once

#include "app/cli/cli.hh"
#include "app/config/config.hh"
#include "engine/result.hh"
#include "engine/told_command.hh"

#include <string>

namespace bts3::app {

// The environment as --profile changes it: AWS_PROFILE is that profile, and keys in the environment
// do not beat it, as whoever names a profile means it (the AWS command line does the same).
engine::environment_lookup environment_with_profile(engine::environment_lookup environment,
                                                    std::string profile);

// A configuration made of --from, --region and --endpoint-url, everything else being what
// BTRFS_TO_S3_... say, or its default; the region also from AWS_REGION, AWS_DEFAULT_REGION or the
// profile, and us-east-1 with an endpoint of one's own. Errors (reason configuration): a --from
// that is no s3://bucket/prefix, no region, a variable that makes no sense.
engine::result<config> config_of_bucket(const bucket_place& command,
                                        const engine::environment_lookup& environment);

// The place that the command names, where it is one that takes --from; null otherwise.
const bucket_place* place_in(const command_line& line);

// The configuration that the command works with: its --from's, or that of --config.
engine::result<config> settings_for(const command_line& line,
                                    const engine::environment_lookup& environment);

// What commands that this one prints have to be told of where it works.
engine::told_place told_place_of(const command_line& line);

}  // namespace bts3::app
