// What differs between two backups, path by path.
#pragma once

#include "btrfs/index/catalogue.hh"
#include "btrfs/index/node.hh"
#include "engine/result.hh"

#include <atomic>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

enum class path_difference { added, removed, changed, renamed };
// "added", "removed", ...
[[nodiscard]] const char* word_of(path_difference what);

struct changed_path {
  path_difference what = path_difference::added;
  std::string path;    // of what is renamed its new one
  std::string before;  // of what is renamed; else empty
  btrfs::index::node at;
  bool content = false;  // of what is changed or renamed: whether that has changed, too
  bool attributes = false;
};

// One side: a link of a catalogue, and the directory or file there that is looked at ("" is all).
struct tree_side {
  btrfs::index::catalogue* in = nullptr;
  btrfs::index::link_number link = 0;
};

// By path. `below`: only what is there or below. Of one chain renames are found and contents are
// compared by where they lie; of two chains a file counts as the same whose size and times of
// change are. A directory that only had other names in it is not told. `cancelled` once `stopped`.
engine::result<std::vector<changed_path>> difference_of(tree_side from, tree_side to,
                                                        const std::string& below,
                                                        const std::atomic<bool>& stopped);

}  // namespace bts3::app
