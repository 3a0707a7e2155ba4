// Full or incremental, and why. Pure: everything that the decision rests on is in `observation`.
//
// When a backup is due is not decided here yet: whoever asks wants one now.
#pragma once

#include "planner/manifest.hh"

#include <optional>
#include <string>

namespace bts3::planner {

// What was found out about one subvolume, in bucket and file system.
struct observation {
  std::string subvolume;
  bool pointer_exists = false;
  std::string pointer_problem;   // why pointer or manifest cannot be read; empty when they can
  std::optional<manifest> last;  // the manifest that the pointer names
  std::string last_key;
  std::string chain_problem;  // why the chain does not resolve to a full; empty when it does
  std::string chunk_problem;  // a chunk that is missing or has another size; empty when none
  std::optional<std::string> parent_snapshot;  // path of the local snapshot that is `last`'s
  std::string parent_problem;                  // why there is none
  std::string own_host_id;
};

enum class action { full, incremental, stop };

struct plan {
  action what = action::full;
  std::string reason;    // one word, stable: first_backup, parent_missing, ...
  std::string sentence;  // for a person
  std::optional<std::string> parent_snapshot;  // path, for an incremental
  std::optional<std::string> parent_manifest;  // key, for an incremental
};

plan decide(const observation& seen);

}  // namespace bts3::planner
