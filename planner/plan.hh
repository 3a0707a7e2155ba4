// Whether a backup is due, full or incremental, and why. Pure: everything that the decision rests
// on is a parameter, time and its local rules included.
//
// Reason words are stable and documented in README.md:
//   full         first_backup, pointer_missing, manifest_unusable, chain_broken, chunk_missing,
//                receive_refused, proof_refused, adopted, full_due, full_requested, source_changed,
//                parent_missing, parent_changed
//   incremental  incremental_due, requested
//   skip         not_due
//   stop         foreign_host
// A last backup that cannot be restored is replaced by a full at once, and so is an incremental
// that was found before it was published to be one that cannot be received; a parent that is
// missing or was changed, or a source that is another subvolume, leads to a full when the next
// backup is due.
//
// The time. Where the store's clock and this machine's differ by more than a day, one of them is
// wrong, which is said; the store's counts, for what is due and for the names of a backup, unless
// it is earlier than what has happened (the last run, the last backup) and this machine's is not.
#pragma once

#include "planner/manifest.hh"
#include "planner/schedule.hh"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::planner {

enum class parent_state { missing, changed, present };

// What was found out about one subvolume, in bucket, file system and state file.
struct observation {
  std::string subvolume;
  std::string own_host_id;
  std::string remembered_manifest;    // key of the last backup by the state file; empty: none
  std::optional<timestamp> last_run;  // by the state file

  bool pointer_exists = false;
  std::string pointer_problem;   // why pointer or manifest cannot be read; empty when they can
  std::optional<manifest> last;  // the manifest that the pointer names
  std::string last_key;
  std::vector<timestamp> chain_times;      // of the links, full first; empty when unresolved
  std::vector<std::string> date_problems;  // of links, where what tells their dates contradicts
  std::string chain_problem;  // why the chain does not resolve to a full; empty: it does
  std::string chunk_problem;  // a chunk that is missing or has another size; empty when none
  // A link of the chain that `btrfs receive` has refused, and why; empty when none.
  std::string refused_problem;
  // Why the incremental that this run made could not be received; empty when none was found so.
  std::string unproven_problem;

  // How far the store's clock was ahead of this machine's when it answered; absent: not known.
  std::optional<std::chrono::seconds> store_ahead;
  std::string source_problem;  // why the source is not that of `last`; empty when it is

  parent_state parent = parent_state::missing;
  std::string parent_snapshot;  // path of the local snapshot that is `last`'s, when present
  std::string parent_problem;   // why there is none
};

struct policy {
  schedule when_due;
  bool regardless_of_due = false;       // --once
  bool full = false;                    // --full: one is due now
  bool adopt = false;                   // take over another host's prefix
  std::string own_prefix = "a prefix";  // as people are told of it
};

enum class action { full, incremental, skip, stop };
[[nodiscard]] std::string_view to_string(action what);

struct notice {
  std::string event;  // as it is logged
  std::string sentence;
};

struct plan {
  action what = action::skip;
  std::string reason;           // one word, see above
  std::string sentence;         // for a person
  std::string parent_snapshot;  // path, for an incremental
  std::string parent_manifest;  // key, for an incremental
  // When the next backup begins to be due: for a skip, the instant; else now.
  std::optional<timestamp> due;
  // To be added to this machine's time: what was reckoned with. 0 but for a clock that is wrong.
  std::chrono::seconds clock_correction{0};
  std::vector<notice> warnings;
  // Dates contradict the clock: nothing may be deleted in this run.
  bool clock_suspect = false;

  [[nodiscard]] bool makes_backup() const {
    return what == action::full || what == action::incremental;
  }
  // Whether it is a full that the schedule did not ask for, and that a person should hear of.
  [[nodiscard]] bool is_fallback() const;
};

// `here`: this machine's time.
plan decide(const observation& seen, const policy& by, timestamp here, const time_zone& zone);

// When the backup's snapshot was made: from the snapshot's name, {name}__{TIME}__{kind}, or else
// what the manifest says of itself (the earlier tool wrote that seconds or hours later).
[[nodiscard]] timestamp time_of(const manifest& backup);
// The same, or what its key says where that is earlier: a manifest can be rewritten in its place.
[[nodiscard]] timestamp time_of(const manifest& backup, std::string_view key);

// Something else that tells when a backup was made: "the state file", and what it says.
struct date_witness {
  std::string who;
  std::optional<timestamp> when;  // nullopt: it says nothing
};
// When the backup was made by manifest, key and witnesses: the earliest counts, so that no single
// one of them can put off the next backup. The earlier tool's keys are seconds later than its
// snapshots; `problem` tells where more than an hour lies between two.
struct backup_date {
  timestamp when;
  std::string problem;
};
[[nodiscard]] backup_date date_of(const manifest& backup, std::string_view key,
                                  const std::vector<date_witness>& others);

}  // namespace bts3::planner
