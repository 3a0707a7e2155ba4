// The keys object of a sealed backup, which has the key that opens its parts, sealed for those who
// may: written before the backup's manifest, read before its parts, rewritten when those who may
// change. And the member of its manifest that only that key opens.
#pragma once

#include "app/store/chain_reader.hh"
#include "app/store/services.hh"
#include "engine/age/random.hh"
#include "engine/age/x25519.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::app {

// A header for as many recipients as one may have, and a payload of less than 1 KiB.
inline constexpr std::size_t keys_object_bytes_max = 128 * 1024;

// Stored as a manifest is. Unconditionally: its key has the backup's tag, so nobody else writes
// there, and an earlier attempt wrote the same.
engine::task<engine::result<void>> put_keys_object(const services& with,
                                                   store_connection& connection, std::string key,
                                                   std::vector<std::byte> object);

// As it lies in the bucket.
struct stored_keys {
  std::string key;  // where: beside the manifest, or where it is recorded
  std::string text;
  s3::etag tag;
};

// Puts `now` into the place of `before`, which must still be there, in its storage class: after a
// failure, or a kill, one of the two is there. Reason precondition: somebody else has changed it,
// or it is gone, and nothing was written; conditions that the store does not know, or compares
// badly, are made up for by a look right before, with a warning. `before` must outlive the task.
engine::task<engine::result<void>> replace_keys_object(const services& with,
                                                       store_connection& connection,
                                                       const stored_keys& before,
                                                       std::vector<std::byte> now,
                                                       s3::storage_class stored_as);

// Of the sealed backup with the manifest at `manifest_key`. Errors name the object: it is missing
// (not_found), archived (reason not_thawed), or larger than it may be. The reference must outlive
// the task.
engine::task<engine::result<stored_keys>> read_keys_object(s3::object_store& store,
                                                           std::string manifest_key,
                                                           const planner::encryption_record& sealed,
                                                           engine::stop_token stop);

// For whom it is sealed now, by their fingerprints: whom it names itself, else whom the manifest
// does. Errors: it is no keys object.
[[nodiscard]] engine::result<std::vector<std::string>> recipients_of(
    const stored_keys& object, const planner::encryption_record& sealed);

// The key in it. Errors as read_backup_identity()'s.
[[nodiscard]] engine::result<age::x25519_identity> open_keys_object(
    const stored_keys& object, const std::string& manifest_key,
    const planner::encryption_record& sealed, std::span<const age::x25519_identity> identities);

// Whether that key is this backup's: it opens the manifest's sealed member, where there is one. Who
// may write to the bucket can seal a key of his own, under this backup's id, for its recipients:
// then an error of reason integrity.
[[nodiscard]] engine::result<void> check_backup_identity(const age::x25519_identity& identity,
                                                         const stored_keys& object,
                                                         const planner::encryption_record& sealed);

// Both, by any of the identities. The object is looked for beside the manifest and where it is
// recorded. Errors name it: it is missing (not_found), of another backup, damaged, or none of the
// identities opens it (reason access). `link` is sealed; the references must outlive the task.
engine::task<engine::result<age::x25519_identity>> read_backup_identity(
    s3::object_store& store, const chain_link& link,
    std::span<const age::x25519_identity> identities, engine::stop_token stop);

// What a manifest says of the host to those who have the backup's key.
struct sealed_member {
  std::string source;         // path of the live subvolume
  std::string snapshot_path;  // of what was sent
  std::string host_name;
};

// As base64 of an age file for `to`, JSON in it. Reason configuration where the paths are too long
// for a manifest.
[[nodiscard]] engine::result<std::string> seal_member(const sealed_member& what,
                                                      const age::x25519_recipient& to,
                                                      const age::random_source& random);

}  // namespace bts3::app
