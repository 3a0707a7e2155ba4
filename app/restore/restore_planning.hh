// From a chain to a restore_plan: everything that a restore takes, found out before anything is
// downloaded.
#pragma once

#include "app/restore/restore_request.hh"
#include "app/store/chain_reader.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "btrfs/receive_workspace.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "s3/verbs/object_store.hh"

#include <vector>

namespace bts3::app {

// Looks for the chunks of `chain`, full first, in the bucket, for the backup's snapshot and the
// tools on this host, and for what is kept of an interrupted restore. What it costs is only worked
// out for a dry run. Errors: a chunk that is missing or has another size, tools that cannot be
// asked, a table of prices that cannot be read. References must outlive it.
engine::task<engine::result<restore_plan>> plan_restore(const services& with,
                                                        s3::object_store& store,
                                                        const restore_request& request,
                                                        btrfs::target_report target,
                                                        std::vector<chain_link> chain);

}  // namespace bts3::app
