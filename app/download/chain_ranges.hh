// Bytes of the streams of a chain, wherever they are wanted, out of the chunks in the bucket:
// ranged GETs in place of whole parts.
//
// Bytes of a sealed link are opened here, whole segments at a time, and are authentic or an error.
// Those of a plain one are as they came: whoever knows their checksums compares them.
#pragma once

#include "app/download/chain_thaw.hh"
#include "app/download/verified_parts.hh"
#include "app/store/backup_key.hh"
#include "app/store/chain_reader.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "btrfs/index/stream_ranges.hh"
#include "engine/age/part_stanza.hh"
#include "engine/reactor.hh"
#include "planner/stream_places.hh"
#include "s3/verbs/object_store.hh"
#include "s3/verbs/ranged_download.hh"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

namespace bts3::app {

// A link whose stream can be read.
struct readable_link {
  const chain_link* link = nullptr;
  std::shared_ptr<const backup_key> key;  // null: it is plain
  std::uint32_t stream_version = 1;
};

// Bytes of a stream in memory, on their way from how they are stored.
struct fetched_range {
  std::unique_ptr<std::byte[]> memory;
  std::size_t bytes = 0;  // in it
  std::vector<planner::stored_range> pieces;
  // For each piece of a sealed link, the beginning of its part.
  std::vector<std::array<std::byte, age::part_segments_at>> heads;
};

// What reading takes of one chunk.
struct chunk_use {
  std::string storage_class;
  std::uint64_t bytes = 0;
  std::uint64_t requests = 0;  // HEAD and GETs
};

class chain_ranges {
 public:
  // From the full on; references, and what is pointed to, must outlive it.
  chain_ranges(const services& with, s3::object_store& store, std::vector<readable_link> links);

  // Asks for the chunks that hold these, a HEAD each, once. Reason integrity where one is missing
  // or has another size, or where a range is none of its stream; with `forgive`, ranges of such a
  // chunk are errors when they are fetched.
  engine::task<engine::result<void>> locate(std::vector<btrfs::index::stream_range> wanted,
                                            bool forgive);
  // Those that were found, in the order of reading.
  [[nodiscard]] std::vector<located_chunk> located() const;
  // Of those, the ones that hold a range; until the next locate().
  [[nodiscard]] std::vector<const located_chunk*> chunks_of(
      const btrfs::index::stream_range& range) const;
  // What reading `wanted` takes of those, neighbours merged.
  [[nodiscard]] std::vector<chunk_use> uses_of(
      const std::vector<btrfs::index::stream_range>& wanted) const;
  // From now on only bytes of parts that are whole as their manifest records them are given out:
  // each part of which anything is wanted is read and compared. Before locate(), which then refuses
  // chunks without states of parts (reason configuration).
  void verify_parts() { _whole_parts = true; }
  // Copies that expire meanwhile are thawed again. Must outlive it.
  void thaw_by(chain_thaw* thaw) { _thaw = thaw; }

  // Reads what holds `range`, which was located. Reason integrity where that cannot be; else the
  // store's errors.
  engine::task<engine::result<fetched_range>> fetch(btrfs::index::stream_range range,
                                                    bool fresh_connections);
  // Its bytes. Any thread. Reason integrity where a segment is not the one that it should be.
  [[nodiscard]] engine::result<std::span<const std::byte>> open(
      const btrfs::index::stream_range& range, fetched_range& from) const;

  [[nodiscard]] btrfs::index::link_number links() const {
    return static_cast<btrfs::index::link_number>(_links.size());
  }
  [[nodiscard]] std::uint32_t stream_version(btrfs::index::link_number link) const {
    return _links[link - 1].from.stream_version;
  }
  // Of all GETs.
  [[nodiscard]] std::uint64_t bytes_read() const { return _bytes_read; }
  [[nodiscard]] std::uint64_t requests() const { return _requests; }

 private:
  struct chunk_state {
    std::optional<located_chunk> found;
    std::unique_ptr<s3::ranged_download> object;
    std::optional<engine::error> lost;
  };
  struct link_state {
    readable_link from;
    planner::outcome<planner::stream_places> places;
    std::map<std::size_t, chunk_state> chunks;
  };
  // Of a part: link, chunk, part.
  using part_name = std::tuple<btrfs::index::link_number, std::size_t, std::uint32_t>;

  engine::result<std::vector<planner::stored_range>> places(
      const btrfs::index::stream_range& range) const;
  engine::task<engine::result<void>> locate_chunk(btrfs::index::link_number link, std::size_t chunk,
                                                  bool forgive);
  engine::result<void> prepare_parts();
  void add_part_uses(const planner::chunk_record& chunk, const planner::stored_range& piece,
                     std::uint64_t request_bytes, std::set<std::uint64_t>& counted,
                     chunk_use& use) const;
  engine::task<engine::result<void>> get(btrfs::index::link_number link, std::size_t chunk,
                                         std::uint64_t offset, std::span<std::byte> into,
                                         bool fresh_connection);
  engine::task<engine::result<void>> get_stored(btrfs::index::link_number link, std::size_t chunk,
                                                std::uint64_t offset, std::span<std::byte> into,
                                                bool fresh_connection);
  void keep_head(const part_name& part, std::span<const std::byte> head);

  const services& _with;
  s3::object_store& _store;
  std::vector<link_state> _links;
  chain_thaw* _thaw = nullptr;
  bool _whole_parts = false;
  std::optional<verified_parts> _parts;
  // The beginnings of parts, by which their segments are opened: 528 bytes each.
  std::map<part_name, std::array<std::byte, age::part_segments_at>> _heads;
  std::uint64_t _bytes_read = 0;
  std::uint64_t _requests = 0;
};

}  // namespace bts3::app
