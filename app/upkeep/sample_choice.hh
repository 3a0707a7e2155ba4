// Which parts a sample reads: so many behind those of the run before, the oldest backup first and
// around again, so that everything is read in time.
#pragma once

#include "app/records/verify_record.hh"
#include "app/upkeep/verify_parts.hh"
#include "app/upkeep/verify_report.hh"
#include "planner/generations.hh"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bts3::app {

// Parts of one backup that are read together.
struct sample_share {
  std::size_t backup = 0;
  std::vector<part_place> parts;
  bool from_start = false;  // they, and those that earlier runs read, begin with the first
  bool to_end = false;      // and these end with the last
  std::uint64_t done = 0;   // of all parts that are sampled from, those up to the last of these
  std::uint64_t all = 0;    // so many these are
};

// Of `backups`, whose manifests are in `all`; those that were found damaged are left out. `at`:
// where the run before ended. Fewer than `parts` where there are not so many. In the order of
// reading.
[[nodiscard]] std::vector<sample_share> choose_sample(const planner::inventory& all,
                                                      const std::vector<verified_backup>& backups,
                                                      const sample_cursor& at, std::uint64_t parts);

}  // namespace bts3::app
