// The keys of X25519, as people hold them, and the stanza by which one gets a file key (C2SP
// age.md, "The X25519 recipient type").
#pragma once

#include "engine/age/header.hh"
#include "engine/age/primitives.hh"
#include "engine/age/random.hh"
#include "engine/age/secret_bytes.hh"
#include "engine/result.hh"
#include "engine/secret_string.hh"

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::age {

inline constexpr std::string_view x25519_type = "X25519";
inline constexpr std::size_t wrapped_key_bytes = file_key_bytes + tag_bytes;

// The public half: whoever has it can seal, and nothing else.
class x25519_recipient {
 public:
  explicit x25519_recipient(const curve_point& of) : _point(of) {}

  // "age1..."; fault::key for anything else, with what is supported: recipients of ML-KEM
  // (age1pq1..., which needs OpenSSL 3.5), of plugins (age1NAME1...) and of SSH are told apart.
  [[nodiscard]] static engine::result<x25519_recipient> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
  [[nodiscard]] const curve_point& public_point() const { return _point; }

  // A stanza with `key` in it, under an ephemeral secret that is made and forgotten here.
  [[nodiscard]] engine::result<stanza> wrap(const file_key& key, const random_source& random) const;

  bool operator==(const x25519_recipient&) const = default;

 private:
  curve_point _point;
};

// The secret half, with the public one.
class x25519_identity {
 public:
  [[nodiscard]] static engine::result<x25519_identity> generate(const random_source& random);
  // "AGE-SECRET-KEY-1..."; fault::key for anything else. No message quotes it.
  [[nodiscard]] static engine::result<x25519_identity> parse(std::string_view text);
  [[nodiscard]] engine::secret_string text() const;
  [[nodiscard]] const x25519_recipient& recipient() const { return _recipient; }

  // The file key; nullopt for a stanza of another type, or for another key. fault::header for one
  // of X25519 that is not as age.md has it.
  [[nodiscard]] engine::result<std::optional<file_key>> unwrap(const stanza& one) const;

 private:
  x25519_identity(secret_bytes<point_bytes> secret, const curve_point& its)
      : _secret(std::move(secret)), _recipient(its) {}
  [[nodiscard]] static engine::result<x25519_identity> of(secret_bytes<point_bytes> secret);

  secret_bytes<point_bytes> _secret;
  x25519_recipient _recipient;
};

// What stanzas of X25519 and scrypt have as their body: the file key under a wrapping key that is
// used once, with a nonce of zero bytes.
[[nodiscard]] engine::result<std::vector<std::byte>> wrap_file_key(const cipher_key& with,
                                                                   const file_key& key);
// Nullopt where it was wrapped with another. The body has wrapped_key_bytes.
[[nodiscard]] engine::result<std::optional<file_key>> unwrap_file_key(
    const cipher_key& with, std::span<const std::byte> body);

}  // namespace bts3::age
