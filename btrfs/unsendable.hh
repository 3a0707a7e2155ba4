// Which files of a snapshot `btrfs send` cannot send, where it says only "failed with -5".
#pragma once

#include "engine/result.hh"

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace bts3::btrfs {

struct unsendable_file {
  std::uint64_t inode = 0;
  std::string path;  // below the snapshot
  std::string problem;
};

// What the kernel allows a path in a stream: PATH_MAX with its final zero.
constexpr std::size_t sent_path_bytes_max = 4095;

// The paths that are longer, without what lies below them; the first hundred.
std::vector<unsendable_file> find_long_paths(const std::string& snapshot,
                                             const std::atomic<bool>& stop);

// Reads files in the order in which they are sent, that of their inodes, from the one at `from` (a
// path below the snapshot; empty: all), until one cannot be read, `stop` is set, or `bytes_max`
// were read. None found: empty.
std::vector<unsendable_file> find_unreadable(const std::string& snapshot, const std::string& from,
                                             std::uint64_t bytes_max,
                                             const std::atomic<bool>& stop);

// Whether the file at `path` below `subvolume` is there and has the same trouble.
bool is_unsendable(const std::string& subvolume, const std::string& path,
                   const std::atomic<bool>& stop);

}  // namespace bts3::btrfs
