// Reads along with a send stream and notices when it is not whole.
//
// `btrfs send` can die with a clean end of file, even with exit status 0 of something in between;
// only the END command proves that a stream is complete. Headers are parsed as bytes pass, in
// pieces of any size; payloads are jumped over without being touched, so this costs next to
// nothing.
//
// Format: "btrfs-stream\0", le32 version, then commands of le32 length, le16 type, le32 crc and
// `length` bytes of payload (fs/btrfs/send.h in the kernel).
#pragma once

#include "engine/result.hh"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bts3::btrfs {

class stream_inspector {
 public:
  // An error names the offset and what was expected there. Nothing may be fed after one.
  engine::result<void> feed(std::span<const std::byte> piece);
  // After the last byte: an error when the stream did not end with END.
  [[nodiscard]] engine::result<void> finish() const;

  [[nodiscard]] bool complete() const { return _ended; }
  [[nodiscard]] std::uint32_t version() const { return _version; }
  [[nodiscard]] std::uint64_t commands() const { return _commands; }
  [[nodiscard]] std::uint64_t bytes() const { return _offset; }

 private:
  engine::result<void> take_header();

  enum class expecting { stream_header, command_header, payload };
  expecting _expecting = expecting::stream_header;
  std::array<std::byte, 17> _header{};  // the longer of the two headers
  std::size_t _header_filled = 0;
  std::uint64_t _payload_left = 0;
  std::uint64_t _offset = 0;
  std::uint64_t _commands = 0;
  std::uint32_t _version = 0;
  bool _ended = false;
};

}  // namespace bts3::btrfs
