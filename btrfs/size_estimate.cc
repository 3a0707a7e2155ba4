#include "btrfs/size_estimate.hh"

#include "btrfs/tree_search.hh"
#include "engine/offload.hh"

#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

namespace bts3::btrfs {

namespace {

using engine::result;
using engine::task;

// Files have numbers between these.
constexpr std::uint64_t first_inode = BTRFS_FIRST_FREE_OBJECTID;
constexpr std::uint64_t last_inode = static_cast<std::uint64_t>(BTRFS_LAST_FREE_OBJECTID);
// Answers with more references than these bytes hold belong to what is shared a thousand times;
// `btrfs send` looks for no more than 1,024 either.
constexpr std::size_t references_bytes = std::size_t{64} << 10;
// Extents that are looked up in the filesystem's back references, some ten microseconds each.
constexpr std::size_t lookups_max = 200'000;

// Which extents were counted: 8 MiB of bits, four a number (a Bloom filter). A new number passes
// for an old one in one of 400 cases with ten million numbers in it, and in one of 16 at most: more
// are not taken in, and count each time.
class counted_extents {
 public:
  // False when it was there.
  bool insert(std::uint64_t number) {
    std::uint64_t bits = number * 0x9e3779b97f4a7c15u;
    bits ^= bits >> 32;
    bits *= 0xbf58476d1ce4e5b9u;
    bits ^= bits >> 29;
    std::uint64_t step = (bits >> 17) | 1;
    bool fresh = false;
    for (int i = 0; i < 4; ++i, bits += step) {
      std::uint64_t& word = _words[(bits >> 6) % word_count];
      const std::uint64_t bit = std::uint64_t{1} << (bits & 63);
      if ((word & bit) == 0) {
        fresh = true;
        if (_set < word_count * 64 / 2) {
          word |= bit;
          ++_set;
        }
      }
    }
    return fresh;
  }

 private:
  static constexpr std::size_t word_count = std::size_t{1} << 20;
  std::vector<std::uint64_t> _words = std::vector<std::uint64_t>(word_count);
  std::uint64_t _set = 0;
};

// Which subvolumes refer to an extent.
class extent_references {
 public:
  explicit extent_references(int fd) : _fd(fd), _buffer(references_bytes) {}

  // Also true where that cannot be told.
  bool has(std::uint64_t address, std::uint64_t subvolume) {
    if (_lookups++ >= lookups_max) {
      return true;
    }
    btrfs_ioctl_logical_ino_args arguments{};
    arguments.logical = address;
    arguments.size = _buffer.size();
    arguments.flags = BTRFS_LOGICAL_INO_ARGS_IGNORE_OFFSET;
    arguments.inodes = reinterpret_cast<std::uintptr_t>(_buffer.data());
    if (::ioctl(_fd, BTRFS_IOC_LOGICAL_INO_V2, &arguments) != 0) {
      return true;
    }
    const auto* const found = reinterpret_cast<const btrfs_data_container*>(_buffer.data());
    if (found->elem_missed > 0) {
      return true;
    }
    // Three numbers each: inode, offset, subvolume.
    for (std::uint32_t i = 2; i < found->elem_cnt; i += 3) {
      if (found->val[i] == subvolume) {
        return true;
      }
    }
    return false;
  }

 private:
  int _fd;
  std::vector<char> _buffer;
  std::size_t _lookups = 0;
};

// Adds up extents as they come, file by file.
class counting {
 public:
  counting(int fd, const estimate_request& request)
      : _request(request), _since(request.parent ? request.parent->made_in : 0), _references(fd) {}

  void take(const btrfs_ioctl_search_header& header, std::span<const char> item) {
    if (header.objectid != _inode) {
      _inode = header.objectid;
      _new_file = false;
      _size = std::numeric_limits<std::uint64_t>::max();
    }
    if (header.type == BTRFS_INODE_ITEM_KEY && item.size() >= sizeof(btrfs_inode_item)) {
      btrfs_inode_item fields{};
      std::memcpy(&fields, item.data(), sizeof fields);
      _new_file = little_endian(&fields.generation, 8) > _since;
      _size = little_endian(&fields.size, 8);
    } else if (header.type == BTRFS_EXTENT_DATA_KEY &&
               item.size() > offsetof(btrfs_file_extent_item, disk_bytenr)) {
      _bytes += bytes_of(header.offset, item);
    }
  }

