// How large a stream will be, roughly, before it is sent.
#pragma once

#include "btrfs/subvolume.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

namespace bts3::btrfs {

struct estimate_request {
  std::string path;                      // of a subvolume
  std::optional<subvolume_info> parent;  // of an incremental
  bool compressed_data = false;          // extents are sent as they lie on the disk
};

struct size_estimate {
  std::uint64_t bytes = 0;
  // There may be more: data that is cloned into a file which the parent has too is not seen.
  bool at_least = false;
};

// Bytes of data that `btrfs send` will have to send, by the extents that files refer to: all for a
// full; for an incremental those written after the parent was made, and older ones in newer files
// where the parent has not got the extent (a `mv` from another subvolume). What is sent as a clone
// counts once; names, attributes and deletions do not count. Ends early with `cancelled` on a stop.
// Syncs the filesystem, reads the subvolume's tree, or what changed of it, on a thread; memory is
// bounded, 8 MiB.
engine::task<engine::result<size_estimate>> estimate_stream(engine::reactor& loop,
                                                            estimate_request request,
                                                            engine::stop_token stop);
// The same on this thread.
engine::result<size_estimate> estimate_stream(const estimate_request& request,
                                              const std::atomic<bool>& stop);

}  // namespace bts3::btrfs
