// What `keys check` and `keys rewrap` found and did, for people and machines.
#pragma once

#include "app/cli/exit_status.hh"
#include "app/keys/sealed_backups.hh"
#include "planner/schedule.hh"

#include <cstddef>
#include <string>
#include <vector>

namespace bts3::app {

struct keys_context {
  std::string place;                    // "s3://bucket/prefix"
  std::size_t columns = 0;              // of the terminal; 0: none, lines may be long
  bool dry_run = false;                 // of a rewrap
  std::vector<std::string> recipients;  // of a rewrap: the wanted ones, by their fingerprints
};

// A line for each backup, below one with the counts for each subvolume.
[[nodiscard]] std::string check_as_text(const sealed_backups& found, const keys_context& about,
                                        const planner::time_zone& zone);
[[nodiscard]] std::string rewrap_as_text(const sealed_backups& found, const keys_context& about,
                                         const planner::time_zone& zone);
// {"version": 1, "backups": [...]}.
[[nodiscard]] std::string keys_as_json(const sealed_backups& found, const keys_context& about);

// done: the identities open all of them, or all are sealed for the wanted ones. not_thawed: but for
// archived keys objects. verification: one of them does not open (check); partly, failed: some,
// none of them could be rewritten, or a manifest could not be read.
[[nodiscard]] exit_status status_of_check(const sealed_backups& found);
[[nodiscard]] exit_status status_of_rewrap(const sealed_backups& found);

}  // namespace bts3::app
