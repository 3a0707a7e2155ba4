// The backup command: for each subvolume settle what an earlier run left unfinished, observe,
// decide, and back up what is due (subvolume_backup.hh). Prints nothing: what happens is told to
// backup_events.
#pragma once

#include "app/backup/backup_common.hh"
#include "app/backup/backup_events.hh"
#include "app/backup/settling.hh"
#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/store/services.hh"
#include "app/survey/observer.hh"
#include "app/upload/upload_budget.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/plan.hh"

#include <chrono>
#include <vector>

namespace bts3::app {

class backup_job {
 public:
  // The caller holds the run lock. References must outlive the job.
  backup_job(const services& with, const backup_command& command,
             std::vector<subvolume_config> chosen, backup_events& events);

  // Runs everything. One subvolume's failure does not stop the others.
  engine::task<engine::result<exit_status>> run();

  // Memory, spool and parts in flight of the run; null before it. For whoever counts what is left.
  [[nodiscard]] upload_budget* budget() const { return _common.budget.get(); }

 private:
  struct run_share;
  engine::task<engine::result<exit_status>> run_open();
  engine::task<engine::result<exit_status>> run_all();
  engine::task<engine::result<void>> run_into(observed& one, run_share& share);
  engine::task<engine::result<void>> run_one(observed& one);
  engine::result<void> prepare(const subvolume_config& which);
  engine::task<engine::result<subvolume_view>> observe(const subvolume_config& which);
  engine::task<engine::result<void>> back_up(subvolume_view view);
  [[nodiscard]] planner::plan decide(subvolume_view& view) const;
  engine::task<engine::result<void>> make(subvolume_view view, planner::plan plan);
  [[nodiscard]] engine::result<exit_status> outcome_of(const run_share& share) const;
  void tell_nested(const subvolume_config& which);
  void tell_totals(std::chrono::steady_clock::time_point began);

  const services& _with;
  bool _no_s3;
  std::vector<subvolume_config> _chosen;
  planner::policy _policy;
  system_time_zone _zone;
  backup_common _common;
  settling _settling;
};

}  // namespace bts3::app
