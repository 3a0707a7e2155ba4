// Which bytes of which streams wanted extents take, in pieces that are worth a request each.
//
// Commands are read whole, since their checksum covers all of them.
#pragma once

#include "btrfs/index/extent_map.hh"
#include "btrfs/index/node.hh"
#include "engine/result.hh"

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace bts3::btrfs::index {

// Of a command that holds data. Linux makes commands of 64 KiB in version 1 of the stream, and of
// 144 KiB in version 2 (256 KiB with its largest pages).
inline constexpr std::uint64_t command_bytes_max = std::uint64_t{256} << 10;
// Of what one extent unpacks to; Btrfs packs 128 KiB at most.
inline constexpr std::uint64_t unpacked_bytes_max = std::uint64_t{1} << 20;

// Bytes of one link's stream.
struct stream_range {
  link_number link = 0;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  [[nodiscard]] std::uint64_t bytes() const { return end - begin; }
  bool operator==(const stream_range&) const = default;
};

// The command that wrote an extent. Any numbers; `links` is how many the chain has. Reason
// integrity where no sender makes such a command.
[[nodiscard]] engine::result<stream_range> command_of(const extent& one, link_number links);

// The data in the bytes of such a command: its checksum, its type and the place of its data are
// right. Reason integrity; a wrong checksum means that the bytes are damaged, or another stream's.
[[nodiscard]] engine::result<std::span<const std::byte>> data_in(std::span<const std::byte> command,
                                                                 const extent& one,
                                                                 std::uint32_t stream_version);

// What `data` of data_in() unpacks to, where it is packed: all of `unpacked`, which has
// one.unpacked_bytes. The file's bytes begin one.skip behind its beginning. Reason integrity.
[[nodiscard]] engine::result<void> unpack_extent(const extent& one, std::span<const std::byte> data,
                                                 std::span<std::byte> unpacked);

// How ranges that lie near each other become one.
struct merging {
  // Bytes between two of them that are read along. A request takes some 40 ms until its first byte,
  // in which a connection of 25 MiB/s reads a MiB.
  std::uint64_t gap_max = std::uint64_t{1} << 20;
  // But not more such bytes in all than wanted ones, unless a gap costs less than a request of its
  // own: at Amazon's prices (0.0004 USD for 1,000 GETs, 0.09 USD a GB) as much as 4.4 KB.
  std::uint64_t gap_free = std::uint64_t{4} << 10;
  // So large is a piece at most, unless a single range is larger: several are read at a time, each
  // into memory.
  std::uint64_t bytes_max = std::uint64_t{8} << 20;
};

struct merged_range {
  stream_range all;
  std::vector<std::size_t> wanted;  // indexes, in the order of their places
};

// In the order of links and places. Ranges that overlap come once.
[[nodiscard]] std::vector<merged_range> merged(std::span<const stream_range> wanted,
                                               const merging& how);

// A set of bytes of streams, for counting what will be read: neighbours are one.
class stream_set {
 public:
  void add(const stream_range& one);
  // In the order of links and places, none touching another.
  [[nodiscard]] std::vector<stream_range> ranges() const;
  [[nodiscard]] std::uint64_t bytes() const;

 private:
  std::map<link_number, std::map<std::uint64_t, std::uint64_t>> _ends;  // by begin
};

}  // namespace bts3::btrfs::index
