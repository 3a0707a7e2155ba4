#include "engine/age/backup_keys.hh"

#include "engine/age/base64.hh"
#include "engine/age/fault.hh"
#include "engine/age/header.hh"
#include "engine/age/key_files.hh"
#include "engine/age/sealed_file.hh"
#include "engine/age/stream.hh"

#include <algorithm>
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
                                                   const random_source& random,
                                                   const std::vector<stanza>& names = {}) {
  const std::array comments{name_of(id)};
  const engine::secret_string plain = identity_file(of, comments);
  return seal_file(plain.bytes(), to, random, names);
}

constexpr std::string_view fingerprint_start = "SHA256:";

bool is_fingerprint(std::string_view text) {
  const auto hash = text.starts_with(fingerprint_start)
                        ? base64_decode(text.substr(fingerprint_start.size()), padding::none)
                        : std::nullopt;
  return hash && hash->size() == sizeof(hmac_tag);
}

// In characters: an identity file of one key, whose comment is the backup's name.
constexpr std::size_t id_digits = 32;
constexpr std::size_t recipient_characters = 62;  // "age1" and 58 of Bech32
constexpr std::size_t identity_characters = 74;   // "AGE-SECRET-KEY-1" and 58
constexpr std::size_t identity_file_bytes =
    std::string_view("# btrfs_to_s3 backup \n").size() + id_digits +
    std::string_view("# public key: \n").size() + recipient_characters + identity_characters + 1;
constexpr std::size_t encoded_key_characters = 43;  // 32 bytes in base64: a share, a wrapped key
constexpr std::size_t x25519_stanza_bytes =
    std::string_view("-> X25519 \n\n").size() + 2 * encoded_key_characters;
constexpr std::size_t mac_line_bytes = std::string_view("--- \n").size() + encoded_key_characters;

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
                                                          std::span<const named_recipient> to,
                                                          const random_source& random) {
  const auto identity = open_backup_keys(object, by, id);
  if (!identity) {
    return identity.error();
  }
  std::vector<x25519_recipient> keys;
  std::vector<stanza> names;
  for (const named_recipient& one : to) {
    keys.push_back(one.key);
    names.push_back({{std::string(recipient_type), one.fingerprint}, {}});
  }
  return keys_object(*identity, id, keys, random, names);
}

engine::result<std::vector<std::string>> recipients_named_in(std::span<const std::byte> object) {
  const auto read = read_header(object);
  if (!read) {
    return read.error();
  }
  std::vector<std::string> found;
  std::size_t sealed_for = 0;
  for (const stanza& one : read->stanzas) {
    sealed_for += one.type() == x25519_type ? 1 : 0;
    if (one.type() != recipient_type) {
      continue;
    }
    if (one.arguments.size() != 2 || !is_fingerprint(one.arguments[1]) || !one.body.empty()) {
      return make_error(fault::header, "the keys object names a recipient by no fingerprint",
                        "was it written by a newer version of this program?");
    }
    found.push_back(one.arguments[1]);
  }
  if (!found.empty() && found.size() != sealed_for) {
    return make_error(fault::header,
                      "the keys object names " + std::to_string(found.size()) +
                          " recipients, and is sealed for " + std::to_string(sealed_for),
                      "it was not written by this program; look who else writes to this prefix");
  }
  return found;
}

std::size_t new_keys_object_bytes(std::size_t recipients) {
  return version_line.size() + recipients * x25519_stanza_bytes + mac_line_bytes +
         sizeof(payload_nonce) + sealed_bytes(identity_file_bytes);
}

}  // namespace bts3::age
