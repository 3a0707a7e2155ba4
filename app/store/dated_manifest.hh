// The backup that a point in time means.
#pragma once

#include "app/store/manifest_turns.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "planner/chunk_comparison.hh"
#include "planner/timestamp.hh"
#include "s3/verbs/object_store.hh"

#include <string>

namespace bts3::app {

struct dated_manifest {
  std::string key;
  planner::object_listing listed;  // the subvolume's manifests, as they were found
};

// The newest manifest of `subvolume` whose backup was not made after `when`; by the
// time in the manifests' own keys, or their snapshots', which the earlier tool made seconds before.
// An error names the oldest there is when all are newer. Those that are read keep to `bound`.
engine::task<engine::result<dated_manifest>> manifest_at(s3::object_store& store,
                                                         std::string prefix, std::string subvolume,
                                                         planner::timestamp when,
                                                         manifest_bound bound,
                                                         engine::stop_token stop);

}  // namespace bts3::app
