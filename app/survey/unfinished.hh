// Backups that an earlier run left unfinished: what is known of one, and undoing it.
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

// Aborts the uploads and deletes the objects of a backup whose manifest was never written: the
// uploads that the journal names, and what a listing finds under its keys, which carry the backup's
// time and tag, so that what the journal missed is found too. A store that does not let us list
// open uploads, or does not know how, is no failure. `record` must outlive it. `second_writer`: the
// manifest at its key is another's. Keys without a tag (older versions') may then be the other's
// too, and only the uploads that the journal names are aborted.
engine::task<engine::result<void>> remove_unfinished_objects(const services& with,
                                                             store_connection& connection,
                                                             const journal_record& record,
                                                             bool second_writer);

// Deletes the snapshot that the journal names, when it is that one and not another of its name.
engine::task<engine::result<void>> remove_unfinished_snapshot(const services& with,
                                                              const journal_record& record);

// Deletes a snapshot; while a sender that was stopped has not let go of it, the kernel refuses with
// EPERM, and this waits for 2 s at most.
engine::task<engine::result<void>> remove_snapshot(const services& with, std::string path);

}  // namespace bts3::app
