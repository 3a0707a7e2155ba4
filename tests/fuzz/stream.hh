// Send streams whose checksums are right: a fuzzer hardly finds a CRC-32C by itself.
#pragma once

#include "btrfs/send_format.hh"
#include "engine/crc32.hh"

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

namespace bts3::fuzz {

// `bytes` with the checksum of each whole command corrected, unless the first byte is odd: then all
// stays as it is. That byte is no part of the stream.
inline std::vector<std::byte> with_checksums(std::span<const std::byte> bytes) {
  if (bytes.empty()) {
    return {};
  }
  std::vector<std::byte> stream(bytes.begin() + 1, bytes.end());
  if ((std::to_integer<unsigned>(bytes.front()) & 1U) != 0) {
    return stream;
  }
  constexpr std::size_t head = 10;
  for (std::size_t at = 17; at + head <= stream.size();) {
    std::uint32_t length = 0;
    std::memcpy(&length, stream.data() + at, 4);
    if (length > stream.size() - at - head) {
      break;
    }
    std::memset(stream.data() + at + 6, 0, 4);
    const std::uint32_t crc =
        engine::crc32c(0, std::span<const std::byte>(stream).subspan(at, head + length));
    std::memcpy(stream.data() + at + 6, &crc, 4);
    at += head + length;
  }
  return stream;
}

}  // namespace bts3::fuzz
