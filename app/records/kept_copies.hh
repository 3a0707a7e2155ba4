// What received copies were when they were made, in a file beside the state: {state}.kept.
//
// `restore --keep-received` leaves a snapshot that is to be the next incremental's parent. Its UUID
// and ctransid are of this filesystem, so no manifest has them, and its received UUID proves
// nothing: it stays when the copy is changed, and snapshots of the copy have it too.
//
// Lines are only ever appended, so that a restore need not wait for a backup that holds the lock:
// "{received UUID} {own UUID} {ctransid}", or "{received UUID} forgotten", which takes back those
// before it. What is no such line is passed over.
#pragma once

#include "btrfs/identity.hh"
#include "engine/result.hh"
#include "planner/manifest.hh"

#include <string>
#include <vector>

namespace bts3::app {

// The copies of the snapshot that `record` describes, newest last. One with a null UUID where the
// file cannot be read.
[[nodiscard]] std::vector<btrfs::known_copy> kept_copies(const std::string& state_path,
                                                         const planner::snapshot_record& record);
// Durable when this returns.
engine::result<void> remember_kept(const std::string& state_path,
                                   const btrfs::subvolume_info& copy);
// Before another copy of the same is made.
engine::result<void> forget_kept(const std::string& state_path, const btrfs::uuid& received);

}  // namespace bts3::app
