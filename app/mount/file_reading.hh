// Bytes of files, as their extents say where they come from: holes as zeros, the rest out of the
// cache of pieces, with what a reader who goes forwards will want begun ahead.
#pragma once

#include "app/mount/piece_cache.hh"
#include "app/mount/read_ahead.hh"
#include "app/mount/tree_desk.hh"
#include "btrfs/index/node.hh"
#include "engine/async_scope.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace bts3::app {

// A file that somebody has open.
struct open_file {
  btrfs::index::node at;
  read_ahead ahead;
};

class file_reading {
 public:
  // Of pieces that one read holds at a time.
  static constexpr std::uint64_t pieces_bytes_max = std::uint64_t{2} << 20;
  // The extents of so much of a file are asked for at once, and
  static constexpr std::uint64_t window_bytes = std::uint64_t{16} << 20;
  // so many are kept: 6 MB.
  static constexpr std::size_t extents_max = 65'536;

  // `at` of the chain's links is shown. References must outlive it.
  file_reading(engine::reactor& loop, tree_desk& desk, piece_cache& pieces,
               btrfs::index::link_number at);

  // As much of [offset, offset + size) as the file has. Reason integrity or not_thawed where that
  // cannot be, else the store's error; `cancelled` when stopped.
  engine::task<engine::result<std::vector<std::byte>>> read(std::shared_ptr<open_file> file,
                                                            std::uint64_t offset, std::size_t size,
                                                            engine::stop_token stop);
  // Waits for what was begun ahead; nothing may be asked any more.
  engine::task<void> close();

 private:
  using extents = std::shared_ptr<const extent_list>;
  engine::task<engine::result<extents>> window_of(btrfs::index::node file, std::uint64_t number);
  engine::task<engine::result<extent_list>> extents_of(btrfs::index::node file, byte_range what);
  engine::task<engine::result<void>> fill(std::vector<std::byte>& room, extent_list all,
                                          byte_range what, engine::stop_token stop);
  engine::task<void> begin(std::shared_ptr<open_file> file, byte_range what);
  [[nodiscard]] std::uint64_t window_max(const open_file* reader);

  engine::reactor& _loop;
  tree_desk& _desk;
  piece_cache& _pieces;
  btrfs::index::link_number _at;
  engine::async_scope _scope;
  std::map<std::pair<btrfs::index::node_id, std::uint64_t>, extents> _windows;
  std::deque<std::pair<btrfs::index::node_id, std::uint64_t>> _oldest;
  std::size_t _extents_kept = 0;
  std::deque<const open_file*> _readers;  // of the last reads, compared only
};

}  // namespace bts3::app
