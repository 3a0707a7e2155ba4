// What the catalogue knows of one file, directory or other inode.
#pragma once

#include <cstdint>
#include <string>

namespace bts3::btrfs::index {

// A place in a chain: 1 is its full.
using link_number = std::uint32_t;
// An inode of a chain, counted by the catalogue. The sender's own numbers are used again for other
// files, and these are not.
using node_id = std::uint64_t;

inline constexpr node_id no_node = 0;
inline constexpr node_id root_node = 1;

enum class node_type : std::uint8_t {
  gone = 0,  // it was there in an earlier link
  file = 1,
  directory = 2,
  symlink = 3,
  fifo = 4,
  socket = 5,
  character_device = 6,
  block_device = 7,
};

// What st_mode says of it: S_IFREG and the like; 0 where it is gone.
std::uint32_t type_bits(node_type type);

struct node_time {
  std::int64_t seconds = 0;  // of Unix time
  std::uint32_t nanoseconds = 0;
  bool operator==(const node_time&) const = default;
};

struct node {
  node_id id = no_node;
  link_number link = 0;  // the last that changed what stands here
  node_type type = node_type::gone;
  std::uint32_t mode = 0;  // the lowest twelve bits
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t rdev = 0;   // of devices, as stat(2) tells it
  std::uint64_t size = 0;   // of files
  std::uint64_t links = 0;  // names; 1 for a directory
  std::uint64_t flags = 0;  // FILEATTR, where the stream had it
  std::uint64_t ino = 0;    // the sender's
  node_time accessed;
  node_time modified;
  node_time changed;   // when the sender's inode changed; nobody can set it
  node_time made;      // only in streams of version 2
  std::string target;  // of a symbolic link
};

}  // namespace bts3::btrfs::index
