// The few operations that age and SSHSIG are made of, by OpenSSL's EVP. Each fails with
// fault::library alone, which means an OpenSSL that lacks it, unless it says otherwise.
#pragma once

#include "engine/age/secret_bytes.hh"
#include "engine/result.hh"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

struct evp_cipher_ctx_st;

namespace bts3::age {

inline constexpr std::size_t point_bytes = 32;  // RFC 7748: scalars and coordinates of X25519
inline constexpr std::size_t tag_bytes = 16;    // RFC 8439: what Poly1305 gives
inline constexpr std::size_t nonce_bytes = 12;  // RFC 8439

using curve_point = std::array<std::byte, point_bytes>;
using aead_nonce = std::array<std::byte, nonce_bytes>;
using hmac_tag = std::array<std::byte, 32>;  // HMAC-SHA-256
using digest = std::array<std::byte, 64>;    // SHA-512

[[nodiscard]] inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
[[nodiscard]] inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// In a time that does not depend on where they differ.
[[nodiscard]] bool same_bytes(std::span<const std::byte> one, std::span<const std::byte> other);

// RFC 5869, 32 bytes.
[[nodiscard]] engine::result<cipher_key> hkdf_sha256(std::span<const std::byte> input,
                                                     std::span<const std::byte> salt,
                                                     std::string_view info);

// RFC 2104.
[[nodiscard]] engine::result<hmac_tag> hmac_sha256(std::span<const std::byte, 32> key,
                                                   std::span<const std::byte> message);

// RFC 7748: the public point of a secret scalar, and the secret that both sides compute. `shared`
// fails with fault::header when it would be all zero: the other point is of small order.
[[nodiscard]] engine::result<curve_point> x25519_point(
    std::span<const std::byte, point_bytes> secret);
[[nodiscard]] engine::result<secret_bytes<point_bytes>> x25519_shared(
    std::span<const std::byte, point_bytes> secret, std::span<const std::byte, point_bytes> other);

// RFC 7914 with r = 8, p = 1 and N = 2^log_work; takes 2^(log_work + 10) bytes of memory.
[[nodiscard]] engine::result<cipher_key> scrypt(std::string_view passphrase,
                                                std::span<const std::byte> salt, unsigned log_work);

[[nodiscard]] engine::result<digest> sha512(std::span<const std::byte> message);
[[nodiscard]] engine::result<hmac_tag> sha256(std::span<const std::byte> message);

// Ed25519 (RFC 8032), pure.
using ed25519_signature = std::array<std::byte, 64>;
[[nodiscard]] engine::result<curve_point> ed25519_point(std::span<const std::byte, 32> seed);
[[nodiscard]] engine::result<ed25519_signature> ed25519_sign(std::span<const std::byte, 32> seed,
                                                             std::span<const std::byte> message);
// False also for a public key or signature that is none.
[[nodiscard]] engine::result<bool> ed25519_verify(std::span<const std::byte, 32> key,
                                                  const ed25519_signature& signature,
                                                  std::span<const std::byte> message);

// ChaCha20-Poly1305 (RFC 8439) without additional data, under one key, in one direction; one
// context of OpenSSL for all texts. The context holds the key in OpenSSL's own memory until this
// ends, and clears it then. Texts are changed where they lie. For one thread at a time.
class aead {
 public:
  [[nodiscard]] static engine::result<aead> sealing(std::span<const std::byte, 32> key);
  [[nodiscard]] static engine::result<aead> opening(std::span<const std::byte, 32> key);
  aead(aead&&) noexcept = default;
  aead& operator=(aead&&) noexcept = default;
  ~aead() = default;

  // A nonce is used once; to keep to that is the caller's.
  [[nodiscard]] engine::result<void> seal(const aead_nonce& with, std::span<std::byte> text,
                                          std::span<std::byte, tag_bytes> tag);
  // The same of a text that comes in pieces.
  [[nodiscard]] engine::result<void> begin_seal(const aead_nonce& with);
  [[nodiscard]] engine::result<void> update_seal(std::span<std::byte> text);
  [[nodiscard]] engine::result<void> end_seal(std::span<std::byte, tag_bytes> tag);
  // False when it was not sealed with this key and nonce; then the text is wiped.
  [[nodiscard]] engine::result<bool> open(const aead_nonce& with, std::span<std::byte> text,
                                          std::span<const std::byte, tag_bytes> tag);

 private:
  struct freed {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  using context_pointer = std::unique_ptr<evp_cipher_ctx_st, freed>;
  aead(context_pointer context, bool seals) : _context(std::move(context)), _seals(seals) {}
  [[nodiscard]] static engine::result<aead> make(std::span<const std::byte, 32> key, bool seals);

  context_pointer _context;
  bool _seals;
};

}  // namespace bts3::age
