// The backups of a subvolume as generations: a full and all incrementals whose chains lead to it.
//
// What `prune`, `list` and `verify` look at. A generation is what can be deleted together: none of
// its links is needed by a backup outside it.
#pragma once

#include "planner/manifest.hh"
#include "planner/timestamp.hh"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace bts3::planner {

// An object as the bucket lists it.
struct listed_object {
  std::uint64_t size = 0;
  std::string storage_class;  // "STANDARD" when the listing says nothing
  timestamp modified;         // by the store's clock
};

// What lies below a subvolume's root in the bucket.
struct inventory {
  std::string root;                              // ".../subvol/{name}/"
  std::map<std::string, listed_object> objects;  // by full key
  // Those that could be read, by full key. Only a few fields matter here: part states and checksums
  // may be left out, which are nearly all of a large manifest's memory.
  std::map<std::string, manifest> manifests;
  std::map<std::string, std::string> unreadable;  // keys of manifests, and why they could not
};

// A chunk of a link, and what the bucket has of it.
struct chunk_place {
  std::string key;  // where it is, or would be
  std::uint64_t size = 0;
  std::string problem;  // "missing", or how its size differs; empty when it is as recorded
};

// The key under which `recorded` of the manifest at `manifest_key` is in the inventory: the first
// of its places (places_of()) where something is; the first of all when nothing is anywhere.
[[nodiscard]] std::string found_key(const inventory& all, const std::string& manifest_key,
                                    const std::string& recorded);

[[nodiscard]] std::vector<chunk_place> chunks_of(const inventory& all,
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
