// What prune found, and did, as values, and as people and machines read it.
#pragma once

#include "app/prices/restore_prices.hh"
#include "app/records/verify_record.hh"
#include "engine/error.hh"
#include "planner/prune.hh"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

struct refused_removal {
  std::string key;
  std::string error;
};

struct pruned_subvolume {
  std::string name;
  std::optional<engine::error> failure;  // why it could not be judged, or deleting ended early
  bool judged = false;
  planner::prune_plan plan;
  early_cost money;                           // of plan.early
  std::optional<verified_link::proof> proof;  // of the current full
  std::string uploads_problem;                // why open uploads are not known; empty: they are
  // With --yes.
  bool acted = false;
  std::uint64_t deleted_objects = 0;
  std::uint64_t deleted_bytes = 0;
  std::uint64_t aborted_uploads = 0;
  std::vector<refused_removal> refused;
  std::size_t left = 0;  // objects that stay because of refused ones

  // Generations that would go if nothing held them back.
  [[nodiscard]] std::size_t surplus(std::size_t keep_generations) const;
};

// A snapshot on this host of a subvolume that is configured no more.
struct pruned_snapshot {
  std::string subvolume;
  std::string path;
  bool removed = false;
  std::string error;  // why it could not be removed
};

// What was found, and what of it was done.
enum class prune_mode {
  shown,
  shown_elsewhere,  // --from: where nothing can be deleted
  acted,            // --yes
};
std::string prune_as_text(const std::vector<pruned_subvolume>& all, prune_mode mode,
                          const std::vector<pruned_snapshot>& snapshots = {});
// {"version": 1, "acted": ..., "subvolumes": [...]}; times in RFC 3339, sizes in bytes.
std::string prune_as_json(const std::vector<pruned_subvolume>& all, bool acted,
                          const std::vector<pruned_snapshot>& snapshots = {});

}  // namespace bts3::app
