// The backups of a subvolume as generations: a full and all incrementals whose chains lead to it.
//
// What `prune`, `list` and `verify` look at. A generation is what can be deleted together: none of
// its links is needed by a backup outside it.
#pragma once

#include "planner/chunk_comparison.hh"
#include "planner/manifest.hh"
#include "planner/timestamp.hh"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace bts3::planner {

// What lies below a subvolume's root in the bucket.
struct inventory {
  std::string root;  // ".../subvol/{name}/"
  object_listing objects;
  // Those that could be read, by full key. Only a few fields matter here: part states and checksums
  // may be left out, which are nearly all of a large manifest's memory.
  std::map<std::string, manifest> manifests;
  std::map<std::string, std::string> unreadable;  // keys of manifests, and why they could not
};

// The chunks of a link, and what the bucket has of them.
[[nodiscard]] std::vector<chunk_comparison> chunks_of(const inventory& all,
                                                      const std::string& manifest_key);

struct chain_link {
  std::string key;     // of its manifest
  std::string parent;  // key of the parent's manifest; empty for the full
  timestamp when;      // when its snapshot was made
  std::uint64_t bytes = 0;
  std::string problem;  // the first chunk that is missing or has another size; empty: none
  // Its own chunks and those of every link that it rests on are as recorded.
  bool restorable = true;
};

struct generation {
  std::vector<chain_link> links;  // the full first; each link after its parent, siblings by time
  [[nodiscard]] const chain_link& full() const { return links.front(); }
  [[nodiscard]] std::uint64_t bytes() const;
};

struct lost_link {
  std::string key;      // of its manifest
  std::string problem;  // why its chain leads to no full
};

struct generations {
  std::vector<generation> all;  // newest full first
  std::vector<lost_link> lost;  // manifests that resolve to no full
};

[[nodiscard]] generations generations_of(const inventory& all);

}  // namespace bts3::planner
