// Questions of whoever walks a tree step by step, as a filesystem is asked: one name, a page of a
// directory, the extents of a part of a file. Each takes memory for its answer alone.
#pragma once

#include "btrfs/index/catalogue.hh"
#include "btrfs/index/extent_map.hh"
#include "btrfs/index/node.hh"
#include "engine/result.hh"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::btrfs::index {

// What is called `name` in a directory; nullopt: nothing is.
engine::result<std::optional<node>> look_up(catalogue& in, node_id directory, std::string_view name,
                                            link_number at);

// The directory that a directory is in; the root's is the root.
engine::result<node_id> directory_above(catalogue& in, node_id directory, link_number at);

// At most `count` entries of a directory in the order of their names' bytes: those behind the name
// `after`, or where that is nullopt those behind the first `skip`.
engine::result<std::vector<entry>> page_of(catalogue& in, node_id directory, link_number at,
                                           const std::optional<std::string>& after,
                                           std::uint64_t skip, std::size_t count);

// The extents of a file that hold anything of [begin, end), in order. Reason integrity where they
// are none that a file of this size can have.
engine::result<std::vector<extent>> extents_within(catalogue& in, const node& file, link_number at,
                                                   std::uint64_t begin, std::uint64_t end);

// Where `looked_for` data, else a hole, begins at or after `offset`, which is within the file; the
// file's end counts as a hole. Nullopt: there is no data any more.
engine::result<std::optional<std::uint64_t>> next_of(catalogue& in, const node& file,
                                                     link_number at, std::uint64_t offset,
                                                     bool data);

// How many bytes of a file are no holes. Of a file of more than 10,000 extents, which would take
// milliseconds each time: its size.
engine::result<std::uint64_t> stored_bytes(catalogue& in, const node& file, link_number at);

}  // namespace bts3::btrfs::index
