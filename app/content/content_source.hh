// What `cat` and `extract` have in common: a backup that is open, as something whose streams can be
// read.
#pragma once

#include "app/download/chain_ranges.hh"
#include "app/files/opened_backup.hh"
#include "engine/result.hh"

#include <vector>

namespace bts3::app {

// The chain of `backup`, which must outlive it. Of sealed links the keys, as far as they are open:
// without, they can be looked at and not read.
[[nodiscard]] engine::result<std::vector<readable_link>> readable_links(opened_backup& backup);

}  // namespace bts3::app
