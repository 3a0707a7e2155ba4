// Which objects of a subvolume in the bucket have had their day. Pure.
//
// The rules, in the order in which they win:
//   1. Nothing goes while something contradicts: the pointer is missing or names what does not
//      resolve to a full, the current backup is another host's, which may be writing now, or the
//      current generation's full has not been verified.
//   2. The current generation (the pointer's) stays, with every link of it, and so does any newer
//      one.
//   3. Of the older ones the newest stay until `keep_generations` that count stay in all. One
//      counts that is whole (every chunk of every link is there), whose full was verified, that
//      this host made, and whose manifests name nothing but chunks of their own. Those that do not
//      count and are met on the way stay.
//   4. A manifest that resolves to no full, or cannot be read, stays, and so does every chunk that
//      it may name: it is reported, for a person to judge.
//   5. Of a backup go its manifest, its index, its keys object and its own chunks: those whose
//      names say that they are (is_chunk_of()). Whatever else its manifest names stays, as a
//      manifest may be damaged, or planted.
//   6. Chunks and open uploads that no manifest names go when they are older than `grace`, no
//      backup in the making is theirs, and no manifest of their kind and time is there. What is
//      not named as this program names its objects is not this program's, and is reported.
// Order: a generation's manifests before its chunks, children before parents, oldest generation
// first. Whatever is left when it is interrupted resolves, and the rest are orphans (rule 6).
//
// Which generation is the newer one their dates say. Where dates contradict (one lies after the
// time at which the store got its manifest, or before its parent's: a clock was wrong), what either
// the dates or the store's times would keep stays. So a wrong clock costs room and deletes nothing,
// and does not hold back everything until its dates have passed.
#pragma once

#include "planner/generations.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::planner {

struct listed_upload {
  std::string key;
  std::string upload_id;
  timestamp initiated;
};

// Rule 6 for one upload below `root`.
[[nodiscard]] bool is_forgotten(const listed_upload& one, std::string_view root,
                                const std::set<timestamp>& in_the_making,
                                std::chrono::seconds grace, timestamp now);

struct prune_observation {
  inventory all;
  std::vector<listed_upload> uploads;  // open, below the root
  // The manifest that the pointer names, as place_in() finds it; empty with the reason why.
  std::string current;
  std::string pointer_problem;
  std::string own_host_id;
  std::set<std::string> verified;  // keys of fulls' manifests that were found sound
  // Times in the keys of backups in the making on this host, by their journals.
  std::set<timestamp> in_the_making;
};

struct prune_policy {
  std::size_t keep_generations = 0;  // 0: nothing is ever deleted
  std::chrono::seconds grace = std::chrono::days(7);
  // For how long at least a class is charged, where that is not what minimum_storage() says.
  std::map<std::string, std::chrono::days> minimum_days;
  // How people are told of `keep_generations`, and of commands.
  std::string keep_name = "the number of generations to keep";
  std::string verify_command = "btrfs_to_s3 verify";
  std::string adopt_command = "btrfs_to_s3 backup --adopt";
};

struct removal {
  std::string key;
  std::uint64_t size = 0;
  std::string storage_class;
  timestamp modified;
  std::string generation;  // the key of its full's manifest; empty: an orphan
};

struct upload_removal {
  std::string key;
  std::string upload_id;
};

struct judged_generation {
  generation what;
  bool kept = true;
  // Kept: current, newer (than the current), retained, held (rule 1), or why it does not count:
  // damaged, not verified, names what is not its own, of another host, of an unknown host. Else
  // superseded.
  std::string reason;
};

// Deleting before a class's minimum storage time is charged as if it had stayed.
struct early_deletion {
  std::uint64_t objects = 0;
  // Bytes times the days that remain to be paid.
  double byte_days = 0;
};

struct prune_plan {
  std::vector<judged_generation> generations;  // newest first
  // All in the order in which they have to be deleted: manifests and chunks of a generation, then
  // the next; then orphans.
  std::vector<removal> removals;
  std::vector<upload_removal> uploads;
  std::vector<lost_link> lost;       // rule 4
  std::vector<std::string> foreign;  // rule 6: keys that this program does not write
  // Chunks, keys objects and indexes that no manifest names and that stay for now: too young, or in
  // the making.
  std::size_t orphans_kept = 0;
  std::string wrong_clock;  // the first date that contradicts; empty: none
  std::string held_back;    // the sentence of rule 1 or `keep_generations` = 0; empty: nothing is
  std::map<std::string, early_deletion> early;  // by storage class

  [[nodiscard]] std::uint64_t bytes() const;  // of all removals
};

// `now` had best be the store's clock, as it stamped `modified` and `initiated`.
[[nodiscard]] prune_plan judge_bucket(const prune_observation& seen, const prune_policy& by,
                                      timestamp now);

// The days for which a class is charged at least (AWS's storage classes, as published in 2026):
// 180 for DEEP_ARCHIVE, 90 for GLACIER and GLACIER_IR, 30 for STANDARD_IA and ONEZONE_IA, else 0.
[[nodiscard]] std::chrono::days minimum_storage(std::string_view storage_class);

}  // namespace bts3::planner
