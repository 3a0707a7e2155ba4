// What the index knows of an inode, as stat(2) and readdir(3) have it.
#pragma once

#include "btrfs/index/catalogue.hh"
#include "btrfs/index/node.hh"
#include "engine/result.hh"

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::app {

// Its type and permissions, as in st_mode.
[[nodiscard]] mode_t mode_of(const btrfs::index::node& one);
// The catalogue's number of an inode is its inode number: names of one file share it.
[[nodiscard]] engine::result<struct stat> stat_of(btrfs::index::catalogue& in,
                                                  const btrfs::index::node& one,
                                                  btrfs::index::link_number at);

struct shown_entry {
  std::string_view name;
  const btrfs::index::node* at = nullptr;
  std::uint64_t position = 0;  // where reading goes on behind it
};

// A directory that somebody has open. Positions are numbers of entries, "." and ".." first, in the
// order of names, so that they mean the same to whoever comes back to one; reading on costs a page,
// going back to one in the middle all entries before it.
class directory_cursor {
 public:
  explicit directory_cursor(btrfs::index::node_id directory) : _directory(directory) {}

  // False: there is no room for it, and it comes again.
  using taker = std::function<engine::result<bool>(const shown_entry&)>;
  // The entries behind `position`, 0: from the beginning.
  engine::result<void> read(btrfs::index::catalogue& in, btrfs::index::link_number at,
                            std::uint64_t position, const taker& take);

 private:
  engine::result<bool> read_dots(btrfs::index::catalogue& in, btrfs::index::link_number at,
                                 std::uint64_t& position, const taker& take);

  btrfs::index::node_id _directory;
  std::uint64_t _position = 0;       // after `_name`
  std::optional<std::string> _name;  // the last that was taken
};

}  // namespace bts3::app
