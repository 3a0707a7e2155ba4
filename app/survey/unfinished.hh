// Backups that an earlier run left unfinished: what is known of one. Changes nothing.
#pragma once

#include "app/records/journal_record.hh"
#include "app/store/services.hh"
#include "app/survey/observer.hh"
#include "btrfs/processes.hh"
#include "planner/timestamp.hh"
#include "planner/unfinished.hh"

#include <chrono>
#include <optional>
#include <set>
#include <string>

namespace bts3::app {

// How a stream is made and cut: a resumed one must be the same.
struct stream_settings {
  int protocol = 1;
  bool compressed_data = false;
  std::vector<std::string> sealed_for;  // fingerprints of its recipients; empty: it is not sealed
};

// As configured, "auto" being the newest that this host can send.
stream_settings stream_settings_of(const config& settings, const btrfs::capabilities& host);

struct unfinished_finding {
  planner::unfinished_backup facts;
  std::optional<stored_pointer> pointer;      // as it is now; of a damaged one text and tag
  std::optional<planner::manifest> manifest;  // of this backup, when it was written
  std::optional<btrfs::snapshot> snapshot;    // by the identity rule
};

// Whether the journal's endpoint, bucket and keys are the configured ones; empty when they are.
std::string place_problem(const services& with, const journal_record& record);

// Times of all backups in the making on this host, by its journals, those set aside included. A
// journal that cannot be read is an error: what it protects is not known.
engine::result<std::set<planner::timestamp>> backups_in_the_making(const services& with);

// How old what no backup names must be to be an orphan: what a backup may still be resumed from is
// none.
std::chrono::seconds orphan_grace(const config& settings);

// Looks at the place that `connection` leads to, which must be the journal's, and at the local
// snapshot. `view`: of the same subvolume; null when it is not configured or its place differs.
// Whose a manifest is, its snapshot's UUID says, never its key alone. What cannot be read is an
// error; what is damaged in the bucket is a fact (second_look.hh).
engine::task<engine::result<unfinished_finding>> examine_unfinished(const services& with,
                                                                    store_connection& connection,
                                                                    journal_record record,
                                                                    const subvolume_view* view,
                                                                    stream_settings settings);

}  // namespace bts3::app
