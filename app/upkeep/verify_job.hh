// The verify command: whether what is in the bucket is what the manifests say was put there.
//
//   --quick   one listing, every manifest read, and where the store knows GetObjectAttributes one
//             request a chunk: objects, sizes, storage classes, checksums. Nothing is downloaded.
//   --deep    every chunk of every backup downloaded, its parts hashed and its stream understood,
//             in the memory of a restore and without receiving.
//   --sample  so many parts downloaded and hashed, beginning behind those of the run before, the
//             oldest backup first and around again, so that everything is read in time.
//
// Every mode begins with the comparison of the listing, and with that of the manifests in it with
// what the record and the state know: a backup that was there, is gone, and was not deleted by
// prune is a difference, and where there is nothing at all, nothing was verified. Changes nothing
// in the bucket and takes no lock; a backup that is made meanwhile is verified by the next run.
// Archived objects are named, and not read. What was found is kept in the local record
// (verify_record.hh), after each backup.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/records/verify_record.hh"
#include "app/store/services.hh"
#include "app/survey/bucket_inventory.hh"
#include "app/text/progress.hh"
#include "app/upkeep/verify_parts.hh"
#include "app/upkeep/verify_report.hh"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace bts3::app {

// Prints to standard output. Exit status: `verification` when a difference was found; `failed` or
// `partly` when subvolumes or backups could not be verified; `not_thawed` when archived ones were
// not read; else `done`.
engine::task<engine::result<exit_status>> run_verify(const services& with, verify_command command);

// What the outcomes make the exit status.
[[nodiscard]] exit_status status_of(const std::vector<verify_outcome>& all);

// What the store can do, as far as it has shown it.
struct store_abilities {
  std::string no_attributes;  // why it is not asked for attributes any more; empty: it is
};

// One subvolume. References must outlive it. Once.
class subvolume_verifier {
 public:
  subvolume_verifier(const services& with, s3::object_store& store, store_abilities& abilities,
                     verify_command command, std::string subvolume);

  // Fails when it is stopped or its record cannot be written; everything else is in the outcome.
  engine::task<engine::result<void>> run();

  [[nodiscard]] verify_outcome& outcome() { return _outcome; }
  // Before run(), for its progress: " (2 of 5)", and what counts all that the store sends.
  void shows(std::string place, std::function<std::uint64_t()> received) {
    _which_of = std::move(place);
    _received = std::move(received);
  }

 private:
  std::string _which_of;
  std::function<std::uint64_t()> _received;
  engine::task<engine::result<void>> look();
  void find_gone();
  void forget_gone();
  engine::result<void> choose(const std::string& current);
  void compare_listing(verified_backup& one) const;
  engine::task<engine::result<void>> compare_checksums(verified_backup& one);
  engine::task<engine::result<void>> compare_checksum(verified_backup& one,
                                                      planner::chunk_record chunk);
  engine::task<engine::result<void>> run_quick();
  engine::task<engine::result<void>> run_deep();
  engine::task<engine::result<void>> read_deep(verified_backup& one, progress& shown);
  engine::task<engine::result<void>> run_sample();
  struct sample_share;
  [[nodiscard]] std::vector<sample_share> choose_sample() const;
  engine::task<engine::result<void>> read_sample(sample_share share);
  engine::task<engine::result<std::vector<located_chunk>>> find_chunks(verified_backup& one);
  engine::result<void> take_failure(verified_backup& one, engine::error failure) const;
  void remember(const verified_backup& one, verification_kind kind, bool sound);
  void remember_listing();
  engine::task<engine::result<void>> save();
  void judge();
  void conclude();

  const services& _with;
  s3::object_store& _store;
  store_abilities& _abilities;
  verify_command _command;
  std::string _place;
  planner::inventory _all;
  verified_subvolume _known;
  verified_subvolume _saved;                 // as much of it as is in the record
  std::map<std::string, std::string> _gone;  // keys of manifests, and what was known of them
  verify_outcome _outcome;
};

}  // namespace bts3::app
