#include "btrfs/stream_inspector.hh"

#include "engine/assert.hh"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace bts3::btrfs {

namespace {

// The stream format: fs/btrfs/send.h of the kernel, and "Btrfs send stream format" of its
// documentation. Numbers are little-endian.
constexpr char magic[] = "btrfs-stream";  // 13 bytes with its final zero
static_assert(sizeof magic == 13);

constexpr std::uint32_t version_max = 3;
constexpr std::uint16_t command_end = 21;

// The highest command of each version: 22 is UPDATE_EXTENT, 25 ENCODED_WRITE, 26 ENABLE_VERITY.
constexpr std::uint16_t command_max(std::uint32_t version) {
  return version == 1 ? 22 : version == 2 ? 25 : 26;
}

// The kernel builds a command in a buffer of 64 KiB (version 1, BTRFS_SEND_BUF_SIZE_V1), or of
// 16 KiB + 128 KiB of compressed extent (BTRFS_MAX_COMPRESSED) rounded up to the page size
// (BTRFS_SEND_BUF_SIZE_V2): 144 KiB with pages of 4 KiB, and 256 KiB with the largest pages that
// Linux has.
constexpr std::uint32_t command_bytes_max(std::uint32_t version) {
  return version == 1 ? 64 * 1024 : 256 * 1024;
}

std::uint32_t little_endian(const std::byte* at, std::size_t count) {
  std::uint32_t value = 0;
  for (std::size_t i = count; i > 0; --i) {
    value = value << 8 | std::to_integer<std::uint32_t>(at[i - 1]);
  }
  return value;
}

engine::error damaged(std::string message) {
  engine::error failure;
  failure.why = engine::reason::integrity;
  failure.message = "send stream: " + std::move(message);
  return failure;
}

}  // namespace

engine::result<void> stream_inspector::feed(std::span<const std::byte> bytes) {
  if (_failure) {
    return *_failure;
  }
  while (!bytes.empty()) {
    if (_state == state::ended) {
      return fail("data follows the END command, at byte " + std::to_string(_offset));
    }
    if (_state == state::payload) {
      BTS3_ASSERT(_payload_left > 0);
      const std::size_t skipped = std::min<std::uint64_t>(_payload_left, bytes.size());
      bytes = bytes.subspan(skipped);
      _offset += skipped;
      _payload_left -= skipped;
      if (_payload_left == 0) {
        after_payload();
      }
      continue;
    }
    const std::size_t wanted =
        _state == state::stream_header ? stream_header_bytes : command_header_bytes;
    const std::size_t taken = std::min(wanted - _header_filled, bytes.size());
    std::memcpy(_header.data() + _header_filled, bytes.data(), taken);
    bytes = bytes.subspan(taken);
    _header_filled += taken;
    _offset += taken;
    if (_header_filled == wanted) {
      _header_filled = 0;
      auto understood =
          _state == state::stream_header ? take_stream_header() : take_command_header();
      if (!understood) {
        return understood;
      }
    }
  }
  return engine::ok();
}

engine::result<void> stream_inspector::finish() const {
  if (_failure) {
    return *_failure;
  }
  if (_state == state::ended) {
    return engine::ok();
  }
  if (_offset == 0) {
    return damaged("is empty");
  }
  return damaged("ends at byte " + std::to_string(_offset) + " without an END command (" +
                 std::to_string(_commands) + " commands seen)");
}

engine::result<void> stream_inspector::take_stream_header() {
  if (std::memcmp(_header.data(), magic, sizeof magic) != 0) {
    return fail("does not begin with 'btrfs-stream'");
  }
  _version = little_endian(_header.data() + sizeof magic, 4);
  if (_version < 1 || _version > version_max) {
    return fail("has version " + std::to_string(_version) + ", known are 1 to " +
                std::to_string(version_max));
  }
  _state = state::command_header;
  return engine::ok();
}

engine::result<void> stream_inspector::take_command_header() {
  const std::uint64_t at = _offset - command_header_bytes;
  const std::uint32_t length = little_endian(_header.data(), 4);
  _command = static_cast<std::uint16_t>(little_endian(_header.data() + 4, 2));
  if (_command == 0 || _command > command_max(_version)) {
    return fail("has unknown command " + std::to_string(_command) + " at byte " +
                std::to_string(at) + " (version " + std::to_string(_version) + ")");
  }
  if (length > command_bytes_max(_version) - command_header_bytes) {
    return fail("has a command of " + std::to_string(length) + " bytes at byte " +
                std::to_string(at) + ", at most " +
                std::to_string(command_bytes_max(_version) - command_header_bytes) +
                " are possible");
  }
  ++_commands;
  _payload_left = length;
  if (length == 0) {
    after_payload();
  } else {
    _state = state::payload;
  }
  return engine::ok();
}

void stream_inspector::after_payload() {
  _state = _command == command_end ? state::ended : state::command_header;
}

engine::result<void> stream_inspector::fail(std::string message) {
  _state = state::failed;
  _failure = damaged(std::move(message));
  return *_failure;
}

}  // namespace bts3::btrfs
