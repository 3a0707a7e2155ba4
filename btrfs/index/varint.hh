// Whole numbers in as many bytes as they need: seven bits a byte, the lowest first, the top bit set
// on all but the last (LEB128). Differences are folded so that small ones of either sign are short.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace bts3::btrfs::index {

// 64 bits at seven a byte.
inline constexpr std::size_t varint_bytes_max = 10;

// Into at least varint_bytes_max bytes; where it ends.
inline std::byte* put_varint(std::byte* at, std::uint64_t value) {
  while (value >= 0x80) {
    *at++ = static_cast<std::byte>(value | 0x80);
    value >>= 7;
  }
  *at++ = static_cast<std::byte>(value);
  return at;
}

// Takes a number from the front of `bytes`; false: it is cut off, or larger than 64 bits.
inline bool take_varint(std::span<const std::byte>& bytes, std::uint64_t& value) {
  value = 0;
  for (unsigned i = 0; i < varint_bytes_max && i < bytes.size(); ++i) {
    const auto byte = std::to_integer<std::uint64_t>(bytes[i]);
    if (i == varint_bytes_max - 1 && byte > 1) {
      return false;
    }
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      bytes = bytes.subspan(i + 1);
      return true;
    }
  }
  return false;
}

// The difference `to` - `from`, both any number: 0, -1, 1, -2, ... as 0, 1, 2, 3, ...
inline std::uint64_t folded(std::uint64_t to, std::uint64_t from) {
  const std::uint64_t difference = to - from;
  return difference << 1 ^ (0 - (difference >> 63));
}
inline std::uint64_t unfolded(std::uint64_t code, std::uint64_t from) {
  return from + (code >> 1 ^ (0 - (code & 1)));
}

}  // namespace bts3::btrfs::index
