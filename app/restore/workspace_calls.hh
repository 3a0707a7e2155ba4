// A receive_workspace's calls that wait for a disk or for its lock, beside the event loop
// (disk_call.hh).
#pragma once

#include "app/restore/restore_request.hh"
#include "app/store/services.hh"
#include "btrfs/receive_workspace.hh"
#include "btrfs/restore_target.hh"
#include "btrfs/restored_mark.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <memory>

namespace bts3::app {

// As receiving_side::open().
engine::task<engine::result<std::unique_ptr<btrfs::receive_workspace>>> open_workspace(
    const services& with, btrfs::target_report target, bool anew);
// As receive_workspace::delete_unrecorded(). `workspace` must outlive it, here and below.
engine::task<engine::result<void>> clean_workspace(engine::reactor& loop,
                                                   btrfs::receive_workspace& workspace);
engine::task<void> close_workspace(engine::reactor& loop, btrfs::receive_workspace& workspace);

// The target is there, whole and durable: marks it as that backup's, and removes what is beside it;
// with one_of_all the records stay. What cannot be removed does not change that, and is told. The
// mark comes first: where it cannot be made, the records stay, and tell instead of it.
engine::task<void> tidy_up(const services& with, const restore_request& request,
                           btrfs::receive_workspace& workspace, btrfs::restored_mark mark);

}  // namespace bts3::app
