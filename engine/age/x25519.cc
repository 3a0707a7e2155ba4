#include "engine/age/x25519.hh"

#include "engine/age/base64.hh"
#include "engine/age/bech32.hh"
#include "engine/age/fault.hh"
#include "engine/assert.hh"
#include "engine/plain_text.hh"

#include <algorithm>
#include <utility>
#include <vector>

namespace bts3::age {

namespace {

constexpr std::string_view recipient_prefix = "age";
constexpr std::string_view identity_prefix = "AGE-SECRET-KEY-";
constexpr std::string_view wrap_info = "age-encryption.org/v1/X25519";

constexpr std::string_view supported_recipients =
    "give a recipient of X25519, age1 and 58 more characters, as age-keygen prints it";
constexpr std::string_view supported_identities =
    "give an identity of X25519, a line AGE-SECRET-KEY-1..., as age-keygen writes it";

// A secret that was given by mistake is not repeated.
engine::error recipient_error(std::string_view text, std::string_view what) {
  const std::string subject = text.starts_with("AGE-") || text.starts_with("age-")
                                  ? "what was given as a recipient"
                                  : "recipient \"" + engine::printable(text.substr(0, 70)) + "\"";
  return make_error(fault::key, subject + " " + std::string(what),
                    std::string(supported_recipients));
}

engine::error identity_error(std::string_view what) {
  return make_error(fault::key, std::string(what), std::string(supported_identities));
}

std::string_view why_no_recipient(std::string_view text) {
  if (text.starts_with("age1pq1") || text.starts_with("age1tagpq1")) {
    return "is a post-quantum one, which needs OpenSSL 3.5 and is not supported yet";
  }
  if (text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-")) {
    return "is a key of SSH, which is not supported";
  }
  if (text.starts_with("AGE-") || text.starts_with("age-")) {
    return "is not a recipient but a secret identity, which should stand nowhere but in its file";
  }
  // age1NAME1...: "1" is no character of the data.
  if (text.starts_with("age1") && text.find('1', 4) != std::string_view::npos) {
    return "is one of a plugin of age, which is not supported";
  }
  if (text.starts_with("age1")) {
    return "is misspelt or cut: its checksum is wrong";
  }
  return "is not a recipient of age";
}

// HKDF over both points: age.md.
engine::result<cipher_key> wrapping_key(const secret_bytes<point_bytes>& shared,
                                        std::span<const std::byte> ephemeral,
                                        const curve_point& recipient) {
  std::array<std::byte, 2 * point_bytes> salt{};
  BTS3_ASSERT(ephemeral.size() == point_bytes);
  std::copy(ephemeral.begin(), ephemeral.end(), salt.begin());
  std::copy(recipient.begin(), recipient.end(), salt.begin() + point_bytes);
  return hkdf_sha256(shared.view(), salt, wrap_info);
}

engine::error stanza_error(std::string_view what) {
  return make_error(fault::header, "a stanza of X25519 in the age header " + std::string(what),
                    "it was damaged or changed; fetch it again, or restore another copy");
}

}  // namespace

engine::result<std::vector<std::byte>> wrap_file_key(const cipher_key& with, const file_key& key) {
  auto cipher = aead::sealing(with.view());
  if (!cipher) {
    return std::move(cipher.error());
  }
  std::vector<std::byte> body(wrapped_key_bytes);
  const std::span<std::byte> all(body);
  // Sealed where no one finds it in plain: the vector is ordinary memory.
  secret_bytes<file_key_bytes> text(key.view());
  auto sealed = cipher->seal(aead_nonce{}, text.writable(), all.last<tag_bytes>());
  if (!sealed) {
    return std::move(sealed.error());
  }
  std::copy(text.view().begin(), text.view().end(), body.begin());
  return body;
}

engine::result<std::optional<file_key>> unwrap_file_key(const cipher_key& with,
                                                        std::span<const std::byte> body) {
  BTS3_ASSERT(body.size() == wrapped_key_bytes);
  auto cipher = aead::opening(with.view());
  if (!cipher) {
    return std::move(cipher.error());
  }
  file_key key(body.first<file_key_bytes>());
  auto opened = cipher->open(aead_nonce{}, key.writable(), body.last<tag_bytes>());
  if (!opened) {
    return std::move(opened.error());
  }
  return *opened ? std::optional(std::move(key)) : std::nullopt;
}

engine::result<x25519_recipient> x25519_recipient::parse(std::string_view text) {
  const auto read = bech32_decode(text);
  if (!read || read->prefix != recipient_prefix) {
    return recipient_error(text, why_no_recipient(text));
  }
  curve_point its{};
  if (read->data.size() != its.size()) {
    return recipient_error(text, "has not the length of one of X25519");
  }
  std::copy(read->data.bytes().begin(), read->data.bytes().end(), its.begin());
  return x25519_recipient(its);
}

std::string x25519_recipient::text() const {
  return std::string(bech32_encode(recipient_prefix, _point).view());
}

engine::result<stanza> x25519_recipient::wrap(const file_key& key,
                                              const random_source& random) const {
  secret_bytes<point_bytes> ephemeral;
  auto filled = fill_random(random, ephemeral.writable());
  if (!filled) {
    return std::move(filled.error());
  }
  auto share = x25519_point(ephemeral.view());
  if (!share) {
    return std::move(share.error());
  }
  auto shared = x25519_shared(ephemeral.view(), _point);
  if (!shared) {
    return fault_of(shared.error()) == fault::header
               ? recipient_error(text(), "is a point of small order, which is nobody's key")
               : std::move(shared.error());
  }
  auto with = wrapping_key(*shared, *share, _point);
  if (!with) {
    return std::move(with.error());
  }
  auto body = wrap_file_key(*with, key);
  if (!body) {
    return std::move(body.error());
  }
  stanza made;
  made.arguments = {std::string(x25519_type), base64_encode(*share, padding::none)};
  made.body = std::move(*body);
  return made;
}

engine::result<x25519_identity> x25519_identity::of(secret_bytes<point_bytes> secret) {
  auto its = x25519_point(secret.view());
  if (!its) {
    return std::move(its.error());
  }
  return x25519_identity(std::move(secret), *its);
}

engine::result<x25519_identity> x25519_identity::generate(const random_source& random) {
  secret_bytes<point_bytes> secret;
  auto filled = fill_random(random, secret.writable());
  if (!filled) {
    return std::move(filled.error());
  }
  return of(std::move(secret));
}

engine::result<x25519_identity> x25519_identity::parse(std::string_view text) {
  if (text.starts_with("AGE-SECRET-KEY-PQ-1")) {
    return identity_error(
        "the identity is a post-quantum one, which needs OpenSSL 3.5 and is not supported yet");
  }
  if (text.starts_with("AGE-PLUGIN-")) {
    return identity_error("the identity is one of a plugin of age, which is not supported");
  }
  const auto read = bech32_decode(text);
  if (!read || read->prefix != identity_prefix) {
    return identity_error(text.starts_with(identity_prefix)
                              ? "the identity is misspelt or cut: its checksum is wrong"
                              : "this is not an identity of age");
  }
  if (read->data.size() != point_bytes) {
    return identity_error("the identity has not the length of one of X25519");
  }
  return of(secret_bytes<point_bytes>(read->data.bytes().first<point_bytes>()));
}

engine::secret_string x25519_identity::text() const {
  return bech32_encode(identity_prefix, _secret.view());
}

engine::result<std::optional<file_key>> x25519_identity::unwrap(const stanza& one) const {
  if (one.type() != x25519_type) {
    return std::optional<file_key>();
  }
  if (one.arguments.size() != 2) {
    return stanza_error("has not two arguments");
  }
  const auto share = base64_decode(one.arguments[1], padding::none);
  if (!share || share->size() != point_bytes) {
    return stanza_error("has no point of 32 bytes in canonical base64");
  }
  if (one.body.size() != wrapped_key_bytes) {
    return stanza_error("has a body of another length than 32 bytes");
  }
  auto shared = x25519_shared(_secret.view(), std::span(*share).first<point_bytes>());
  if (!shared) {
    return std::move(shared.error());
  }
  auto with = wrapping_key(*shared, *share, _recipient.public_point());
  if (!with) {
    return std::move(with.error());
  }
  return unwrap_file_key(*with, one.body);
}

}  // namespace bts3::age
