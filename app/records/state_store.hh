// The state file: what this host remembers of its last backups. A cache of the bucket's truth, and
// written so that a power cut leaves the old file or the new one.
#pragma once

#include "engine/clock.hh"
#include "engine/log_sink.hh"
#include "engine/result.hh"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

struct subvolume_state {
  std::string last_snapshot;  // path
  std::string last_manifest;  // key
  std::string last_full_at;   // RFC 3339
  std::string last_backup_at;
  std::optional<std::string> snapshot_uuid;
  std::optional<std::uint64_t> snapshot_ctransid;
  // For the metrics of runs that have nothing to do; absent when not known.
  std::optional<std::uint64_t> last_bytes;         // of the last backup's stream
  std::optional<std::uint64_t> last_milliseconds;  // that streaming it took
  std::optional<std::uint64_t> chain_links;        // that restoring it needs
  // Own UUIDs (names, where a manifest recorded none) of snapshots whose backups prune deleted, or
  // that the earlier tool left: as published ones, although nothing in the bucket says so any more.
  std::vector<std::string> pruned_snapshots;
};

struct run_state {
  std::map<std::string, subvolume_state> subvolumes;
  std::string last_run_at;  // RFC 3339
};

class state_store {
 public:
  state_store(std::string path, const engine::clock& clock, engine::log_sink& log);

  // Empty when there is no file. A damaged file is moved aside, named in a warning, and counts as
  // empty: the bucket knows the rest.
  engine::result<run_state> load();
  // The same without touching anything: a damaged file stays where it is.
  engine::result<run_state> peek();
  // Whether there is a file that cannot be understood.
  [[nodiscard]] engine::result<bool> is_damaged() const;
  // Temporary file, fsync, rename, fsync of the directory. Fields that this version does not know
  // are kept.
  engine::result<void> save(const run_state& state);

 private:
  engine::result<std::optional<run_state>> read() const;
  std::string _path;
  const engine::clock& _clock;
  engine::log_sink& _log;
};

// `failure` of making or writing the state, or what lies beside it: with what helps, where it says
// that this place is not for us.
engine::error state_not_writable(engine::error failure);

}  // namespace bts3::app
