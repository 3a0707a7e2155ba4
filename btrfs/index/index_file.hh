// An index, read: whole and in order, or from the frame that holds some place of the stream.
//
// Wherever it comes from, it is hostile: sizes of frames, records and their numbers are checked
// before they are used. Errors have reason `integrity`, or are those of what reads.
#pragma once

#include "btrfs/index/record_codec.hh"
#include "engine/result.hh"
#include "engine/sha256.hh"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace bts3::btrfs::index {

// Reads all of `into` from an offset of the index.
using read_at = std::function<engine::result<void>(std::uint64_t, std::span<std::byte>)>;

class index_file {
 public:
  // Reads the directory and the first frame's beginning. `bytes`: of the whole index.
  static engine::result<index_file> open(read_at read, std::uint64_t bytes);

  [[nodiscard]] std::size_t frames() const { return _frames.size(); }
  // Of the stream that it is of.
  [[nodiscard]] std::uint32_t version() const { return _version; }

  // Every command in order. Ends with an error where `take` gives one, and where the records are
  // not those of a whole stream: each follows the one before, and END is the last.
  engine::result<void> each(const std::function<engine::result<void>(const record&)>& take);
  // What `each` saw, once it has ended well: the digest of the whole index, the stream's commands
  // and bytes.
  [[nodiscard]] const engine::sha256_state& sha256() const { return _sha256; }
  [[nodiscard]] std::uint64_t commands() const { return _commands; }
  [[nodiscard]] std::uint64_t stream_bytes() const { return _stream_bytes; }

  // Those from the beginning of the frame with command `number` on, until `take` says false.
  engine::result<void> from(std::uint64_t number, const std::function<bool(const record&)>& take);

 private:
  struct frame {
    std::uint64_t offset = 0;
    std::uint32_t packed = 0;
    std::uint32_t plain = 0;
  };

  engine::result<void> read_directory(std::uint64_t bytes);
  engine::result<void> read_title();
  // Into _packed and _plain; the records of the frame.
  engine::result<std::span<const std::byte>> unpack(std::size_t index);

  read_at _read;
  std::vector<frame> _frames;
  std::vector<std::byte> _directory;
  std::uint32_t _version = 0;
  std::vector<std::byte> _packed;
  std::vector<std::byte> _plain;
  engine::sha256_state _sha256;
  std::uint64_t _commands = 0;
  std::uint64_t _stream_bytes = 0;
};

// What a file descriptor holds. It has to stay open.
read_at reads_of(int file);

}  // namespace bts3::btrfs::index
