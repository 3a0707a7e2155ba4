// Reading trees of a Btrfs filesystem, item by item.
#pragma once

#include "engine/error.hh"
#include "engine/result.hh"

#include <linux/btrfs.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace bts3::btrfs {

// Numbers lie on the disk like that.
inline std::uint64_t little_endian(const void* at, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = count; i > 0; --i) {
    value = value << 8 | static_cast<const unsigned char*>(at)[i - 1];
  }
  return value;
}

// All items of a tree from one key to another, in order, of blocks written in transaction `since`
// or later. `fd`: anything on the filesystem, to stay open; `tree` 0 is the subvolume that it is
// in.
class tree_items {
 public:
  tree_items(int fd, std::uint64_t tree, std::uint64_t since) : _fd(fd) {
    _key.tree_id = tree;
    _key.min_transid = since;
    _key.max_transid = std::numeric_limits<std::uint64_t>::max();
    _buffer.resize(sizeof(btrfs_ioctl_search_args_v2) + search_bytes);
  }

  void between(std::uint64_t first_object, std::uint64_t last_object, std::uint32_t type,
               std::uint64_t first_offset) {
    between(first_object, last_object, type, type, first_offset);
  }

  // Of objects between the first and the last, items of all types.
  void between(std::uint64_t first_object, std::uint64_t last_object, std::uint32_t first_type,
               std::uint32_t last_type, std::uint64_t first_offset) {
    _key.min_objectid = first_object;
    _key.max_objectid = last_object;
    _key.min_type = first_type;
    _key.max_type = last_type;
    _key.min_offset = first_offset;
    _key.max_offset = std::numeric_limits<std::uint64_t>::max();
    _left = 0;
    _ended = false;
  }

  // False at the end.
  engine::result<bool> next() {
    if (_left == 0) {
      if (auto searched = search(); !searched) {
        return std::move(searched.error());
      }
    }
    if (_left == 0) {
      return false;
    }
    std::memcpy(&header, _at, sizeof header);
    item = std::span<const char>(_at + sizeof header, header.len);
    _at += sizeof header + header.len;
    if (--_left == 0) {
      go_on_after(header);
    }
    return true;
  }

  btrfs_ioctl_search_header header{};
  std::span<const char> item;  // until the next call

 private:
  // Of one answer of BTRFS_IOC_TREE_SEARCH_V2.
  static constexpr std::size_t search_bytes = std::size_t{256} << 10;

  engine::result<void> search() {
    if (_ended) {
      return engine::ok();
    }
    auto* const arguments = reinterpret_cast<btrfs_ioctl_search_args_v2*>(_buffer.data());
    std::memset(arguments, 0, sizeof *arguments);
    arguments->key = _key;
    arguments->key.nr_items = std::numeric_limits<std::uint32_t>::max();
    arguments->buf_size = search_bytes;
    if (::ioctl(_fd, BTRFS_IOC_TREE_SEARCH_V2, arguments) != 0) {
      return engine::system_error(errno, "BTRFS_IOC_TREE_SEARCH_V2");
    }
    _left = arguments->key.nr_items;
    _ended = _left == 0;
    _at = reinterpret_cast<const char*>(arguments->buf);
    return engine::ok();
  }

  void go_on_after(const btrfs_ioctl_search_header& last) {
    // Keys count as one number: object, type, offset.
    _key.min_objectid = last.objectid;
    _key.min_type = last.type;
    _key.min_offset = last.offset + 1;
    if (_key.min_offset == 0 && ++_key.min_type > 255) {
      _key.min_type = 0;
      _ended = ++_key.min_objectid == 0;
    }
  }

  int _fd;
  btrfs_ioctl_search_key _key{};
  std::vector<char> _buffer;
  const char* _at = nullptr;
  std::uint32_t _left = 0;
  bool _ended = false;
};

}  // namespace bts3::btrfs
