// Whether the backups that are verified could be received (app/proof/chain_proof.hh): chain by
// chain, and what that means for each backup.
#pragma once

#include "app/cli/cli.hh"
#include "app/store/identity_source.hh"
#include "app/store/services.hh"
#include "app/upkeep/known_verifications.hh"
#include "app/upkeep/verify_report.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/generations.hh"
#include "s3/verbs/object_store.hh"

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace bts3::app {

class chain_proofs {
 public:
  // Of backups of a subvolume whose manifests are in `all`. Null `identities`: nobody has any.
  // References must outlive it.
  chain_proofs(const services& with, s3::object_store& store, const planner::inventory& all,
               identity_source* identities);

  // Each chain of the outcome's backups, the newest last; of links that several share, once.
  // Failures are in what is found; the only error is a stop. `received` may be empty.
  engine::task<engine::result<void>> run(const verify_outcome& of, const verify_command& command,
                                         std::string trusted_signers,
                                         std::function<std::uint64_t()> received);
  // Whether the index of the backup with this manifest was read, and is as recorded.
  [[nodiscard]] bool has_read(const std::string& key) const { return _read.contains(key); }
  // Into the backups of `outcome` and the record, with a log line for what is refused or failed.
  // Also of a run without a proof: what an earlier one has found.
  void apply(verify_outcome& outcome, const verify_command& command,
             known_verifications& known) const;

 private:
  engine::task<engine::result<void>> prove(std::vector<std::string> chain,
                                           const verify_command& command,
                                           std::string trusted_signers,
                                           std::function<std::uint64_t()> received);
  [[nodiscard]] bool anything_to_ask(const std::vector<std::string>& chain,
                                     const std::string& cache_dir) const;
  void take_refusal(verify_outcome& outcome, verified_backup& one,
                    known_verifications& known) const;

  const services& _with;
  s3::object_store& _store;
  const planner::inventory& _all;
  identity_source* _identities;
  std::string _subvolume;
  std::map<std::string, receivability> _found;  // by key of the manifest
  std::set<std::string> _read;
};

}  // namespace bts3::app
