// Whether the index of a backup is what its manifest says. Nobody needs it to restore the backup,
// so what is wrong with it is a difference, and no damage.
#pragma once

#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/generations.hh"
#include "planner/index_record.hh"
#include "s3/verbs/object_store.hh"

#include <cstdint>
#include <string>

namespace bts3::app {

// Where it is, and what is wrong with it; the problem is empty where nothing is.
struct index_finding {
  std::string key;
  std::string problem;
  std::uint64_t bytes_read = 0;
};

// By the listing.
[[nodiscard]] index_finding compare_index(const planner::inventory& all,
                                          const std::string& manifest_key,
                                          const planner::index_record& recorded);

// By its bytes, read in pieces; also where the listing shows it wrong: that is told then. An
// archived one cannot be read, which is told. Errors: of the store, for other reasons. References
// must outlive the task.
[[nodiscard]] engine::task<engine::result<index_finding>> read_index(
    const services& with, s3::object_store& store, const planner::inventory& all,
    std::string manifest_key, planner::index_record recorded);

}  // namespace bts3::app
