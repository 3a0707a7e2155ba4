// The middle of the hierarchy: the key of one backup, and the small object that gives it to the
// user's recipients. What rotation rewrites is that object alone.
//
//   the user's identity -> keys object: an age file with the backup's identity, as an identity file
//   the backup's identity -> the key of each part, in its header
//
// So `age -d -i mine keys-TIME.age >backup.key` and `age -d -i backup.key part` are all that is
// needed by hand.
//
// A stanza of X25519 tells nobody for whom it is. For whom a keys object was made with its backup,
// the manifest says, which never changes; one that was made anew says it itself, in stanzas of ours
// that age passes over and its MAC covers: "btrfs_to_s3/for" and a fingerprint, one a recipient.
// Whoever cannot open the object takes the store's word for them.
#pragma once

#include "engine/age/part_stanza.hh"
#include "engine/age/random.hh"
#include "engine/age/sealed_part.hh"
#include "engine/age/x25519.hh"
#include "engine/result.hh"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
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

inline constexpr std::string_view recipient_type = "btrfs_to_s3/for";

// A recipient, and "SHA256:..." by which people know it.
struct named_recipient {
  named_recipient(const x25519_recipient& of, std::string name)
      : key(of), fingerprint(std::move(name)) {}
  x25519_recipient key;
  std::string fingerprint;
};

// The same key for other recipients, who are named in it: parts stay as they are.
[[nodiscard]] engine::result<std::vector<std::byte>> rewrap_backup_keys(
    std::span<const std::byte> object, std::span<const x25519_identity> by, const backup_id& id,
    std::span<const named_recipient> to, const random_source& random);

// Whom a keys object names, by their fingerprints, in its order; nobody: it is as it was made with
// its backup. fault::header when it names another number than it is sealed for, or what is no
// fingerprint.
[[nodiscard]] engine::result<std::vector<std::string>> recipients_named_in(
    std::span<const std::byte> object);

// The size of one that was made with its backup for so many. None that was made anew has it, for up
// to 97 recipients either way: a stanza of X25519 has 98 bytes and one of ours 71, and these have
// no common divisor.
[[nodiscard]] std::size_t new_keys_object_bytes(std::size_t recipients);

}  // namespace bts3::age
