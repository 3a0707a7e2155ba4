// Walks the command headers of a Btrfs send stream while its bytes pass.
//
// Fed with pieces of any size, in order. Payload is jumped over, not touched: the cost is a few
// nanoseconds a command, and a piece that lies wholly inside one payload costs an addition. It
// proves that the stream is framed rightly and ends in an END command; it does not check the
// commands' CRCs (SHA-256 covers those bytes from here on, and `btrfs receive` checks them).
//
// After an error every further call returns the same error.
#pragma once

#include "engine/result.hh"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace bts3::btrfs {

class stream_inspector {
 public:
  // Errors have reason `integrity` and name the stream's byte offset.
  engine::result<void> feed(std::span<const std::byte> bytes);
  // To be called at the end of the input; an error when END was not seen.
  [[nodiscard]] engine::result<void> finish() const;

  // END was seen, and nothing after it.
  [[nodiscard]] bool complete() const { return _state == state::ended; }
  // Stream version; 0 until the stream header was seen.
  [[nodiscard]] std::uint32_t version() const { return _version; }
  // Command headers seen, END included.
  [[nodiscard]] std::uint64_t commands() const { return _commands; }
  // Bytes consumed.
  [[nodiscard]] std::uint64_t bytes() const { return _offset; }

 private:
  enum class state { stream_header, command_header, payload, ended, failed };

  engine::result<void> take_stream_header();
  engine::result<void> take_command_header();
  void after_payload();
  engine::result<void> fail(std::string message);

  // 17 bytes: magic (13) and version (4). A command header has 10.
  static constexpr std::size_t stream_header_bytes = 17;
  static constexpr std::size_t command_header_bytes = 10;

  state _state = state::stream_header;
  std::array<std::byte, stream_header_bytes> _header{};
  std::size_t _header_filled = 0;
  std::uint64_t _payload_left = 0;
  std::uint16_t _command = 0;
  std::uint32_t _version = 0;
  std::uint64_t _commands = 0;
  std::uint64_t _offset = 0;
  std::optional<engine::error> _failure;
};

}  // namespace bts3::btrfs
