// Reading what the bucket knows about a subvolume: pointer, manifests, the chain behind one.
#pragma once

#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "planner/manifest.hh"
#include "planner/pointer.hh"
#include "s3/object_store.hh"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

struct stored_pointer {
  planner::pointer value;
  std::string text;  // as it was read
  s3::etag tag;
};

// A pointer has a few hundred bytes.
inline constexpr std::size_t pointer_bytes_max = 64 * 1024;

// Nullopt when there is none. A pointer that cannot be understood is an error.
engine::task<engine::result<std::optional<stored_pointer>>> read_pointer(s3::object_store& store,
                                                                         std::string key,
                                                                         engine::stop_token stop);

engine::task<engine::result<planner::manifest>> read_manifest(s3::object_store& store,
                                                              std::string key,
                                                              engine::stop_token stop);

struct chain_link {
  std::string key;
  planner::manifest value;
};

// From the full backup to the one at `key`, in the order of restoring. Errors name the link: a
// missing or unreadable parent, another subvolume's, a loop, more than 10,000 links.
engine::task<engine::result<std::vector<chain_link>>> read_chain(s3::object_store& store,
                                                                 std::string key,
                                                                 engine::stop_token stop);

}  // namespace bts3::app
