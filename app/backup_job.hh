// The backup command: for each subvolume observe, decide, snapshot, stream, publish.
//
// Order for one subvolume: snapshot; parts; proof that the stream is whole (END seen, exit status
// 0); objects completed; manifest; pointer; state; surplus snapshots removed. `current.json` is the
// commit point: whatever fails before it undoes its snapshot and its uploads, and what has moved it
// is never undone.
#pragma once

#include "app/chain_reader.hh"
#include "app/cli.hh"
#include "app/exit_status.hh"
#include "app/services.hh"
#include "app/state_store.hh"
#include "btrfs/processes.hh"
#include "btrfs/snapshot_manager.hh"
#include "planner/plan.hh"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

class backup_job {
 public:
  backup_job(const services& with, backup_command command);

  // Runs everything; prints results to standard output. One subvolume's failure does not stop the
  // others.
  engine::task<engine::result<exit_status>> run();

 private:
  struct made_backup;
  engine::result<std::vector<subvolume_config>> selected() const;
  engine::task<engine::result<exit_status>> run_all(std::vector<subvolume_config> chosen);
  engine::task<engine::result<void>> back_up(subvolume_config which);
  engine::task<engine::result<planner::observation>> observe(subvolume_config which);
  engine::task<engine::result<void>> list_bucket(std::string root);
  [[nodiscard]] std::string chunk_problem(const std::vector<chain_link>& chain) const;
  engine::task<void> remove_snapshot(std::string name);
  void observe_parent(const subvolume_config& which, planner::observation& seen) const;
  engine::task<engine::result<btrfs::snapshot>> make_snapshot(subvolume_config which,
                                                              planner::backup_kind kind);
  engine::task<engine::result<void>> stream_and_publish(made_backup& backup);
  engine::task<engine::result<void>> stream(made_backup& backup);
  engine::task<engine::result<void>> publish(made_backup& backup);
  engine::task<engine::result<void>> put_manifest(made_backup& backup, std::string text);
  engine::task<engine::result<void>> move_pointer(made_backup& backup);
  engine::task<void> undo(made_backup& backup);
  engine::result<void> remember(const made_backup& backup);
  void remove_surplus(const made_backup& backup) const;
  planner::manifest describe(const made_backup& backup) const;

  const services& _with;
  backup_command _command;
  btrfs::snapshot_manager _snapshots;
  btrfs::capabilities _host;
  std::string _host_id;
  std::string _host_name;
  std::unique_ptr<store_connection> _connection;  // null with --no-s3
  std::unique_ptr<state_store> _states;
  run_state _state;
  // Of the subvolume at hand, as observed.
  std::optional<stored_pointer> _pointer;
  std::map<std::string, std::uint64_t> _objects;  // key: size
};

}  // namespace bts3::app
