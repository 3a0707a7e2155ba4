// Commands to bytes and back: what lies in a frame of the index. docs/format.md describes it.
//
// A record says what is different from what could be expected after the records before it in the
// same frame: paths, inode numbers, offsets and times mostly follow from each other. Both sides
// keep the same `expectation`, which begins anew with each frame, so that frames can be read alone.
#pragma once

#include "btrfs/index/record.hh"
#include "btrfs/stream_observer.hh"
#include "engine/result.hh"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bts3::btrfs::index {

struct moment {
  std::uint64_t seconds = 0;
  std::uint32_t nanoseconds = 0;
};

struct expectation {
  std::uint64_t number = 0;  // of the next command
  std::uint64_t offset = 0;  // of its header
  std::string path;          // of the last command, or where its rename led to
  std::string settled;       // the last path that is no orphan's name
  std::uint64_t ino = 0;
  std::uint64_t generation = 0;
  std::uint64_t file_end = 0;  // where the last write to `path` ended
  moment modified;
  moment changed;
};

class record_encoder {
 public:
  explicit record_encoder(std::uint32_t version) : _version(version) {}
  // Appends a frame's beginning, before the command that follows.
  void begin_frame(const observed_command& next, std::vector<std::byte>& to);
  void encode(const observed_command& command, std::vector<std::byte>& to);

 private:
  // Of one command: as many bytes as it can need are made room for at once.
  std::byte* put_fields(const observed_command& command, std::byte* at);
  std::byte* put_path(std::string_view path, std::byte* at);

  std::uint32_t _version;
  expectation _expected;
};

class record_decoder {
 public:
  explicit record_decoder(std::uint32_t version) : _version(version) {}
  // `frame` has to stay until its last record was read. Integrity errors.
  engine::result<void> begin_frame(std::span<const std::byte> frame);
  [[nodiscard]] bool at_end() const { return _left.empty(); }
  // The next of the frame, into `found`, whose strings' memory is used again.
  engine::result<void> next(record& found);
  // Number and offset of the next command.
  [[nodiscard]] std::uint64_t number() const { return _expected.number; }
  [[nodiscard]] std::uint64_t offset() const { return _expected.offset; }

 private:
  engine::result<void> take_fields(record& found, std::uint64_t mask, bool same_path);
  bool take_path(std::string& path);
  bool take_bytes(std::string& value, std::size_t limit);
  bool take_time(record& found, unsigned attribute);
  engine::result<void> place(record& found, bool told, std::uint64_t length, std::uint64_t data_at);
  [[nodiscard]] engine::error damaged(const char* problem) const;

  std::uint32_t _version;
  expectation _expected;
  std::span<const std::byte> _left;
};

}  // namespace bts3::btrfs::index
