// What reading some ranges of a chain's streams takes: bytes, objects, thawing, hours, money. Found
// out before anything is read; --dry-run prints it.
#pragma once

#include "app/download/chain_ranges.hh"
#include "app/download/chain_thaw.hh"
#include "app/prices/restore_prices.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "btrfs/index/stream_ranges.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bts3::app {

struct reading_plan {
  std::vector<located_chunk> chunks;  // that hold anything of it
  std::uint64_t bytes = 0;            // read of them, with what lies between
  std::uint64_t requests = 0;
  planned_thaw thaw;
  planned_time time;
  restore_cost cost;  // where it is told
};

// Locates the chunks. `with_cost`: reads the table of prices, too. Errors as chain_ranges::locate()
// has them. References must outlive the task.
engine::task<engine::result<reading_plan>> plan_reading(
    const services& with, s3::object_store& store, chain_ranges& ranges,
    std::vector<btrfs::index::stream_range> wanted, thaw_policy policy, bool forgive,
    bool with_cost);

// Lines for people, each indented, as in the plan of a restore.
[[nodiscard]] std::string text_of(const reading_plan& plan);

}  // namespace bts3::app
