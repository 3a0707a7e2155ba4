// Verifying one subvolume's backups: what the listing shows, and what the depth that was asked for
// adds to that (verify_job.hh).
#pragma once

#include "app/cli/cli.hh"
#include "app/store/services.hh"
#include "app/survey/inventory.hh"
#include "app/text/progress.hh"
#include "app/upkeep/backup_reader.hh"
#include "app/upkeep/chain_proofs.hh"
#include "app/upkeep/checksum_comparison.hh"
#include "app/upkeep/known_verifications.hh"
#include "app/upkeep/verify_parts.hh"
#include "app/upkeep/verify_report.hh"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace bts3::app {

// One subvolume. References must outlive it. Once.
class subvolume_verifier {
 public:
  subvolume_verifier(const services& with, s3::object_store& store, store_abilities& abilities,
                     verify_command command, std::string subvolume,
                     identity_source* identities = nullptr);

  // Fails when it is stopped or its record cannot be written; everything else is in the outcome.
  engine::task<engine::result<void>> run();

  [[nodiscard]] verify_outcome& outcome() { return _outcome; }
  // Before run(), for its progress: " (2 of 5)", and what counts all that the store sends.
  void shows(std::string place, std::function<std::uint64_t()> received) {
    _which_of = std::move(place);
    _received = std::move(received);
  }

 private:
  identity_source* _identities;
  std::string _which_of;
  std::function<std::uint64_t()> _received;
  engine::task<engine::result<void>> look();
  void forget_gone();
  engine::result<void> choose(const std::string& current);
  void compare_listing(verified_backup& one) const;
  engine::task<engine::result<void>> run_quick();
  engine::task<engine::result<void>> run_deep();
  engine::task<engine::result<void>> read_deep(backup_reader& reader, verified_backup& one,
                                               progress& shown);
  engine::task<engine::result<void>> run_sample();
  engine::task<engine::result<void>> read_sample(verified_backup& one,
                                                 std::vector<part_place> parts);
  engine::result<void> take_failure(verified_backup& one, engine::error failure) const;
  void judge();
  void find_replacement();
  engine::task<engine::result<void>> conclude();

  const services& _with;
  s3::object_store& _store;
  store_abilities& _abilities;
  verify_command _command;
  planner::inventory _all;
  std::map<std::string, signature_finding> _signatures;  // by key of the manifest
  std::string _signers;                                  // a file of those who are trusted
  std::string _current;                                  // the manifest that the pointer names
  known_verifications _known;
  std::map<std::string, std::string> _gone;  // keys of manifests, and what was known of them
  verify_outcome _outcome;
  chain_proofs _proofs;
};

}  // namespace bts3::app
