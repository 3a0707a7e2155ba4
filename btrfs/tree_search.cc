#include "btrfs/tree_search.hh"

#include <linux/btrfs_tree.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

namespace bts3::btrfs {

using engine::result;
using engine::system_error;

namespace {

// Of one answer of BTRFS_IOC_TREE_SEARCH_V2.
constexpr std::size_t search_bytes = std::size_t{256} << 10;
// A checksum item describes no more: it has at most a page of checksums and sits in one leaf, which
// has 64 KiB at most, and a sector has 4 KiB at least and 64 KiB at most with such pages.
constexpr std::uint64_t csum_item_reach = std::uint64_t{64} << 20;

}  // namespace

std::uint64_t little_endian(const void* at, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = count; i > 0; --i) {
    value = value << 8 | static_cast<const unsigned char*>(at)[i - 1];
  }
  return value;
}

tree_items::tree_items(int fd, std::uint64_t tree, std::uint64_t since) : _fd(fd) {
  _key.tree_id = tree;
  _key.min_transid = since;
  _key.max_transid = std::numeric_limits<std::uint64_t>::max();
  _buffer.resize(sizeof(btrfs_ioctl_search_args_v2) + search_bytes);
}

void tree_items::between(std::uint64_t first_object, std::uint64_t last_object, std::uint32_t type,
                         std::uint64_t first_offset) {
  between(first_object, last_object, type, type, first_offset);
}

void tree_items::between(std::uint64_t first_object, std::uint64_t last_object,
                         std::uint32_t first_type, std::uint32_t last_type,
                         std::uint64_t first_offset) {
  _key.min_objectid = first_object;
  _key.max_objectid = last_object;
  _key.min_type = first_type;
  _key.max_type = last_type;
  _key.min_offset = first_offset;
  _key.max_offset = std::numeric_limits<std::uint64_t>::max();
  _left = 0;
  _ended = false;
}

result<bool> tree_items::next() {
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

result<void> tree_items::search() {
  if (_ended) {
    return engine::ok();
  }
  auto* const arguments = reinterpret_cast<btrfs_ioctl_search_args_v2*>(_buffer.data());
  std::memset(arguments, 0, sizeof *arguments);
  arguments->key = _key;
  arguments->key.nr_items = std::numeric_limits<std::uint32_t>::max();
  arguments->buf_size = search_bytes;
  if (::ioctl(_fd, BTRFS_IOC_TREE_SEARCH_V2, arguments) != 0) {
    return system_error(errno, "BTRFS_IOC_TREE_SEARCH_V2");
  }
  _left = arguments->key.nr_items;
  _ended = _left == 0;
  _at = reinterpret_cast<const char*>(arguments->buf);
  return engine::ok();
}

void tree_items::go_on_after(const btrfs_ioctl_search_header& last) {
  // Keys count as one number: object, type, offset.
  _key.min_objectid = last.objectid;
  _key.min_type = last.type;
  _key.min_offset = last.offset + 1;
  if (_key.min_offset == 0 && ++_key.min_type > 255) {
    _key.min_type = 0;
    _ended = ++_key.min_objectid == 0;
  }
}

checksum_reader::checksum_reader(int fd, std::uint32_t sector_bytes)
    : _items(fd, BTRFS_CSUM_TREE_OBJECTID, 0), _sector_bytes(sector_bytes) {}

result<bool> checksum_reader::read(std::uint64_t address, std::uint64_t bytes,
                                   std::vector<std::uint32_t>& into) {
  into.clear();
  while (bytes > 0) {
    auto reaching = reach(address);
    if (!reaching) {
      return std::move(reaching.error());
    }
    if (!*reaching) {
      return false;
    }
    const std::uint64_t first = (address - _begin) / _sector_bytes;
    const std::uint64_t count = std::min(bytes, _end - address) / _sector_bytes;
    for (std::uint64_t i = first; i < first + count; ++i) {
      into.push_back(_checksums[i]);
    }
    address += count * _sector_bytes;
    bytes -= count * _sector_bytes;
  }
  return true;
}

result<bool> checksum_reader::reach(std::uint64_t address) {
  if (_begin <= address && address < _end) {
    return true;
  }
  if (address < _end || address - _end > csum_item_reach || !_more) {
    _items.between(BTRFS_EXTENT_CSUM_OBJECTID, BTRFS_EXTENT_CSUM_OBJECTID, BTRFS_EXTENT_CSUM_KEY,
                   address - std::min(address, csum_item_reach));
  }
  // The item that was read last may lie beyond an address that has none.
  for (;;) {
    auto next = _items.next();
    if (!next) {
      return std::move(next.error());
    }
    _more = *next;
    if (!*next) {
      _begin = _end = 0;
      return false;
    }
    take_item();
    if (address < _end) {
      return _begin <= address;
    }
  }
}

void checksum_reader::take_item() {
  _checksums.resize(_items.item.size() / sizeof(std::uint32_t));
  for (std::size_t i = 0; i < _checksums.size(); ++i) {
    _checksums[i] = static_cast<std::uint32_t>(
        little_endian(_items.item.data() + i * sizeof(std::uint32_t), sizeof(std::uint32_t)));
  }
  _begin = _items.header.offset;
  _end = _begin + _checksums.size() * _sector_bytes;
}

}  // namespace bts3::btrfs
