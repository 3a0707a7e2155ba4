// The backup that is wanted, with its chain, and its chunks as the bucket has them.
#pragma once

#include "app/cli/cli.hh"
#include "app/config/config.hh"
#include "app/store/chain_reader.hh"
#include "app/store/known_manifests.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "planner/chunk_comparison.hh"
#include "s3/verbs/object_store.hh"

#include <string>
#include <vector>

namespace bts3::app {

struct wanted_backup {
  std::string subvolume;
  std::string manifest_key;  // empty: by `at`
  std::string at;            // a point in time as people write it; empty: the current backup
  bool of_bucket = false;    // there is no configuration, for remedies
  // A file of signers, of whom one has to have signed each link; empty: nobody has to.
  std::string trusted_signers;
};

// With restore.trusted_signers_file, where no option names another file.
[[nodiscard]] wanted_backup wanted_by(const config& settings, const backup_selection& selection);

// From the full backup to the chosen one, also in a bucket copied under another prefix: there the
// copy, not its original. Errors: no such backup, a manifest of another subvolume than
// wanted.subvolume, or, where signers are trusted, a link that none of them signed. Where they are
// not, what `known` has of the links before the chosen one is not read from the bucket.
engine::task<engine::result<std::vector<chain_link>>> find_chain(const services& with,
                                                                 s3::object_store& store,
                                                                 wanted_backup wanted,
                                                                 manifests_known known = {});

// "the backup of 2026-01-02T02:04:05Z (2026-01-02 03:04 local)": by both clocks, as one of them was
// asked for.
[[nodiscard]] std::string chosen_text(const chain_link& chosen);

// HEAD of each chunk, at its places (planner::places_of()). One that is missing, or has not the
// recorded size, is an error (reason integrity). `listed`: where there is a listing, in which
// one that a HEAD denies is looked for again. `link` and `listed` must outlive it.
engine::task<engine::result<std::vector<located_chunk>>> locate_chunks(
    const services& with, s3::object_store& store, const chain_link& link,
    const planner::object_listing* listed = nullptr);

}  // namespace bts3::app
