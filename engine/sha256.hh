// SHA-256 with access to its intermediate state.
//
// The state after a whole number of 64-byte blocks is what the manifest records at each part
// boundary: with it, a later part can be hashed alone. OpenSSL's EVP interface hides the state, so
// this uses its low-level SHA256_* functions, which 3.0 marks as deprecated and still ships with
// the same hardware implementations.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bts3::engine {

// The block size of SHA-256 (FIPS 180-4): states exist only at multiples of it.
inline constexpr std::size_t sha256_block_bytes = 64;

// The eight working words H0..H7 of FIPS 180-4. After the padding block they are the digest.
struct sha256_state {
  std::array<std::uint32_t, 8> words{};

  // 64 lower-case hexadecimal digits, words in order, each big-endian.
  [[nodiscard]] std::string hex() const;
  [[nodiscard]] static std::optional<sha256_state> from_hex(std::string_view text);
  bool operator==(const sha256_state&) const = default;
};

class sha256_hasher {
 public:
  sha256_hasher();
  // Goes on from `state`, reached after `bytes_before` bytes, a multiple of 64.
  sha256_hasher(const sha256_state& state, std::uint64_t bytes_before);

  void update(std::span<const std::byte> bytes);
  [[nodiscard]] std::uint64_t bytes() const { return _bytes; }
  // The intermediate state; nullopt unless bytes() is a multiple of 64.
  [[nodiscard]] std::optional<sha256_state> state() const;
  // The digest of everything so far; the hasher can go on afterwards.
  [[nodiscard]] sha256_state digest() const;

 private:
  // SHA256_CTX is 112 bytes of plain words (OpenSSL's ABI); sha256.cc asserts that it fits.
  alignas(8) std::array<std::byte, 112> _context{};
  std::uint64_t _bytes = 0;
};

}  // namespace bts3::engine
