// Secrets of a fixed length: wiped, locked and kept out of dumps as a secret_string is, never
// copied by accident, never printed.
#pragma once

#include "engine/assert.hh"
#include "engine/secret_string.hh"

#include <algorithm>
#include <cstddef>
#include <span>

namespace bts3::age {

// A moved-from one is empty, and may only be assigned to or end.
template <std::size_t N>
class secret_bytes {
 public:
  secret_bytes() : _memory(engine::secret_string::zeroes(N)) {}
  // What is given stays where it is, and is the caller's to wipe.
  explicit secret_bytes(std::span<const std::byte, N> from) : secret_bytes() {
    std::copy(from.begin(), from.end(), writable().begin());
  }
  secret_bytes(secret_bytes&&) noexcept = default;
  secret_bytes& operator=(secret_bytes&&) noexcept = default;
  secret_bytes(const secret_bytes&) = delete;
  secret_bytes& operator=(const secret_bytes&) = delete;
  ~secret_bytes() = default;

  [[nodiscard]] std::span<const std::byte, N> view() const {
    BTS3_ASSERT(_memory.size() == N);
    return _memory.bytes().template first<N>();
  }
  [[nodiscard]] std::span<std::byte, N> writable() {
    BTS3_ASSERT(_memory.size() == N);
    return _memory.writable().template first<N>();
  }
  [[nodiscard]] bool empty() const { return _memory.empty(); }
  void clear() noexcept { _memory.clear(); }

 private:
  engine::secret_string _memory;
};

// C2SP age.md, "File key": 128 bits, of one file and never of another.
inline constexpr std::size_t file_key_bytes = 16;
class file_key : public secret_bytes<file_key_bytes> {
 public:
  using secret_bytes::secret_bytes;
};

// What goes into ChaCha20-Poly1305.
using cipher_key = secret_bytes<32>;

}  // namespace bts3::age
