// What is kept of a link under way (kept_parts.hh), for one restore: whether anything is, and what
// its plan tells of that.
#pragma once

#include "app/records/kept_parts.hh"
#include "app/restore/restore_request.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "btrfs/receive_workspace.hh"
#include "engine/task.hh"

#include <cstddef>
#include <memory>

namespace bts3::app {

// For the links of `plan` from `first` on. Null where nothing is kept: without a spool, or
// `with_spool`, where the budget is for chunks that have to wait there until they are verified.
// What --discard is about is removed, and what was kept where no link is to be received any more.
// References must outlive it.
engine::task<std::unique_ptr<kept_parts>> open_kept_parts(const services& with,
                                                          const restore_request& request,
                                                          const restore_plan& plan,
                                                          std::size_t first, bool with_spool);

// Sets kept_bytes, keep_limit_bytes and unkept_bytes_max. Changes nothing else, nor on disk.
void plan_kept_parts(const services& with, const restore_request& request,
                     const btrfs::target_report& target, restore_plan& plan);

}  // namespace bts3::app
