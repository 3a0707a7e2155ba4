// What backups a bucket holds, found out from the bucket alone: inventory.hh for people to see.
//
// Objects that cannot be understood are part of the answer, not errors: a catalogue is read on a
// person's worst day, when some of it may be damaged.
#pragma once

#include "app/secrets/signing.hh"
#include "app/store/manifest_turns.hh"
#include "app/survey/inventory.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "planner/manifest.hh"
#include "s3/verbs/object_store.hh"

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

enum class restorable { yes, after_thawing, no };

struct class_total {
  std::uint64_t objects = 0;
  std::uint64_t bytes = 0;
};
// By storage class, "STANDARD" where the store says nothing.
using class_totals = std::map<std::string, class_total>;

struct catalogued_backup {
  std::string key;  // where the manifest lies
  planner::backup_kind kind = planner::backup_kind::full;
  planner::timestamp when;  // of the snapshot
  std::uint64_t bytes = 0;  // of the stream
  std::uint64_t chunks = 0;
  class_totals classes;   // of the chunks that are there
  bool archived = false;  // some of them are, as far as the listing tells
  std::string parent;     // key where it lies, or as recorded; empty for a full
  std::string snapshot;   // its name
  std::string host;       // name; empty when not recorded
  bool current = false;   // the pointer names it
  signature_finding signature;
  std::optional<planner::encryption_record> sealed;
  std::uint64_t keys_object_bytes = 0;  // as listed; 0: it is not there
  std::string problem;                  // why it is damaged itself; empty: it is not
  // By the chain that a restore needs:
  restorable state = restorable::no;
  std::string because;            // why not; empty when restorable
  std::uint64_t links = 0;        // from the full to this one, those that are known
  std::uint64_t chain_bytes = 0;  // that a restore downloads
  std::string full;               // key of the chain's full; empty: it leads to none
};

// A full and what builds on it, by time; or what leads to no full (`full` is empty then).
struct catalogued_generation {
  std::string full;
  std::vector<catalogued_backup> backups;
};

struct stray_object {
  std::string key;
  bool folder = false;  // what stands for all below it: nobody counted that
  std::uint64_t bytes = 0;
  std::string stored_as;
  std::string what;    // "chunk of no backup", ...
  std::string detail;  // of this one, its key included; may be empty
};

struct catalogued_subvolume {
  std::string name;
  std::string current;          // key that the pointer names; empty: there is none, or a problem
  std::string pointer_problem;  // empty: none
  bool denied = false;          // the pointer or a manifest may not be read
  std::vector<catalogued_generation> generations;  // oldest first; what leads to no full is last
  std::vector<stray_object> strays;
  class_totals classes;  // of all objects, strays included

  [[nodiscard]] const catalogued_backup* newest() const;  // null when there is no backup
  [[nodiscard]] std::uint64_t backups() const;
};

struct catalogue {
  std::vector<catalogued_subvolume> subvolumes;  // by name
  std::vector<stray_object> strays;              // beside the subvolumes, under the prefix
};

struct catalogue_request {
  catalogue_request(std::string key_prefix, std::string one, manifest_bound largest)
      : prefix(std::move(key_prefix)), subvolume(std::move(one)), bound(largest) {}
  std::string prefix;
  std::string subvolume;  // empty: all of them
  manifest_bound bound;
  std::vector<age::allowed_signer> signers;  // whose signatures count
};

// `beside`: what was found of strangers elsewhere under the prefix.
[[nodiscard]] catalogue catalogue_of(bucket_inventory all, std::vector<stray_object> beside);

// Reads all that with inventory.hh. `store` must outlive the task. Errors: of listing, and of a
// store that does not answer; not of single objects.
engine::task<engine::result<catalogue>> read_catalogue(engine::reactor& loop,
                                                       s3::object_store& store,
                                                       catalogue_request request,
                                                       engine::stop_token stop);

}  // namespace bts3::app
