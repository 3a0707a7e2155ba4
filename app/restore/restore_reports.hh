// What a restore tells of one subvolume: its result on standard output, and what an interrupted one
// lost.
#pragma once

#include "app/download/download_link.hh"
#include "app/records/kept_parts.hh"
#include "app/restore/restore_request.hh"
#include "app/restore/restore_totals.hh"
#include "app/store/chain_reader.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "btrfs/receive_workspace.hh"
#include "engine/error.hh"

#include <cstddef>
#include <string>

namespace bts3::app {

// The target holds the backup since before. `kept`: whether the snapshot is there that
// --keep-received asks for.
void report_restored_before(const services& with, const restore_request& request,
                            const btrfs::target_report& target, const chain_link& backup,
                            bool kept);

// What one restore did.
struct restore_outcome {
  restore_totals did;             // for this subvolume alone
  std::size_t links_kept = 0;     // of its chain, received by an earlier run
  bool content_verified = false;  // compared with the backup's snapshot
};
void report_restored(const services& with, const restore_request& request, const restore_plan& plan,
                     const restore_outcome& outcome);

// One of several failed, and the others go on.
void report_failed(const services& with, bool json, const std::string& subvolume,
                   const engine::error& failure);

// In the log: what `btrfs receive` made of a link is worth nothing to the next run, what is
// downloaded again and what is not. Nothing when nothing was released. `kept` may be null.
void log_broken_off(const services& with, const chain_link& link, const download_link& download,
                    const kept_parts* kept);

}  // namespace bts3::app
