// Whether `btrfs receive` would take a chain that is in the bucket, by its indexes: one after the
// other is applied to what those before it have made, by receive's rules.
//
// With the catalogue that the commands of files have of the chain, so that nothing is asked for
// twice: a chain that is known costs the manifest of its last link; of each link that is new, its
// manifest, its index, and the keys object where it is sealed. No chunk is read or asked for. What
// keeps it from an answer says nothing about the backups.
#pragma once

#include "app/store/identity_source.hh"
#include "app/store/services.hh"
#include "engine/error.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "s3/verbs/object_store.hh"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

struct proof_request {
  proof_request(std::string of, std::string last)
      : subvolume(std::move(of)), key(std::move(last)) {}
  std::string subvolume;
  std::string key;              // of the manifest of the chain's last link
  std::string cache_dir;        // for indexes; empty: the usual one
  std::string trusted_signers;  // a file of signers, of whom one has to have signed each link
  std::function<std::uint64_t()> received;  // counts all that the store sends; may be empty
};

// Why nobody knows whether a link would be taken.
struct no_proof {
  enum class kind {
    no_index,  // nobody made one, or it is gone
    sealed,    // and nobody has an identity
    differs,   // the index is not what the manifest says
    failed,    // the store, the disk or a key
  };
  kind is = kind::failed;
  engine::error why;
};

// At most one of `refused` and `unproven`; none where all of the chain would be taken.
struct chain_proof {
  std::vector<std::string> keys;     // of manifests, from the full on; empty: that is not known
  std::size_t proven = 0;            // so many of them would be taken
  std::string refused;               // the command of the next one that would not be, where and why
  std::optional<no_proof> unproven;  // of the next one
  std::vector<std::string> read;     // those whose indexes were read, and were as recorded
};

// Null `identities`: nobody has any. The only error is a stop (cancelled). References must outlive
// the task.
engine::task<engine::result<chain_proof>> prove_chain(const services& with, s3::object_store& store,
                                                      proof_request wanted,
                                                      identity_source* identities);

}  // namespace bts3::app
