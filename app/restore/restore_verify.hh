// What a restore proves beyond the digests of its parts, before the target is made.
//
// Identity: each received subvolume carries the UUID that its manifest records, and is read-only.
// Content: the last one equals the backup's snapshot, where that is on this host; where it is not,
// the log says what was proven instead.
#pragma once

#include "app/cli/choices.hh"
#include "app/store/chain_reader.hh"
#include "app/store/services.hh"
#include "btrfs/identity.hh"
#include "btrfs/receive_workspace.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <optional>
#include <string>

namespace bts3::app {

[[nodiscard]] btrfs::recorded_identity identity_of(const planner::snapshot_record& snapshot);

// The snapshot that was sent for this backup, if it is on this host by the identity rule: where the
// manifest says, or under its name in snapshots.base_dir.
struct source_finding {
  std::string path;     // empty: not here
  std::string because;  // why not
};
[[nodiscard]] source_finding find_source(const services& with, const planner::manifest& backup);

// Reason integrity when `received` is not the snapshot that `link` describes. (What it was made
// from is the workspace's to tell.)
engine::result<void> verify_identity(const chain_link& link, const btrfs::subvolume_info& received);

// Compares on a thread of its own, with progress. Reason integrity, naming the first difference.
engine::task<engine::result<void>> verify_content(const services& with, verify_mode mode,
                                                  std::string subvolume, std::string source,
                                                  std::string received);

}  // namespace bts3::app
