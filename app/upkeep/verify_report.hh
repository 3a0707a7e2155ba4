// What verify found, as values, and as people and machines read it.
#pragma once

#include "app/cli/cli.hh"
#include "app/secrets/signing.hh"
#include "engine/error.hh"
#include "planner/generations.hh"
#include "planner/manifest.hh"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

struct verify_finding {
  std::string key;      // of the object
  std::string problem;  // "missing"
  // False: it restores all the same, as where the storage class is another than the recorded one.
  bool damage = true;
  bool known = false;   // from an earlier, stronger verification; not looked at by this one
  bool listed = false;  // by comparing the listing
};

// Whether `btrfs receive` would take a backup, by its index and those that it rests on.
struct receivability {
  enum class verdict {
    not_asked,
    received,  // it would
    refused,   // it would not, nor any that rests on it
    no_index,
    sealed,     // and nobody has an identity
    untrusted,  // nobody who is trusted has signed it
    differs,    // its index is not what the manifest says
    failed,     // the store, the disk or a key
    rests,      // on one that is not known to be received
  };
  verdict is = verdict::not_asked;
  std::string problem;  // of a refused one the command; why nothing is known of others
  std::string remedy;

  [[nodiscard]] bool known() const { return is == verdict::received || is == verdict::refused; }
};

struct verified_backup {
  std::string key;     // of its manifest
  std::string parent;  // of the parent's; empty for a full
  planner::backup_kind kind = planner::backup_kind::full;
  planner::timestamp when;
  std::size_t objects = 0;  // its chunks
  std::uint64_t bytes = 0;
  std::vector<verify_finding> findings;  // of its own objects
  std::string archived;  // why it could not be read; empty: it could, or was not to be
  std::optional<engine::error> unknown;  // why it could not be verified
  std::uint64_t parts_read = 0;          // by a sample
  bool restorable = true;                // neither it nor what it rests on is damaged
  signature_finding signature;
  receivability receivable;

  [[nodiscard]] bool damaged() const;
};

struct verify_outcome {
  std::string name;
  std::string target;                    // where a restore of it would go
  std::optional<engine::error> failure;  // why it could not be looked at
  std::vector<verified_backup> backups;  // oldest generation first; parents before children
  std::vector<planner::lost_link> lost;  // manifests that lead to no full
  std::vector<std::string> forgotten;    // manifests that are gone, and are missed no longer
  std::string pointer_problem;
  bool signatures = false;       // there are some, or they were asked for
  std::uint64_t checksums = 0;   // of the store's, compared with the manifests'
  std::string no_checksums;      // why none were compared; empty: they were, or were not to be
  std::uint64_t bytes_read = 0;  // of objects
  std::uint64_t parts_read = 0;  // of a sample
  std::uint64_t parts = 0;       // of all that is sampled from
  bool proof = false;            // whether they could be received was asked
  std::string make_full;         // the command that replaces what is refused; empty: none needed
  // Why one of them was not proven, where that was asked for by name; an index that nobody made and
  // a key that nobody has are no failure.
  std::optional<engine::error> unproven;

  [[nodiscard]] bool differs() const;
  [[nodiscard]] bool incomplete() const;  // something is archived, and so was not read
  // Why it, or the first such of its backups, could not be verified; null: all could.
  [[nodiscard]] const engine::error* unverified() const;
};

// `requests`: sent for all of it.
std::string verify_as_text(const std::vector<verify_outcome>& all, const verify_command& command,
                           std::uint64_t requests);
// {"version": 1, "mode": ..., "requests": ..., "subvolumes": [...]}.
std::string verify_as_json(const std::vector<verify_outcome>& all, const verify_command& command,
                           std::uint64_t requests);

}  // namespace bts3::app
