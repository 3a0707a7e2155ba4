// What a Btrfs filesystem's trees hold, read by BTRFS_IOC_TREE_SEARCH_V2
// (include/uapi/linux/btrfs.h), which takes root.
#pragma once

#include "engine/result.hh"

#include <linux/btrfs.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bts3::btrfs {

// `count` bytes, at most eight, as a number.
std::uint64_t little_endian(const void* at, std::size_t count);

// All items of a tree from one key to another, in order, of blocks written in transaction `since`
// or later. `fd`: anything on the filesystem, to stay open; `tree` 0 is the subvolume that it is
// in.
class tree_items {
 public:
  tree_items(int fd, std::uint64_t tree, std::uint64_t since);

  // What next() gives from now on.
  void between(std::uint64_t first_object, std::uint64_t last_object, std::uint32_t type,
               std::uint64_t first_offset);

  // Of objects between the first and the last, items of all these types.
  void between(std::uint64_t first_object, std::uint64_t last_object, std::uint32_t first_type,
               std::uint32_t last_type, std::uint64_t first_offset);

  // Sets header and item; false at the end.
  engine::result<bool> next();

  btrfs_ioctl_search_header header{};
  std::span<const char> item;  // until the next call

 private:
  engine::result<void> search();

  void go_on_after(const btrfs_ioctl_search_header& last);

  int _fd;
  btrfs_ioctl_search_key _key{};
  std::vector<char> _buffer;
  const char* _at = nullptr;
  std::uint32_t _left = 0;
  bool _ended = false;
};

// The checksums of extents, best asked for in the order of their addresses.
class checksum_reader {
 public:
  checksum_reader(int fd, std::uint32_t sector_bytes);

  // Of that many bytes from `address` on; false when there are none of some.
  engine::result<bool> read(std::uint64_t address, std::uint64_t bytes,
                            std::vector<std::uint32_t>& into);

 private:
  // Makes the item that has `address` the present one.
  engine::result<bool> reach(std::uint64_t address);

  void take_item();

  tree_items _items;
  std::uint32_t _sector_bytes;
  std::vector<std::uint32_t> _checksums;  // of the present item
  std::uint64_t _begin = 0;
  std::uint64_t _end = 0;
  bool _more = false;
};

}  // namespace bts3::btrfs
