// One command of a stream without its data, as the index keeps it.
#pragma once

#include "btrfs/send_format.hh"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bts3::btrfs::index {

// How an attribute is packed.
enum class packing : std::uint8_t {
  number,       // as it is
  ino,          // difference to the last one
  file_offset,  // difference to where the write before it ended
  size,         // likewise: what is truncated ends there
  time,         // difference to another time
  uuid,         // 16 bytes
  path,         // what it has in common with an earlier one, and the rest
  bytes,        // length and value
  data,         // its length
};

struct field {
  std::uint8_t attribute;
  packing how;
  std::uint8_t bytes = 0;  // of its value in the stream; 0: any
};

// The attributes of a command that the index keeps, in the order in which it keeps them. Empty for
// END and what is no command.
struct field_list {
  const field* first = nullptr;
  std::size_t count = 0;
  [[nodiscard]] const field* begin() const { return first; }
  [[nodiscard]] const field* end() const { return first + count; }
};
field_list fields_of(std::uint16_t command);

struct record {
  std::uint64_t number = 0;  // of the command, from 1
  std::uint64_t offset = 0;  // of its header in the plain stream
  std::uint64_t end = 0;
  std::uint16_t type = 0;
  std::uint64_t has = 0;          // attributes, a bit each
  std::uint64_t data_offset = 0;  // of the data's first byte in the plain stream
  std::uint64_t data_bytes = 0;
  // By attribute. Of a time the seconds are here.
  std::array<std::uint64_t, send_format::attribute_max + 1> numbers{};
  std::array<std::uint32_t, send_format::attribute_max + 1> nanoseconds{};
  std::array<std::string, send_format::attribute_max + 1> texts;

  [[nodiscard]] bool with(unsigned attribute) const { return (has >> attribute & 1) != 0; }
  [[nodiscard]] std::string_view text(unsigned attribute) const {
    return with(attribute) ? std::string_view(texts[attribute]) : std::string_view();
  }
  [[nodiscard]] std::uint64_t value(unsigned attribute) const {
    return with(attribute) ? numbers[attribute] : 0;
  }
};

// "o{ino}-{generation}-{number}": what the kernel calls an inode until its place is free.
struct orphan_name {
  std::uint64_t ino = 0;
  std::uint64_t generation = 0;
  std::uint64_t number = 0;
  [[nodiscard]] std::string text() const;
};
// Only what text() would give again.
bool parse_orphan(std::string_view text, orphan_name& found);

// Whether a path stays below the subvolume: names of 1 to 255 bytes, none "." or "..", between
// single slashes. The subvolume itself is the empty path.
bool plain_path(std::string_view text);

// Longest path that the kernel makes (PATH_MAX).
inline constexpr std::size_t path_bytes_max = 4096;

}  // namespace bts3::btrfs::index
