// The middle of the hierarchy: the key of one backup, and the small object that gives it to the
// user's recipients. What rotation rewrites is that object alone.
//
//   the user's identity -> keys object: an age file with the backup's identity, as an identity file
//   the backup's identity -> the key of each part, in its header
//
// So `age -d -i mine keys-TIME.age >backup.key` and `age -d -i backup.key part` are all that is
// needed by hand.
#pragma once

#include "engine/age/part_stanza.hh"
#include "engine/age/random.hh"
#include "engine/age/sealed_part.hh"
#include "engine/age/x25519.hh"
#include "engine/result.hh"

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace bts3::age {

// A fresh key for a backup that begins. The secret half lives only until `keys_object` is made:
// what goes on needs `recipient` alone, which may be kept.
struct new_backup {
  backup_id id;
  x25519_recipient recipient;
  std::vector<std::byte> keys_object;

  [[nodiscard]] part_sealer sealer(random_source random) const {
    return {recipient, id, std::move(random)};
  }
};

// For each of `to`, of which there is at least one.
[[nodiscard]] engine::result<new_backup> make_backup_keys(std::span<const x25519_recipient> to,
                                                          const random_source& random);

// The backup's identity, by any of the user's. fault::key when the object is sound and of another
// backup than `id`.
[[nodiscard]] engine::result<x25519_identity> open_backup_keys(std::span<const std::byte> object,
                                                               std::span<const x25519_identity> by,
                                                               const backup_id& id);

// The same key for other recipients: parts stay as they are.
[[nodiscard]] engine::result<std::vector<std::byte>> rewrap_backup_keys(
    std::span<const std::byte> object, std::span<const x25519_identity> by, const backup_id& id,
    std::span<const x25519_recipient> to, const random_source& random);

}  // namespace bts3::age
