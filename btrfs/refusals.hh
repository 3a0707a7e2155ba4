// Why Btrfs refuses a snapshot or a subvolume, in words: what errno stands for there, and what
// helps.
#pragma once

#include "engine/error.hh"

#include <string>
#include <vector>

namespace bts3::btrfs {

// Swap files that are in use and lie in the subvolume at `path` itself; it can then not be
// snapshotted. `list` is what /proc/swaps is for. Empty also where that cannot be read.
std::vector<std::string> active_swapfiles(const std::string& path,
                                          const std::string& list = "/proc/swaps");

// Whether the file or directory has the attribute +i.
bool is_immutable(const std::string& path);

// The error from errno value `err` of making a snapshot of `source` in the directory `parent`;
// `what` begins its message.
engine::error snapshot_refusal(int err, const std::string& what, const std::string& source,
                               const std::string& parent);

// Of deleting the subvolume at `path`.
engine::error deletion_refusal(int err, const std::string& path);

// The error of a `btrfs receive` that ended for want of room below `parent`, the target's
// directory: says whether a quota or the filesystem is used up, and what helps. Others come back as
// they are.
engine::error receive_failure(engine::error failure, const std::string& parent);

// What helps where a write to `path` fails with `err` for want of room; empty for other errors.
std::string room_remedy(int err, const std::string& path);

}  // namespace bts3::btrfs
