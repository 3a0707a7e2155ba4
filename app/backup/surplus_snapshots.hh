// Snapshots of a subvolume that are not needed any more.
#pragma once

#include "app/backup/backup_common.hh"
#include "app/survey/observer.hh"
#include "engine/task.hh"

#include <string>

namespace bts3::app {

// Keeps the newest `snapshots.retain` that a manifest describes or the earlier tool left, and the
// one named `newest`, which is the next backup's parent. What nothing explains is reported.
// Failures are logged.
engine::task<void> remove_surplus_snapshots(backup_common& common, const subvolume_view& view,
                                            std::string newest);

}  // namespace bts3::app
