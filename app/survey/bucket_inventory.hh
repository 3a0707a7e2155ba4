// Reading everything that the bucket has of a subvolume: what list, status, verify and prune look
// at.
#pragma once

#include "app/store/manifest_turns.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "planner/generations.hh"
#include "s3/verbs/object_store.hh"

#include <cstdint>
#include <string>

namespace bts3::app {

// Lists everything below the root of `subvolume` (one request for a thousand objects) and reads the
// manifests there, several at a time (manifest_turns.hh), without their part states and checksums.
// `prefix` as in the configuration. A manifest that cannot be understood, is larger than its
// bound, belongs to another subvolume, or is listed, and that twice, but does not exist when it is
// read, is in `unreadable`; one that is deleted meanwhile is left out. Everything else that fails,
// fails.
engine::task<engine::result<planner::inventory>> read_inventory(
    engine::reactor& loop, s3::object_store& store, std::string prefix, std::string subvolume,
    engine::stop_token stop, manifest_bound bound);

}  // namespace bts3::app
