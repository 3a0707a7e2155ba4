// Reading what the bucket knows about a subvolume: pointer, manifests, the chain behind one.
#pragma once

#include "app/store/manifest_turns.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "planner/manifest.hh"
#include "planner/pointer.hh"
#include "s3/verbs/object_store.hh"

#include <cstddef>
#include <cstdint>
#include <functional>
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

// One that is larger than its bound is not read: an error, of reason configuration with its size
// and the remedy where the bound is this host's memory (see manifest_turns.hh), else of reason
// protocol.
engine::task<engine::result<planner::manifest>> read_manifest(s3::object_store& store,
                                                              std::string key, manifest_bound bound,
                                                              engine::stop_token stop);

struct chain_link {
  std::string key;
  planner::manifest value;
};

// Whether asking for an object at one of its places (planner::places_of()) leads on: nothing is
// there, or, `elsewhere` than beside its manifest, this key may not read it. Then it is missing.
[[nodiscard]] bool is_absent(const engine::error& failure, bool elsewhere);
// `sentence`, with what the store said of the last place where that was a refusal.
[[nodiscard]] std::string absent_text(std::string sentence, const engine::error& last);

// Answers as read_manifest() does.
using manifest_reader =
    std::function<engine::task<engine::result<planner::manifest>>(std::string key)>;
// read_manifest() itself. `store` must outlive it.
manifest_reader plain_reader(s3::object_store& store, manifest_bound bound,
                             engine::stop_token stop);

// From the full backup to the one at `places`, in the order of restoring. Parents are looked for at
// their places. Errors name the link: a missing or unreadable parent, another subvolume's, a loop,
// more than 10,000 links.
engine::task<engine::result<std::vector<chain_link>>> read_chain(manifest_reader reader,
                                                                 std::vector<std::string> places);
// The manifest at the first of `places` where one is; not_found when none is anywhere.
engine::task<engine::result<chain_link>> read_link(manifest_reader reader,
                                                   std::vector<std::string> places);

}  // namespace bts3::app
