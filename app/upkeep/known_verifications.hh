// What the record knows of one subvolume's backups, while a verification reads it and adds to it.
#pragma once

#include "app/records/verify_record.hh"
#include "app/store/services.hh"
#include "app/upkeep/verify_report.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/generations.hh"

#include <map>
#include <string>
#include <vector>

namespace bts3::app {

class known_verifications {
 public:
  // References must outlive it.
  known_verifications(const services& with, std::string subvolume);

  // Before everything else. A record that makes no sense is told, and written anew.
  void load();

  // Manifests that were there by the record, or, where the backups are this host's own (`own`), by
  // the state, and are not in `all` without prune's doing; each with what was known of it.
  std::map<std::string, std::string> gone_from(const planner::inventory& all, bool own);
  // It is not missed any more.
  void forget(const std::string& key);

  // A problem of that backup that verifications stronger than `kind` have found and none has
  // refuted, proofs left out; null: none.
  [[nodiscard]] const verification* problem_beyond(const std::string& key,
                                                   verification_kind kind) const;

  // What a proof has found and nothing has refuted; null: nothing.
  [[nodiscard]] const verification* refusal_of(const std::string& key) const;
  // What the proof of this run says of that backup: why `btrfs receive` would refuse it; empty: it
  // would not, whatever an earlier one has found.
  void remember_proof(const std::string& key, const std::string& refused);

  [[nodiscard]] const sample_cursor& cursor() const { return _known.cursor; }
  void set_cursor(sample_cursor cursor) { _known.cursor = std::move(cursor); }

  // That this run has verified it; when not `sound`, by its findings.
  void remember(const verified_backup& one, verification_kind kind, bool sound);
  // What is missing or cut is no matter of samples, which leave such backups out: it is what quick
  // finds, and goes when a listing no longer shows it. What else quick has found stays: checksums
  // are not compared here.
  void remember_listing(const std::vector<verified_backup>& backups);

  // What the whole of a run comes to. `everything`: it was about all backups.
  void conclude(const planner::inventory& all, const verify_outcome& outcome,
                verification_kind kind, bool everything);

  // Durable, merged with what another run may have written meanwhile, also about this subvolume.
  engine::task<engine::result<void>> save();

 private:
  [[nodiscard]] planner::timestamp now() const;

  const services& _with;
  std::string _subvolume;
  std::string _place;
  verified_subvolume _known;
  verified_subvolume _saved;  // as much of it as is in the record
};

// Damage that this run has found itself.
[[nodiscard]] bool is_found(const verify_finding& finding);
[[nodiscard]] bool found_damaged(const verified_backup& one);

}  // namespace bts3::app
