// Those who listen to a run of `backup`: the report, the log, the console, the end-to-end harness.
#pragma once

#include "app/backup/backup_events.hh"
#include "app/backup/report_builder.hh"
#include "app/records/run_report.hh"
#include "app/store/services.hh"

#include <string>
#include <vector>

namespace bts3::app {

// Decisions, failures and figures, for whoever reads the log.
class backup_log final : public backup_events {
 public:
  explicit backup_log(engine::log_sink& log) : _log(log) {}
  void planned(const subvolume_view& view, const planner::plan& plan) override;
  void nested_left_out(const subvolume_config& which,
                       const std::vector<std::string>& nested) override;
  void ended(const std::string& subvolume, const engine::error* failure) override;
  void totals(const run_totals& figures) override;

 private:
  engine::log_sink& _log;
};

// Lines for people, on standard output.
class backup_console final : public backup_events {
 public:
  // `line`: that of other subvolumes, still under way, which makes room; may be null.
  explicit backup_console(live_line* line) : _line(line) {}
  void planned(const subvolume_view& view, const planner::plan& plan) override;
  void cannot_be_received(const std::string& subvolume, const std::vector<std::string>& paths,
                          const std::vector<std::string>& lines) override;
  void remembered(const made_backup& backup) override;
  void published(const published_backup& backup) override;

 private:
  void print(const std::string& line) const;

  live_line* _line;
  system_time_zone _zone;
};

// The end-to-end harness wants to know of the first selected subvolume's backup; nobody else is
// told. Writes into the run directory that the environment names, if it does.
class harness_teller final : public backup_events {
 public:
  explicit harness_teller(const services& with) : _with(with) {}
  void begun(const std::vector<subvolume_config>& chosen, const run_state& known) override;
  void made(const made_backup& backup) override;

 private:
  const services& _with;
  std::string _subvolume;
};

// All of them.
class backup_audience final : public backup_events {
 public:
  // References must outlive it. `report` is filled in; `silent`: nothing is printed.
  backup_audience(const services& with, bool silent, run_report& report);

  void begun(const std::vector<subvolume_config>& chosen, const run_state& known) override;
  void seen(const subvolume_view& view) override;
  void planned(const subvolume_view& view, const planner::plan& plan) override;
  void nested_left_out(const subvolume_config& which,
                       const std::vector<std::string>& nested) override;
  void cannot_be_received(const std::string& subvolume, const std::vector<std::string>& paths,
                          const std::vector<std::string>& lines) override;
  void made(const made_backup& backup) override;
  void remembered(const made_backup& backup) override;
  void published(const published_backup& backup) override;
  void hook_ended(const hook_report& hook) override;
  void ended(const std::string& subvolume, const engine::error* failure) override;
  void totals(const run_totals& figures) override;

 private:
  template <typename... Parameters, typename... Arguments>
  void tell_all(void (backup_events::*event)(Parameters...), const Arguments&... told) {
    for (backup_events* const one : _listeners) {
      (one->*event)(told...);
    }
  }

  report_builder _report;
  backup_log _log;
  backup_console _console;
  harness_teller _harness;
  std::vector<backup_events*> _listeners;
};

}  // namespace bts3::app
