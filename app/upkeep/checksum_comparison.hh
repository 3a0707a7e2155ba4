// The store's own checksums of objects against the manifests': one request a chunk, and nothing is
// downloaded.
#pragma once

#include "app/store/services.hh"
#include "app/upkeep/verify_report.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/generations.hh"
#include "s3/verbs/object_store.hh"

#include <cstdint>
#include <string>

namespace bts3::app {

// What the store can do, as far as it has shown it.
struct store_abilities {
  std::string no_attributes;  // why it is not asked for attributes any more; empty: it is
};

class checksum_comparison {
 public:
  // Of a subvolume whose objects are in `all`. `abilities` is all subvolumes'. References must
  // outlive it.
  checksum_comparison(const services& with, s3::object_store& store, store_abilities& abilities,
                      const planner::inventory& all)
      : _with(with), _store(store), _abilities(abilities), _all(all) {}

  // Whether the store answers, as far as it has been asked.
  [[nodiscard]] bool works() const { return _abilities.no_attributes.empty(); }

  // Adds to the findings of `one`, which must outlive it. A store that does not answer is no error:
  // it is not asked again.
  engine::task<engine::result<void>> compare(verified_backup& one);

  [[nodiscard]] std::uint64_t compared() const { return _compared; }  // checksums, so far

 private:
  engine::task<engine::result<void>> compare_chunk(verified_backup& one,
                                                   planner::chunk_record chunk);

  const services& _with;
  s3::object_store& _store;
  store_abilities& _abilities;
  const planner::inventory& _all;
  std::uint64_t _compared = 0;
};

}  // namespace bts3::app
