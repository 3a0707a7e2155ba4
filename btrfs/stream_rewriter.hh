// Makes a send stream name the parent that it shall be received onto.
//
// `btrfs receive` looks for the parent of an incremental by a UUID that any subvolume may claim
// (private_workspace.hh). So while the stream passes, the UUID in its SNAPSHOT command, and in the
// CLONE commands that take data from the parent, is replaced, and the command's CRC with it. What
// does not build on the link before it, or takes data from anywhere else, is refused, and so is a
// second subvolume: of a stream of ours none of these is true.
//
// Changed in place, without a copy; a command that has to be seen whole and goes on in the next
// piece is held back until then.
#pragma once

#include "btrfs/subvolume.hh"
#include "engine/result.hh"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace bts3::btrfs {

class stream_rewriter {
 public:
  // Of a full: it may build on nothing.
  stream_rewriter() = default;
  // Of an incremental, which names `parent`, and shall name `instead`.
  stream_rewriter(const uuid& parent, const uuid& instead) : _parent(parent), _instead(instead) {}

  // What is to be passed on for `bytes`, in order: valid until the next call, and as long as
  // `bytes` are. At the end of a stream that is framed rightly nothing is held back. Reason
  // integrity for what is refused.
  engine::result<std::vector<std::span<const std::byte>>> feed(std::span<std::byte> bytes);

 private:
  // 17 bytes: magic (13) and version (4). A command header has 10.
  static constexpr std::size_t stream_header_bytes = 17;
  static constexpr std::size_t command_header_bytes = 10;

  [[nodiscard]] std::size_t wanted_of(std::span<const std::byte> seen) const;
  engine::result<void> pass(std::span<std::byte> command);
  engine::result<void> take(std::span<std::byte> command);
  engine::result<void> take_subvolume(std::span<std::byte> command, bool snapshot);
  engine::result<void> take_clone(std::span<std::byte> command);
  engine::result<void> replace(std::span<std::byte> command, std::size_t at);
  [[nodiscard]] engine::error refused(std::string what) const;

  std::optional<uuid> _parent;
  uuid _instead;
  std::optional<uuid> _own;                   // of the subvolume in the stream, once seen
  std::vector<std::byte> _held;               // the beginning of a header or a command
  std::vector<std::byte> _passed;             // what was held and is passed on by this call
  std::uint64_t _skip = stream_header_bytes;  // bytes that need not be looked at
  std::uint64_t _offset = 0;                  // in the stream, of the command at hand
};

}  // namespace bts3::btrfs
