// Which subvolumes have backups in the bucket, and the backup that a point in time means.
#pragma once

#include "app/config/config.hh"
#include "app/store/manifest_turns.hh"
#include "engine/log_sink.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "planner/timestamp.hh"
#include "s3/verbs/object_store.hh"

#include <string>
#include <vector>

namespace bts3::app {

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
