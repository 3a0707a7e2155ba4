// What becomes of a backup that an earlier run left unfinished (DESIGN.md section 9, in its order).
#pragma once

#include "planner/timestamp.hh"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::planner {

// What is known of it, from its journal and from the place (endpoint, bucket) that it names.
struct unfinished_backup {
  timestamp began;
  // When the store last acknowledged a part of it; nullopt: not known (older journals), or none.
  std::optional<timestamp> last_progress;
  bool pointer_names_it = false;   // or its chain does
  bool manifest_is_there = false;  // and is this backup's: same snapshot
  // A backup of another snapshot has that key: a second writer's, of the same second.
  bool manifest_is_anothers = false;
  // Why what is there, the same each time it was read, cannot be understood; empty when it was, or
  // nothing is there. Not understood is neither "moved" nor "absent".
  std::string pointer_problem;
  std::string manifest_problem;
  // The pointer is what it was before the backup began.
  bool pointer_unmoved = false;
  bool local_only = false;  // a --no-s3 run: nothing of it is meant to stay
  // An earlier run gave it up, perhaps without having seen its place, and could not undo it.
  bool set_aside = false;
  std::string place_problem;     // how the configured place differs; empty when it does not
  std::string settings_problem;  // likewise protocol, flags, sizes: the stream would differ
  std::string snapshot_problem;  // why its snapshot cannot be sent again; empty when it can
  std::string parent_problem;    // likewise the parent of an incremental
  bool configured = true;        // its subvolume still is
};

enum class unfinished_action {
  record,   // it is published: state, journal
  publish,  // only the pointer has to move
  resume,   // send the same snapshot again and upload what is missing
  release,  // forget the journal, touch nothing: a complete backup that nobody points at
  abandon,  // undo everything
  leave,    // touch nothing, and look again in a later run: what was read is not understood
};
[[nodiscard]] std::string_view to_string(unfinished_action what);

struct unfinished_verdict {
  unfinished_action what = unfinished_action::abandon;
  std::string reason;  // one word: published, manifest_written, resumable, local_only, expired,
                       // pointer_moved, place_changed, settings_changed, snapshot_unusable,
                       // parent_unusable, not_configured, superseded, given_up, second_writer,
                       // not_understood
  std::string sentence;
};

// `resume_for`: how long an upload may go without a new part before it is given up. However long a
// first full takes, it is not thrown away while it gets on. `limit_name` is how people are told of
// that limit. `now` had best be the store's clock.
[[nodiscard]] unfinished_verdict decide_unfinished(const unfinished_backup& seen, timestamp now,
                                                   std::chrono::seconds resume_for,
                                                   std::string_view limit_name);

}  // namespace bts3::planner
