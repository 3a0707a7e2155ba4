#include "engine/age/backup_keys.hh"

#include "engine/age/fault.hh"
#include "engine/age/key_files.hh"
#include "engine/age/sealed_file.hh"

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace bts3::age {

namespace {

// The first line of the object's plain text; age takes it for a comment.
std::string name_of(const backup_id& id) {
  return "btrfs_to_s3 backup " + id.text();
}

engine::result<std::vector<std::byte>> keys_object(const x25519_identity& of, const backup_id& id,
                                                   std::span<const x25519_recipient> to,
                                                   const random_source& random) {
  const std::array comments{name_of(id)};
  const engine::secret_string plain = identity_file(of, comments);
  return seal_file(plain.bytes(), to, random);
}

}  // namespace

engine::result<new_backup> make_backup_keys(std::span<const x25519_recipient> to,
                                            const random_source& random) {
  auto id = backup_id::make(random);
  if (!id) {
    return std::move(id.error());
  }
  const auto identity = x25519_identity::generate(random);
  if (!identity) {
    return identity.error();
  }
  auto object = keys_object(*identity, *id, to, random);
  if (!object) {
    return std::move(object.error());
  }
  return new_backup{*id, identity->recipient(), std::move(*object)};
}

engine::result<x25519_identity> open_backup_keys(std::span<const std::byte> object,
                                                 std::span<const x25519_identity> by,
                                                 const backup_id& id) {
  const auto plain = open_file(object, by);
  if (!plain) {
    return plain.error();
  }
  const std::string expected = "# " + name_of(id) + "\n";
  if (!plain->view().starts_with(expected)) {
    return make_error(fault::key, "the keys object is not that of backup " + id.text(),
                      "objects were exchanged in the bucket; look for the one of this backup");
  }
  auto found = parse_identities(plain->view());
  if (!found) {
    return std::move(found.error()).within("the keys object");
  }
  if (found->size() != 1) {
    return make_error(fault::key, "the keys object holds more than one identity",
                      "was it written by a newer version of this program?");
  }
  return std::move(found->front());
}

engine::result<std::vector<std::byte>> rewrap_backup_keys(std::span<const std::byte> object,
                                                          std::span<const x25519_identity> by,
                                                          const backup_id& id,
                                                          std::span<const x25519_recipient> to,
                                                          const random_source& random) {
  const auto identity = open_backup_keys(object, by, id);
  if (!identity) {
    return identity.error();
  }
  return keys_object(*identity, id, to, random);
}

}  // namespace bts3::age
