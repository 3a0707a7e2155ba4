// What an extraction is about, found out from the index alone: every entry below the wanted paths,
// which of them are names of one file, and which bytes of which streams their content is.
#pragma once

#include "btrfs/index/catalogue.hh"
#include "btrfs/index/node.hh"
#include "btrfs/index/stream_ranges.hh"
#include "engine/result.hh"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bts3::app {

struct extract_entry {
  std::string path;
  btrfs::index::node_id id = btrfs::index::no_node;
  bool above = false;  // a directory on the way to what is wanted, and no part of it
};

struct extract_link {
  std::string existing;
  std::string path;
};

struct extract_selection {
  // Each before what is in it. Those above the wanted paths are among them.
  std::vector<extract_entry> directories;
  std::vector<extract_entry> files;     // in the order in which their content lies
  std::vector<extract_entry> specials;  // symbolic links, fifos, sockets, devices
  std::vector<extract_link> links;      // further names of the two before

  std::uint64_t content_bytes = 0;   // of files, without holes
  btrfs::index::stream_set streams;  // what has to be read
  [[nodiscard]] std::uint64_t entries() const {
    return directories.size() + files.size() + specials.size() + links.size();
  }
};

// Of a path that does not exist: not_found. An index that makes no sense is of reason integrity.
// `links`: how many the chain has. Paths are as the index has them; the subvolume itself is "".
engine::result<extract_selection> select_entries(btrfs::index::catalogue& in,
                                                 btrfs::index::link_number at,
                                                 std::vector<std::string> paths,
                                                 btrfs::index::link_number links);

// The extents of a file, in order; reason integrity where they are none that a file of this size
// can have.
engine::result<std::vector<btrfs::index::extent>> extents_of_file(btrfs::index::catalogue& in,
                                                                  const btrfs::index::node& file,
                                                                  btrfs::index::link_number at);

}  // namespace bts3::app
