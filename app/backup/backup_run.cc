#include "app/backup/backup_run.hh"

#include "app/backup/backup_audience.hh"
#include "app/backup/backup_job.hh"
#include "app/backup/hooks.hh"
#include "app/config/selection.hh"
#include "app/host/run_figures.hh"
#include "app/host/signals.hh"
#include "app/host/standstill.hh"
#include "app/records/metrics.hh"
#include "app/records/run_lock.hh"
#include "app/records/run_report.hh"
#include "app/store/commands.hh"
#include "app/text/output.hh"

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::result;
using engine::task;

planner::timestamp time_of(const engine::clock& clock) {
  return planner::timestamp(std::chrono::floor<std::chrono::seconds>(clock.now()));
}

// What the process will exit with.
int code_of(const services& with, const result<exit_status>& outcome) {
  if (outcome) {
    return static_cast<int>(*outcome);
  }
  const int signal = with.signals != nullptr ? with.signals->received() : 0;
  return signal != 0 ? 128 + signal : static_cast<int>(status_of(outcome.error()));
}

// One run: the command, and what it tells.
class backup_run {
 public:
  backup_run(const services& with, backup_command command)
      : _with(with), _command(std::move(command)), _audience(with, _command.json, _report) {}
  task<result<exit_status>> run();

 private:
  task<result<exit_status>> run_locked();
  task<result<void>> hook(std::string name, std::vector<std::string> argv, const run_report* after,
                          engine::stop_token stop);
  void conclude(const result<exit_status>& outcome);
  void write_metrics_file();

  const services& _with;
  backup_command _command;
  std::vector<std::string> _names;  // of the selected subvolumes
  bool _began = false;              // it was not refused for what was asked
  bool _had_lock = false;
  run_report _report;
  backup_audience _audience;  // fills the report
};

task<result<void>> backup_run::hook(std::string name, std::vector<std::string> argv,
                                    const run_report* after, engine::stop_token stop) {
  auto environment = hook_environment(name, _with.config_path, _names, after);
  auto running = run_configured_hook(_with, std::move(name), std::move(argv),
                                     std::move(environment), _audience, stop);
  co_return co_await std::move(running);
}

// The lock is held from before the first hook to after the second, so that what they stop and start
// is theirs alone.
task<result<exit_status>> backup_run::run_locked() {
  auto chosen = select_subvolumes(_with.settings, _command.subvolumes);
  if (!chosen) {
    co_return std::move(chosen.error());
  }
  for (const subvolume_config& one : *chosen) {
    _names.push_back(one.name);
  }
  _began = true;
  auto locked = run_lock::acquire(_with.settings.global.lock_path);
  if (!locked) {
    co_return std::move(locked.error());
  }
  _had_lock = true;
  const run_lock lock = std::move(*locked);
  auto before = hook("before", _with.settings.hooks.before, nullptr, _with.stop);
  auto prepared = co_await std::move(before);
  if (!prepared) {
    // The metrics still tell of every subvolume.
    auto state = state_store(_with.settings.global.state_path, _with.clock, _with.log).peek();
    _audience.begun(*chosen, state ? *state : run_state());
    co_return std::move(prepared.error());
  }
  backup_job job(_with, _command, std::move(*chosen), _audience);
  auto running = job.run();
  result<exit_status> outcome = co_await std::move(running);
  outcome = ended_by(_with.standstill, std::move(outcome));
  conclude(outcome);
  // Also after a stop: what "before" has stopped must be started again.
  auto after = hook("after", _with.settings.hooks.after, &_report, {});
  auto cleared = co_await std::move(after);
  if (!cleared) {
    _with.log.write(engine::log_level::error, "backup", "hook_failed",
                    {{"hook", "after"}, {"error", cleared.error().text()}});
    if (outcome && *outcome == exit_status::done) {
      outcome = std::move(cleared.error()).within("the backups are complete, but");
    }
  }
  co_return outcome;
}

void backup_run::conclude(const result<exit_status>& outcome) {
  _report.ended = time_of(_with.clock);
  _report.exit_status = code_of(_with, outcome);
  _report.error = outcome ? "" : outcome.error().text();
  const process_figures used = figures_of_process();
  _report.totals.cpu_seconds = used.cpu_seconds;
  _report.totals.peak_rss_bytes = used.peak_rss_bytes;
}

// A backup is a backup without its metrics.
void backup_run::write_metrics_file() {
  const std::string& path = _with.settings.metrics.textfile;
  if (path.empty() || !_had_lock || _command.no_s3) {
    return;
  }
  if (auto written = write_metrics(path, metrics_of(_report)); !written) {
    _with.log.write(engine::log_level::warning, "backup", "metrics_not_written",
                    {{"error", written.error().text()}});
  }
}

task<result<exit_status>> backup_run::run() {
  _report.began = time_of(_with.clock);
  _report.no_s3 = _command.no_s3;
  auto running = run_locked();
  auto outcome = co_await std::move(running);
  conclude(outcome);
  write_metrics_file();
  if (_began && _report.exit_status != 0) {
    auto on_failure = hook("on_failure", _with.settings.hooks.on_failure, &_report, {});
    auto told = co_await std::move(on_failure);
    if (!told) {
      _with.log.write(engine::log_level::error, "backup", "hook_failed",
                      {{"hook", "on_failure"}, {"error", told.error().text()}});
    }
  }
  if (_command.json) {
    print_json(report_as_json(_report));
  }
  co_return outcome;
}

}  // namespace

task<result<exit_status>> run_command(const services& with, backup_command command) {
  backup_run run(with, std::move(command));
  auto running = run.run();
  co_return co_await std::move(running);
}

std::string report_of_no_run(const engine::error& failure, const engine::clock& clock) {
  run_report report;
  report.began = time_of(clock);
  report.ended = report.began;
  report.exit_status = static_cast<int>(status_of(failure));
  report.error = failure.text();
  return report_as_json(report);
}

}  // namespace bts3::app
