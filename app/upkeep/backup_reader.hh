// Reading a backup's chunks to verify them: all of them, with their stream, or some parts.
#pragma once

#include "app/store/backup_key.hh"
#include "app/store/identity_source.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "app/text/progress.hh"
#include "app/upkeep/verify_parts.hh"
#include "app/upkeep/verify_report.hh"
#include "engine/error.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/generations.hh"
#include "s3/verbs/object_store.hh"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

// What reading parts came to; bytes are read also where it failed.
struct sample_reading {
  std::uint64_t bytes = 0;
  std::vector<verify_finding> findings;
  std::optional<engine::error> failure;
};

class backup_reader {
 public:
  // Of a subvolume whose manifests are in `all`. Null `identities`: nobody has any. References must
  // outlive it.
  backup_reader(const services& with, s3::object_store& store, const planner::inventory& all,
                identity_source* identities = nullptr)
      : _with(with), _store(store), _all(all), _identities(identities) {}

  // Downloads the backup with this manifest, hashes its parts and follows its stream, in the memory
  // of a restore: the bytes. Of a sealed one, as it is stored, and its stream where identities open
  // it: that they do not, or its keys object is missing, is an error before anything is downloaded.
  // Reason integrity for damage, not_thawed where something is archived.
  engine::task<engine::result<std::uint64_t>> read_all(std::string key, progress& shown);

  // The same of some parts. An error is what kept all from being read.
  engine::task<engine::result<sample_reading>> read_parts(std::string key,
                                                          std::vector<part_place> wanted);

 private:
  engine::task<engine::result<std::vector<located_chunk>>> find_chunks(std::string key);
  engine::task<engine::result<std::shared_ptr<const backup_key>>> find_key(std::string key);

  const services& _with;
  s3::object_store& _store;
  const planner::inventory& _all;
  identity_source* _identities;
};

}  // namespace bts3::app
