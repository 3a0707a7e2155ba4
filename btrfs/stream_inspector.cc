#include "btrfs/stream_inspector.hh"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace bts3::btrfs {

namespace {

using engine::error;
using engine::result;

// fs/btrfs/send.h: the magic with its terminating zero, then le32 version.
constexpr char stream_magic[] = "btrfs-stream";
constexpr std::size_t stream_header_bytes = sizeof stream_magic + 4;
constexpr std::size_t command_header_bytes = 4 + 2 + 4;
constexpr std::uint32_t version_max = 3;

// BTRFS_SEND_C_END is 21 in every version; the highest command known is 26 (ENABLE_VERITY).
constexpr std::uint16_t command_end = 21;
constexpr std::uint16_t command_max = 26;

// A command is built in a buffer of 64 KiB in version 1, and of 16 KiB plus one compressed extent
// (128 KiB), rounded up to pages, in version 2. Pages may have 64 KiB. A megabyte is beyond both.
constexpr std::uint32_t payload_bytes_max = 1 << 20;

std::uint32_t le32(const std::byte* at) {
  return std::to_integer<std::uint32_t>(at[0]) | std::to_integer<std::uint32_t>(at[1]) << 8 |
         std::to_integer<std::uint32_t>(at[2]) << 16 | std::to_integer<std::uint32_t>(at[3]) << 24;
}

error malformed(std::uint64_t offset, std::string what) {
  error failure;
  failure.why = engine::reason::integrity;
  failure.message = "send stream, byte " + std::to_string(offset) + ": " + std::move(what);
  return failure;
}

}  // namespace

result<void> stream_inspector::take_header() {
  const std::uint64_t at = _offset - _header_filled;
  if (_expecting == expecting::stream_header) {
    if (std::memcmp(_header.data(), stream_magic, sizeof stream_magic) != 0) {
      return malformed(at, "this is not a Btrfs send stream");
    }
    _version = le32(_header.data() + sizeof stream_magic);
    if (_version == 0 || _version > version_max) {
      return malformed(at, "stream version " + std::to_string(_version) +
                               ", and this program knows 1 to " + std::to_string(version_max));
    }
    _expecting = expecting::command_header;
    return engine::ok();
  }
  _payload_left = le32(_header.data());
  const auto type = static_cast<std::uint16_t>(std::to_integer<unsigned>(_header[4]) |
                                               std::to_integer<unsigned>(_header[5]) << 8);
  if (type == 0 || type > command_max) {
    return malformed(at, "unknown command " + std::to_string(type));
  }
  if (_payload_left > payload_bytes_max) {
    return malformed(at, "a command of " + std::to_string(_payload_left) + " bytes");
  }
  ++_commands;
  _ended = type == command_end;
  if (_ended && _payload_left != 0) {
    return malformed(at, "END with a payload");
  }
  _expecting = _payload_left == 0 ? expecting::command_header : expecting::payload;
  return engine::ok();
}

result<void> stream_inspector::feed(std::span<const std::byte> piece) {
  while (!piece.empty()) {
    if (_ended) {
      return malformed(_offset, "data after the END command");
    }
    if (_expecting == expecting::payload) {
      const auto jump =
          static_cast<std::size_t>(std::min<std::uint64_t>(_payload_left, piece.size()));
      _payload_left -= jump;
      _offset += jump;
      piece = piece.subspan(jump);
      if (_payload_left == 0) {
        _expecting = expecting::command_header;
      }
      continue;
    }
    const std::size_t wanted =
        _expecting == expecting::stream_header ? stream_header_bytes : command_header_bytes;
    const std::size_t take = std::min(wanted - _header_filled, piece.size());
    std::copy_n(piece.begin(), take, _header.begin() + static_cast<std::ptrdiff_t>(_header_filled));
    _header_filled += take;
    _offset += take;
    piece = piece.subspan(take);
    if (_header_filled == wanted) {
      auto taken = take_header();
      if (!taken) {
        return taken;
      }
      _header_filled = 0;
    }
  }
  return engine::ok();
}

result<void> stream_inspector::finish() const {
  if (!_ended) {
    return malformed(_offset, "the stream ends without its END command");
  }
  return engine::ok();
}

}  // namespace bts3::btrfs
