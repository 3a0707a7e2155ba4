// Where a restore finds what to restore: a bucket named on the command line instead of a
// configuration file, the subvolumes in it, and the backup that a point in time means.
#pragma once

#include "app/cli/cli.hh"
#include "app/config/config.hh"
#include "app/store/manifest_turns.hh"
#include "engine/log_sink.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "engine/told_command.hh"
#include "planner/timestamp.hh"
#include "s3/verbs/object_store.hh"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::app {

// The environment as --profile changes it: AWS_PROFILE is that profile, and keys in the environment
// do not beat it, as whoever names a profile means it (the AWS command line does the same).
environment_lookup environment_with_profile(environment_lookup environment, std::string profile);

// A configuration made of --from, --region and --endpoint-url, everything else being what
// BTRFS_TO_S3_... say, or its default; the region also from AWS_REGION, AWS_DEFAULT_REGION or the
// profile, and us-east-1 with an endpoint of one's own. Errors (reason configuration): a --from
// that is no s3://bucket/prefix, no region, a variable that makes no sense.
engine::result<config> config_of_bucket(const bucket_place& command,
                                        const environment_lookup& environment);

// The place that the command names, where it is one that takes --from; null otherwise.
const bucket_place* place_in(const command_line& line);

// The configuration that the command works with: its --from's, or that of --config.
engine::result<config> settings_for(const command_line& line,
                                    const environment_lookup& environment);

// What commands that this one prints have to be told of where it works.
engine::told_place told_place_of(const command_line& line);

// With --from nobody can set s3.bucket: the remedy names the options that stand for such keys.
engine::error in_terms_of_options(engine::error failure);

// "2026-01-02T03:04:05Z", with any UTC offset or fraction; "20260102T030405Z"; as `list` prints it,
// "2026-01-02 03:04:05+01"; or, without the zone, in local time. What is named less exactly is
// meant as a whole:
// "...T03:04Z" and "2026-01-02 03:04" the minute, "2026-01-02" the local day; the last second of it
// is returned. Of a local time that comes twice the later one. One that a change of clocks skips is
// refused.
engine::result<planner::timestamp> parse_point_in_time(std::string_view text);

// The key of the newest manifest of `subvolume` whose backup was not made after `when`; by the
// time in the manifests' own keys, or their snapshots', which the earlier tool made seconds before.
// An error names the oldest there is when all are newer. Those that are read keep to `bound`.
engine::task<engine::result<std::string>> manifest_at(s3::object_store& store, std::string prefix,
                                                      std::string subvolume,
                                                      planner::timestamp when, manifest_bound bound,
                                                      engine::stop_token stop);

// Names of the subvolumes that have anything below `prefix`, sorted. Folders with names that no
// subvolume can have (subvolume_name.hh) are passed over, with a warning to `log`.
engine::task<engine::result<std::vector<std::string>>> subvolumes_in_bucket(
    s3::object_store& store, std::string prefix, engine::stop_token stop,
    engine::log_sink* log = nullptr);

// Where there are no backups at s3.prefix (of the wanted subvolume): what to try instead, by the
// folders that are there; a remedy. `settings` must outlive it.
engine::task<std::string> where_to_look(s3::object_store& store, const config& settings,
                                        engine::stop_token stop);

// The same and those that are configured: whoever restores everything must hear of a configured
// subvolume that has no backup. None at all is an error. `settings` must outlive it.
engine::task<engine::result<std::vector<std::string>>> all_subvolumes(
    s3::object_store& store, const config& settings, engine::stop_token stop,
    engine::log_sink* log = nullptr);

}  // namespace bts3::app
