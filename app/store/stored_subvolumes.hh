// Which subvolumes have backups in the bucket, and where to look when none have.
#pragma once

#include "app/config/config.hh"
#include "engine/log_sink.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/verbs/object_store.hh"

#include <string>
#include <vector>

namespace bts3::app {

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
