// What a child of btrfs-progs that failed has to say.
#pragma once

#include "engine/child_process.hh"
#include "engine/error.hh"

#include <string_view>

namespace bts3::btrfs {

// Of `what` ("`btrfs send`"): how it ended, and its stderr on one line.
[[nodiscard]] engine::error child_failure(std::string_view what, const engine::child_exit& end);

}  // namespace bts3::btrfs
