// How large a stream will be, roughly, before it is sent.
#pragma once

#include "btrfs/subvolume.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"

#include <cstdint>
#include <string>
#include <string_view>

namespace bts3::btrfs {

// Bytes of data that the subvolume at `path` refers to: every file extent whose tree block was
// written after transaction `since`, as `btrfs subvolume find-new` lists them; 0 for all. For an
// incremental, `since` is the transaction that made the parent. Deletions, metadata and compression
// are not counted, shared extents count each time, so this is a forecast and no bound.
engine::task<engine::result<std::uint64_t>> estimate_stream_bytes(engine::reactor& loop,
                                                                  std::string path,
                                                                  std::uint64_t since,
                                                                  engine::stop_token stop);

// The sum of the lengths in lines of `btrfs subvolume find-new`; lines of other forms count
// nothing. Extents without bytes on disk (holes) are left out.
std::uint64_t sum_of_extents(std::string_view lines);

}  // namespace bts3::btrfs
