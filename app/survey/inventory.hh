// Everything that the bucket holds of its subvolumes, read once: a LIST for objects, sizes and
// classes, every manifest for what they mean, and the pointers. Changes nothing.
//
// What list, verify and prune look at are projections of it: catalogue.hh, and planner::inventory
// below. Whoever has to do without a listing (restore, whose key may not list) or needs one chain
// alone (backup, plan, status) reads by keys instead: store/chain_reader.hh.
#pragma once

#include "app/secrets/signing.hh"
#include "app/store/chain_reader.hh"
#include "app/store/manifest_state.hh"
#include "app/store/manifest_turns.hh"
#include "engine/age/allowed_signers.hh"
#include "engine/error.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "planner/chunk_comparison.hh"
#include "planner/generations.hh"
#include "s3/verbs/object_store.hh"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

// What a manifest that is listed came to. One that is deleted meanwhile is left out, and its object
// too.
struct manifest_finding {
  manifest_state state = manifest_state::readable;
  // Of readable and foreign ones. Without part states, checksums and digests, which are nearly all
  // of a large manifest's memory: those of thousands of backups are kept at the same time.
  std::optional<planner::manifest> value;
  std::string problem;                   // why it cannot be used; empty: it can
  std::optional<engine::error> failure;  // with which reading it ended, where it did
  signature_finding signature;           // of a readable one, with what it says of its parent
  std::string digest;                    // SHA-256 of one that has a signature
};

struct pointer_finding {
  std::optional<stored_pointer> there;  // understood
  std::string problem;                  // why it cannot be; empty: it is, or there is none
  bool denied = false;                  // that is, these credentials may not read it
};

struct subvolume_inventory {
  std::string name;
  std::string root;  // ".../subvol/{name}/"
  planner::object_listing objects;
  std::map<std::string, manifest_finding> manifests;  // by full key
  pointer_finding pointer;
};

struct bucket_inventory {
  std::vector<subvolume_inventory> subvolumes;  // by name; always the one that was asked for
  planner::object_listing beside;               // what was listed in no subvolume's folder
};

// What cannot be known of one object (a refusal, a date that makes no sense).
enum class doubt {
  is_told,  // is part of the answer: list shows what there is
  fails,    // fails the reading: what deletes or proves knows all or nothing
};

struct inventory_request {
  inventory_request(std::string key_prefix, std::string one, manifest_bound largest, doubt of_one)
      : prefix(std::move(key_prefix)),
        subvolume(std::move(one)),
        bound(largest),
        doubtful(of_one) {}
  std::string prefix;     // as in the configuration
  std::string subvolume;  // empty: all of them
  manifest_bound bound;
  doubt doubtful;
  std::vector<age::allowed_signer> signers;  // whose signatures count
  // Of the one subvolume, read before the listing: whatever is published meanwhile is newer. Where
  // it was absent and is listed, it is read once more. Nullopt: pointers that are listed are read
  // along with the manifests.
  std::optional<pointer_finding> pointer;
};

// One request for a thousand objects, then one for each manifest and pointer, several at a time as
// their sizes allow (manifest_turns.hh). What a listing shows and a GET denies is listed once more.
// Errors: of listing, and of a store that does not answer; not of single objects, but for
// doubt::fails. `store` must outlive the task.
engine::task<engine::result<bucket_inventory>> read_bucket(engine::reactor& loop,
                                                           s3::object_store& store,
                                                           inventory_request request,
                                                           engine::stop_token stop);

// The same of a request that names a subvolume; of one that has nothing in the bucket, too.
engine::task<engine::result<subvolume_inventory>> read_subvolume(engine::reactor& loop,
                                                                 s3::object_store& store,
                                                                 inventory_request request,
                                                                 engine::stop_token stop);

// The pointer at `key`, for inventory_request::pointer. Errors are those of the store.
engine::task<engine::result<pointer_finding>> read_pointer_before(s3::object_store& store,
                                                                  std::string key,
                                                                  engine::stop_token stop);

// What prune and verify judge by: what is readable, and why the rest is not. Objects and manifests
// are moved out of it.
[[nodiscard]] planner::inventory take_judged_part(subvolume_inventory& one);

}  // namespace bts3::app
