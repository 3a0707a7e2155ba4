// What was verified, when and how: a file beside the state file.
//
// Written by `verify`; read by `prune`, which deletes no old generation before the new full has
// been verified, and by whoever shows it. A cache like the state file: without it everything counts
// as not verified. Entries belong to one place (endpoint, bucket, keys): what is remembered of
// another place is not taken for this one's.
//
//   {"version":1,"subvolumes":{NAME:{"place":...,"at":...,"links":{MANIFEST KEY:{
//     "quick":{"at":...,"sound":true},"deep":{"at":...,"sound":false,"problem":...},...}},
//     (and "listed":true where the listing alone showed the problem)
//     "sample":{"manifest":...,"chunk":0,"part":7,"from_start":true,"done":8,"parts":12},
//     "runs":{"quick":...,"sample":...},"elsewhere":...,"pruned":{MANIFEST KEY:WHEN}}}}
//
// It is also the memory of what was there: a manifest that has a link here, is no longer in the
// bucket and was not pruned is a difference.
#pragma once

#include "app/store/services.hh"
#include "engine/result.hh"
#include "planner/timestamp.hh"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::app {

// From the weakest to the strongest.
//   quick   every object is there, with size and, where the store tells it, checksum
//   sample  every part was read and hashed, in the course of several runs
//   deep    everything was read and hashed, and its stream understood, in one run
//   proof   its index, applied to those that it rests on, says that `btrfs receive` would refuse
//   it;
//           kept of what is refused alone, since it says nothing of chunks
//   received  `btrfs receive` has refused it, or has taken it after all: written by `restore`, and
//             refuted by nothing that only reads
enum class verification_kind { quick, sample, deep, proof, received };
[[nodiscard]] std::string_view to_string(verification_kind kind);

struct verification {
  planner::timestamp at;
  bool sound = false;
  std::string problem;  // the first that was found; empty when sound
  bool listed = false;  // the listing alone showed all that was found: a later one refutes it

  bool operator==(const verification&) const = default;
};

// The last of each kind, of one manifest and its chunks.
struct verified_link {
  std::map<verification_kind, verification> by_kind;

  // The strongest sound one; nullopt when there is none, or a problem has been found that no
  // stronger and later verification refutes (one of its own kind replaces it).
  struct proof {
    verification_kind kind = verification_kind::quick;
    planner::timestamp at;
  };
  [[nodiscard]] std::optional<proof> proven() const;
  // A problem that a verification of that kind has found and none has refuted; null: none.
  [[nodiscard]] const verification* problem_of(verification_kind kind) const;
  // The strongest kind whose problem none has refuted; nullopt: there is none.
  [[nodiscard]] std::optional<verification_kind> damaged_by() const;

 private:
  [[nodiscard]] bool stands(verification_kind kind, const verification& found) const;
};

// Where sampling stands: the part that was read last.
struct sample_cursor {
  std::string manifest;     // its key; empty: at the beginning
  std::uint32_t chunk = 0;  // from 0
  std::uint32_t part = 0;   // from 0; a chunk without part states is one part
  bool from_start = false;  // all parts of this link before it were read as well, and are sound
  // How far round that is: so many parts of all that there were. 0 of 0: not known.
  std::uint64_t done = 0;
  std::uint64_t parts = 0;

  bool operator==(const sample_cursor&) const = default;
};

struct verified_subvolume {
  std::string place;
  std::optional<planner::timestamp> at;        // when verify last ended, whatever it found
  std::map<std::string, verified_link> links;  // by key of the manifest
  sample_cursor cursor;
  // When a run of a kind last had a verdict on everything that it was to look at, whichever: none
  // about a single backup, none that left out what is archived or was not answered.
  std::map<verification_kind, planner::timestamp> runs;
  // Damage that is no backup's own (a lost manifest, the pointer), as the last run about all of
  // them found it; empty: none.
  std::string elsewhere;
  // Manifests that are not missed when they are gone, and since when: prune was about to delete
  // them, or a person said that their loss was meant.
  std::map<std::string, planner::timestamp> pruned;

  // Keys of links that `objects` (by key) lacks and that are not pruned.
  template <typename Objects>
  [[nodiscard]] std::vector<std::string> missing_from(const Objects& objects) const {
    std::vector<std::string> keys;
    for (const auto& [key, link] : links) {
      if (!objects.contains(key) && !pruned.contains(key)) {
        keys.push_back(key);
      }
    }
    return keys;
  }
};

// So many manifests that are gone are remembered, pruned or missed; of more, the newest.
inline constexpr std::size_t remembered_gone_max = 10'000;

// What there is to tell about a subvolume.
struct verification_summary {
  struct damage {
    std::string key;  // of the manifest
    verification_kind kind = verification_kind::quick;
    planner::timestamp at;
    std::string problem;
  };
  std::map<verification_kind, planner::timestamp> runs;
  std::vector<damage> damaged;  // what stands, in the order of keys
  std::string elsewhere;
  std::uint64_t sample_done = 0;  // of `sample_parts`; 0 of 0: not known
  std::uint64_t sample_parts = 0;

  [[nodiscard]] bool sound() const { return damaged.empty() && elsewhere.empty(); }
  // The last run and, behind it, each earlier one that is stronger than those before it.
  [[nodiscard]] std::vector<std::pair<verification_kind, planner::timestamp>> telling() const;
};
[[nodiscard]] verification_summary summary_of(const verified_subvolume& one);

struct verify_record {
  std::map<std::string, verified_subvolume> subvolumes;
  // Of `subvolume` at that place; null: nothing is known.
  [[nodiscard]] const verified_subvolume* find(const std::string& subvolume,
                                               const std::string& place) const;
};

// "{directory}/{state file's stem}.verified.json"
[[nodiscard]] std::string verify_record_path(const std::string& state_path);
// The configured place of a subvolume's backups, as records name it.
[[nodiscard]] std::string place_of(const services& with, const std::string& subvolume);

// Empty when there is no file. One that makes no sense is an error (reason protocol) with the
// remedy.
[[nodiscard]] engine::result<verify_record> read_verify_record(const std::string& state_path);
// Temporary file, fsync, rename, fsync of the directory.
[[nodiscard]] engine::result<void> write_verify_record(const std::string& state_path,
                                                       const verify_record& record);

// What a run that began with `before` and has come to `mine` makes of `theirs`, which another run
// may have written meanwhile: what this run has changed replaces theirs. Where both have changed a
// verification, or the time of a run, the later one counts.
[[nodiscard]] verified_subvolume merged(const verified_subvolume& before,
                                        const verified_subvolume& mine, verified_subvolume theirs);
// Reads the record anew, merges, writes, under a lock that is waited for: on a file beside the
// record, "{stem}.verified.lock", for as long as that takes. A record that makes no sense, or is
// of another place, is replaced.
[[nodiscard]] engine::result<void> merge_into_record(const std::string& state_path,
                                                     const std::string& subvolume,
                                                     const verified_subvolume& before,
                                                     const verified_subvolume& mine);

}  // namespace bts3::app