  [[nodiscard]] std::uint64_t bytes() const { return _bytes; }

 private:
  std::uint64_t bytes_of(std::uint64_t offset, std::span<const char> item) {
    btrfs_file_extent_item fields{};
    std::memcpy(&fields, item.data(), std::min(item.size(), sizeof fields));
    const bool written_later = little_endian(&fields.generation, 8) > _since;
    const bool packed = _request.compressed_data && fields.compression != 0;
    if (fields.type == BTRFS_FILE_EXTENT_INLINE) {
      const std::uint64_t stored = item.size() - offsetof(btrfs_file_extent_item, disk_bytenr);
      return !written_later ? 0 : packed ? stored : little_endian(&fields.ram_bytes, 8);
    }
    const std::uint64_t address = little_endian(&fields.disk_bytenr, 8);
    // Holes, and what is only reserved, are not sent.
    if (fields.type != BTRFS_FILE_EXTENT_REG || address == 0 || item.size() < sizeof fields ||
        !(written_later || _new_file)) {
      return 0;
    }
    const std::uint64_t begin = little_endian(&fields.offset, 8);
    if (!_counted.insert(packed ? address : address + begin)) {
      return 0;
    }
    if (!written_later && _request.parent && _references.has(address, _request.parent->id)) {
      return 0;
    }
    if (packed) {
      return little_endian(&fields.disk_num_bytes, 8);
    }
    const std::uint64_t left = _size > offset ? _size - offset : 0;
    return std::min(little_endian(&fields.num_bytes, 8), left);
  }

  const estimate_request& _request;
  std::uint64_t _since;
  extent_references _references;
  counted_extents _counted;
  std::uint64_t _inode = 0;
  bool _new_file = false;
  std::uint64_t _size = 0;
  std::uint64_t _bytes = 0;
};

struct set_flag {
  std::atomic<bool>* flag;
  void operator()() const { flag->store(true); }
};

}  // namespace

result<size_estimate> estimate_stream(const estimate_request& request,
                                      const std::atomic<bool>& stop) {
  auto subvolume = open_source(request.path);
  if (!subvolume) {
    return std::move(subvolume.error());
  }
  // What was written but has no place on the disk yet is in no tree.
  if (::ioctl(subvolume->get(), BTRFS_IOC_SYNC) != 0) {
    return engine::system_error(errno, "syncing the filesystem of " + request.path);
  }
  const std::uint64_t since = request.parent ? request.parent->made_in + 1 : 0;
  tree_items items(subvolume->get(), 0, since);
  items.between(first_inode, last_inode, BTRFS_INODE_ITEM_KEY, BTRFS_EXTENT_DATA_KEY, 0);
  counting sum(subvolume->get(), request);
  for (;;) {
    auto more = items.next();
    if (!more) {
      engine::error failure = std::move(more.error());
      failure.message = "reading what " + request.path + " consists of: " + failure.message;
      return failure;
    }
    if (!*more) {
      return size_estimate{sum.bytes(), request.parent.has_value()};
    }
    if (stop.load(std::memory_order_relaxed)) {
      return engine::cancelled_error();
    }
    sum.take(items.header, items.item);
  }
}

task<result<size_estimate>> estimate_stream(engine::reactor& loop, estimate_request request,
                                            engine::stop_token stop) {
  std::atomic<bool> stopped{stop.stop_requested()};
  const engine::stop_callback<set_flag> on_stop(stop, set_flag{&stopped});
  std::function<result<size_estimate>()> call = [&request, &stopped] {
    return estimate_stream(request, stopped);
  };
  auto estimating = engine::offload(loop, std::move(call));
  auto found = co_await std::move(estimating);
  co_return found;
}

}  // namespace bts3::btrfs
