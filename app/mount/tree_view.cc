#include "app/mount/tree_view.hh"

#include "btrfs/index/browsing.hh"

#include <algorithm>
#include <limits>
#include <vector>

namespace bts3::app {

namespace {

using btrfs::index::catalogue;
using btrfs::index::entry;
using btrfs::index::link_number;
using btrfs::index::node;
using btrfs::index::node_type;
using engine::result;

constexpr std::uint64_t dots = 2;
constexpr std::size_t page_entries = 128;

timespec time_of(const btrfs::index::node_time& time) {
  return {static_cast<time_t>(time.seconds), static_cast<long>(time.nanoseconds)};
}

}  // namespace

mode_t mode_of(const node& one) {
  return type_bits(one.type) | (one.mode & 07777);
}

result<struct stat> stat_of(catalogue& in, const node& one, link_number at) {
  constexpr auto size_max = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  struct stat made{};
  made.st_ino = one.id;
  made.st_mode = mode_of(one);
  made.st_nlink = one.links;
  made.st_uid = one.uid;
  made.st_gid = one.gid;
  made.st_blksize = 4096;
  made.st_atim = time_of(one.accessed);
  made.st_mtim = time_of(one.modified);
  made.st_ctim = time_of(one.changed);
  if (one.type == node_type::file) {
    made.st_size = static_cast<off_t>(std::min(one.size, size_max));
    auto stored = btrfs::index::stored_bytes(in, one, at);
    if (!stored) {
      return std::move(stored.error());
    }
    made.st_blocks =
        static_cast<blkcnt_t>(std::min(*stored, size_max) / 512 + (*stored % 512 == 0 ? 0 : 1));
  } else if (one.type == node_type::symlink) {
    made.st_size = static_cast<off_t>(one.target.size());
  } else if (one.type == node_type::character_device || one.type == node_type::block_device) {
    made.st_rdev = one.rdev;
  }
  return made;
}

// Whether there is room for more.
result<bool> directory_cursor::read_dots(catalogue& in, link_number at, std::uint64_t& position,
                                         const taker& take) {
  for (; position < dots; ++position) {
    btrfs::index::node_id id = _directory;
    if (position == 1) {
      auto above = btrfs::index::directory_above(in, _directory, at);
      if (!above) {
        return std::move(above.error());
      }
      id = *above;
    }
    auto found = in.stat(id, at);
    if (!found) {
      return std::move(found.error());
    }
    const node one = found->value_or(node{});
    const shown_entry entry{position == 0 ? "." : "..", &one, position + 1};
    auto taken = take(entry);
    if (!taken || !*taken) {
      return taken;
    }
  }
  return true;
}

result<void> directory_cursor::read(catalogue& in, link_number at, std::uint64_t position,
                                    const taker& take) {
  auto more = read_dots(in, at, position, take);
  if (!more) {
    return std::move(more.error());
  }
  if (!*more) {
    return engine::ok();
  }
  std::optional<std::string> after;
  if (position > dots && position == _position) {
    after = _name;
  }
  for (;;) {
    auto page = btrfs::index::page_of(in, _directory, at, after, position - dots, page_entries);
    if (!page) {
      return std::move(page.error());
    }
    for (const entry& one : *page) {
      const shown_entry shown{one.name, &one.at, position + 1};
      auto taken = take(shown);
      if (!taken) {
        return std::move(taken.error());
      }
      if (!*taken) {
        return engine::ok();
      }
      _position = ++position;
      _name = one.name;
      after = one.name;
    }
    if (page->size() < page_entries) {
      return engine::ok();
    }
  }
}

}  // namespace bts3::app
