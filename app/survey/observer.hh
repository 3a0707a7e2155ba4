// Finding out what planning rests on: the pointer, the chain behind it, the objects of the chain,
// the local snapshots. Changes nothing.
#pragma once

#include "app/records/state_store.hh"
#include "app/store/chain_reader.hh"
#include "app/store/manifest_turns.hh"
#include "app/store/services.hh"
#include "btrfs/identity.hh"
#include "btrfs/snapshot_manager.hh"
#include "planner/chunk_comparison.hh"
#include "planner/plan.hh"

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace bts3::app {

// This machine, as manifests name it.
struct host_identity {
  std::string id;    // of /etc/machine-id; empty when there is none
  std::string name;  // of gethostname()
};
host_identity this_host();

// Local time by the process's time zone (TZ, /etc/localtime).
class system_time_zone final : public planner::time_zone {
 public:
  [[nodiscard]] std::chrono::seconds offset_at(std::chrono::sys_seconds when) const override;
};

// A link of the chain, without its chunks.
struct link_summary {
  std::string key;
  planner::backup_kind kind = planner::backup_kind::full;
  planner::timestamp when;
  std::uint64_t bytes = 0;
  std::string snapshot_name;
  bool of_earlier_tool = false;  // its manifest names no UUID
};

struct subvolume_view {
  subvolume_config which;
  planner::observation seen;
  std::optional<stored_pointer> pointer;
  std::vector<link_summary> chain;         // full first; empty when it does not resolve
  planner::object_listing objects;         // under the subvolume's keys
  std::vector<btrfs::snapshot> snapshots;  // of this subvolume by name, oldest name first
  std::optional<btrfs::snapshot> parent;   // the one that is the last backup's
  std::optional<btrfs::uuid> source;       // what would be backed up; absent: not known

  // Whether a key or a snapshot carries this time (compact form) already.
  [[nodiscard]] bool time_is_taken(const std::string& time) const;
  // Whether a failed run of the earlier tool may have left that snapshot: the chain is the earlier
  // tool's, or begins with its links; and the snapshot was made of what is backed up, when its name
  // says, before the chain's first link of this program, which leaves no snapshot without a
  // journal.
  [[nodiscard]] bool left_by_earlier_tool(const btrfs::snapshot& one) const;
};

// What looking at one subvolume gave, and when.
struct observed {
  subvolume_config which;
  engine::result<subvolume_view> view;
  std::chrono::steady_clock::time_point when;
};

class observer {
 public:
  // `connection` null: only local things are looked at (--no-s3). References must outlive it.
  observer(const services& with, store_connection* connection, const run_state& state,
           host_identity host);

  // Of one without a path, which is not of this host, the bucket alone.
  engine::task<engine::result<subvolume_view>> observe(subvolume_config which);
  // Several at a time; in the order of `all`.
  engine::task<std::vector<observed>> observe_all(std::vector<subvolume_config> all);

 private:
  engine::task<engine::result<void>> observe_into(observed& one);
  engine::task<engine::result<void>> observe_bucket(subvolume_view& view);
  void observe_parent(subvolume_view& view) const;
  [[nodiscard]] std::vector<planner::date_witness> witnesses_of(const subvolume_view& view,
                                                                const chain_link& link,
                                                                bool full) const;
  void observe_source(subvolume_view& view) const;

  const services& _with;
  store_connection* _connection;
  const run_state& _state;
  host_identity _host;
  manifest_turns _manifests;
};

// The local snapshot among `snapshots` that `record` describes, by the identity rule; an
// explanation in `problem` otherwise. `remembered` is what the state file says of it, where that
// names the manifest: a received copy must not contradict it, nor `copies`, those that restores
// kept. A record without UUIDs goes by name, by that state, or by what the kernel knows: a
// read-only snapshot of `source`, the subvolume that is backed up now, made at the second that its
// name tells and not changed since.
struct parent_finding {
  std::optional<btrfs::snapshot> snapshot;
  planner::parent_state state = planner::parent_state::missing;
  bool by_name = false;
  std::string problem;
};
parent_finding find_parent(const planner::snapshot_record& record,
                           const std::vector<btrfs::snapshot>& snapshots,
                           const subvolume_state* remembered, std::vector<btrfs::known_copy> copies,
                           const std::optional<btrfs::uuid>& source, const std::string& base_dir);

}  // namespace bts3::app
