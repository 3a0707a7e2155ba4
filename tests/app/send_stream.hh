// A send stream for tests of restores, and its digest.
#pragma once

#include "engine/sha256.hh"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace bts3::testing {

inline std::string number(std::uint64_t value, unsigned count) {
  std::string text;
  for (unsigned i = 0; i < count; ++i) {
    text += static_cast<char>(value >> (8 * i) & 255);
  }
  return text;
}

// A send stream of about `bytes`: SUBVOL, many WRITEs, END.
inline std::string stream_of(std::size_t bytes) {
  std::string text = std::string("btrfs-stream\0", 13) + number(1, 4);
  unsigned seed = 1;
  while (text.size() < bytes) {
    text += number(1000, 4) + number(15, 2) + number(0, 4);
    for (int i = 0; i < 1000; ++i) {
      seed = seed * 1664525 + 1013904223;
      text += static_cast<char>(seed >> 24);
    }
  }
  return text + number(0, 4) + number(21, 2) + number(0, 4);
}

inline std::span<const std::byte> octets_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

inline std::string digest_of(std::string_view text) {
  engine::sha256_hasher hasher;
  hasher.update(octets_of(text));
  return hasher.digest().hex();
}

}  // namespace bts3::testing
