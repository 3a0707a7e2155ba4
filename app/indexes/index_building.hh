// The index of a backup that has none, made from its chunks: they are downloaded and verified as
// for a restore, and nothing of them is kept but the index, in a file without a name.
#pragma once

#include "app/indexes/index_cache.hh"
#include "app/indexes/index_download.hh"
#include "app/store/backup_key.hh"
#include "app/store/chain_reader.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "app/text/progress.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "s3/verbs/object_store.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

// What reading the streams of some links takes.
struct building_plan {
  std::size_t links = 0;
  std::uint64_t bytes = 0;           // of their chunks
  std::size_t archived = 0;          // chunks that cannot be read before they are thawed
  std::optional<restore_cost> cost;  // absent where prices cannot be told
};
// By the HEADs of their chunks. References must outlive the task.
engine::task<engine::result<building_plan>> plan_building(const services& with,
                                                          s3::object_store& store,
                                                          const std::vector<chain_link>& links);

// The command that makes those of a chain, in backticks; `key`: of the chain's last manifest.
[[nodiscard]] std::string told_index_build(const std::string& subvolume, const std::string& key);

// `before`: the link's parent, null for a full; `key`: of a sealed link, else null. Reason
// not_thawed, with the remedy, where chunks are archived; integrity for what is damaged.
// References must outlive the task; `shown` may be null.
engine::task<engine::result<stored_index>> build_index(
    const services& with, s3::object_store& store, const index_cache& cache, const chain_link& link,
    const chain_link* before, std::shared_ptr<const backup_key> key, progress* shown);

}  // namespace bts3::app
