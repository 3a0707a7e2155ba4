// manifest.json for the end-to-end harness (integration_tests/), which looks for it in its run
// directory.
#pragma once

#include "planner/manifest.hh"

#include <string>
#include <vector>

namespace bts3::app {

// Names the harness's run directory; unset in every other run.
inline constexpr const char* harness_run_directory = "BTRFS_TO_S3_HARNESS_RUN_DIR";

// {"backup_type": "full", "chunks": [{"index": 0, "key": full key, "sha256": hexadecimal}]}
std::string harness_manifest(planner::backup_kind kind,
                             const std::vector<planner::chunk_record>& chunks);

}  // namespace bts3::app
