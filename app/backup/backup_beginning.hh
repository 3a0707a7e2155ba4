// Beginning a backup that was planned: its time, its journal, its snapshot, and the hooks around
// that. The journal's intent is durable before the snapshot is made.
#pragma once

#include "app/backup/backup_common.hh"
#include "app/backup/subvolume_backup.hh"
#include "app/survey/observer.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/plan.hh"

#include <string>

namespace bts3::app {

class backup_beginning {
 public:
  // References must outlive it.
  backup_beginning(backup_common& common, const subvolume_view& view, const planner::plan& plan)
      : _common(common), _with(common.with), _view(view), _plan(plan) {}

  // A backup of its own each time, at another second than the one before.
  engine::task<engine::result<begun_backup>> begin();
  // Why the hook after a snapshot failed: the backup is made all the same.
  [[nodiscard]] const engine::result<void>& hooks_after() const { return _hooks_after; }

 private:
  engine::task<engine::result<begun_backup>> begin_now();
  engine::task<engine::result<std::string>> free_time();
  [[nodiscard]] engine::result<backup_intent> intent_at(const std::string& time) const;
  engine::task<engine::result<btrfs::snapshot>> create_snapshot(std::string time);
  engine::task<engine::result<void>> run_hook(std::string name, std::vector<std::string> argv,
                                              const std::string* snapshot, engine::stop_token stop);

  backup_common& _common;
  const services& _with;
  const subvolume_view& _view;
  const planner::plan& _plan;
  std::string _given_up;  // the time of the one before
  engine::result<void> _hooks_after = engine::ok();
};

}  // namespace bts3::app
