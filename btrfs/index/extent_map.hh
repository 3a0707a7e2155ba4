// Where the bytes of one file lie in the streams of a chain. What no extent covers is zero.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace bts3::btrfs::index {

// As ENCODED_WRITE numbers them: BTRFS_ENCODED_IO_COMPRESSION_*.
enum class encoding : std::uint8_t {
  none = 0,
  zlib = 1,
  zstd = 2,
  lzo_4k = 3,  // LZO with sectors of so many bytes
  lzo_8k = 4,
  lzo_16k = 5,
  lzo_32k = 6,
  lzo_64k = 7,
};

// Bytes of a file that one command wrote.
struct extent {
  std::uint64_t offset = 0;  // in the file
  std::uint64_t bytes = 0;   // of the file
  // The command that wrote them: the link whose stream has it, and where it begins there. Its
  // checksum covers all of it.
  std::uint32_t link = 0;
  std::uint64_t command = 0;
  // The command's data, packed: where in the plain stream, and how long.
  std::uint64_t data = 0;
  std::uint64_t data_bytes = 0;
  encoding packed = encoding::none;
  std::uint64_t unpacked_bytes = 0;  // of all the data
  std::uint64_t skip = 0;            // how much of it, unpacked, comes before these bytes
  bool operator==(const extent&) const = default;
};

class extent_map {
 public:
  // Over whatever was there. `offset` + `bytes` is below 2^63.
  void write(const extent& one);
  // Makes a hole.
  void cut(std::uint64_t offset, std::uint64_t end);
  // The part between, as if it stood at `to`.
  [[nodiscard]] std::vector<extent> part(std::uint64_t offset, std::uint64_t end,
                                         std::uint64_t to) const;
  // In their order, none overlapping.
  [[nodiscard]] const std::map<std::uint64_t, extent>& all() const { return _extents; }
  bool operator==(const extent_map&) const = default;

 private:
  std::map<std::uint64_t, extent> _extents;  // by offset
};

}  // namespace bts3::btrfs::index
