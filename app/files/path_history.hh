// What became of a path in a chain: btrfs::index::history() with what a name was before, and
// became.
#pragma once

#include "btrfs/index/catalogue.hh"
#include "btrfs/index/node.hh"
#include "engine/result.hh"

#include <string>
#include <vector>

namespace bts3::app {

enum class path_change {
  created,
  renamed_here,  // it was `other` before
  content,
  attributes,
  replaced,  // by another file
  deleted,
  renamed_away,  // it is `other` from then on
};
// "created", "changed", "attributes", ...
[[nodiscard]] const char* word_of(path_change what);

struct path_event {
  btrfs::index::link_number link = 0;
  path_change what = path_change::created;
  btrfs::index::node at;  // as it is then; of what is gone as it was
  std::string other;
};

// Up to link `last`, in order; empty: it never was there.
engine::result<std::vector<path_event>> history_of(btrfs::index::catalogue& in,
                                                   const std::string& path,
                                                   btrfs::index::link_number last);

}  // namespace bts3::app
