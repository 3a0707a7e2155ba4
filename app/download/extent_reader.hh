// The content of files, as extents of an index say where it is: verified, unpacked, given out.
//
// Neighbouring commands are read in one request, several requests at a time. A command whose
// checksum is wrong, and a segment that does not open, are fetched again, twice, on new
// connections; what stays wrong is narrowed down, half by half, so that a damaged byte costs the
// extents that need it and no others.
//
// Memory: at most concurrency requests of 8 MiB each, and what they unpack to one extent at a time.
// An extent that several want at once is unpacked once.
#pragma once

#include "app/download/chain_ranges.hh"
#include "btrfs/index/extent_map.hh"
#include "btrfs/index/stream_ranges.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace bts3::app {

// Extents that are read together, by their indexes.
using extent_list = std::vector<btrfs::index::extent>;
// What became of each: nullopt where it was given out, else why it cannot be had.
using extent_outcomes = std::vector<std::optional<engine::error>>;

class extent_reader {
 public:
  // Takes the bytes of extent `index`, each once, in any order. Called on threads beside the
  // reactor's, several at a time. An error of it ends the reading.
  using taker = std::function<engine::result<void>(std::size_t index, std::span<const std::byte>)>;

  // References must outlive it.
  extent_reader(const services& with, chain_ranges& ranges) : _with(with), _ranges(ranges) {}

  // Of extents whose commands were located. Errors are those of the store, of `take`, and of a
  // stop; what is damaged is in the outcomes.
  engine::task<engine::result<extent_outcomes>> read(extent_list extents, taker take);

  // Requests that gave what was damaged.
  [[nodiscard]] std::uint64_t damaged() const { return _damaged; }

 private:
  struct reading;
  engine::task<engine::result<void>> read_range(reading& all, std::vector<std::size_t> wanted,
                                                int attempts);
  engine::task<engine::result<std::optional<engine::error>>> try_range(
      reading& all, const std::vector<std::size_t>& wanted, bool fresh_connections);

  const services& _with;
  chain_ranges& _ranges;
  std::uint64_t _damaged = 0;
};

}  // namespace bts3::app
