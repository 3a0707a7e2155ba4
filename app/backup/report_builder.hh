// What a run tells, as the value that `--json`, the metrics file and the hooks are made of.
#pragma once

#include "app/backup/backup_events.hh"
#include "app/config/config.hh"
#include "app/records/run_report.hh"

#include <string>
#include <vector>

namespace bts3::app {

class report_builder final : public backup_events {
 public:
  // References must outlive it. `report` is filled in as things happen.
  report_builder(const config& settings, run_report& report);

  // Enters every configured subvolume, as the state file remembers it.
  void begun(const std::vector<subvolume_config>& chosen, const run_state& known) override;
  void seen(const subvolume_view& view) override;
  void planned(const subvolume_view& view, const planner::plan& plan) override;
  void nested_left_out(const subvolume_config& which,
                       const std::vector<std::string>& nested) override;
  void cannot_be_received(const std::string& subvolume, const std::vector<std::string>& paths,
                          const std::vector<std::string>& lines) override;
  void made(const made_backup& backup) override;
  void published(const published_backup& backup) override;
  void hook_ended(const hook_report& hook) override;
  void ended(const std::string& subvolume, const engine::error* failure) override;
  void totals(const run_totals& figures) override;

 private:
  // Of a selected subvolume, else null.
  [[nodiscard]] subvolume_report* entry_of(const std::string& subvolume);

  const config& _settings;
  run_report& _report;
  planner::schedule _when;
  system_time_zone _zone;
};

}  // namespace bts3::app
