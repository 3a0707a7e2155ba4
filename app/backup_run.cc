#include "app/backup_run.hh"

#include "app/backup_job.hh"
#include "app/run_lock.hh"
#include "app/run_report.hh"
#include "app/signals.hh"

#include <cstdio>
#include <optional>
#include <utility>

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

task<result<exit_status>> run_locked(const services& with, const backup_command& command,
                                     run_report& report) {
  auto chosen = select_subvolumes(with.settings, command.subvolumes);
  if (!chosen) {
    co_return std::move(chosen.error());
  }
  auto locked = run_lock::acquire(with.settings.lock_path);
  if (!locked) {
    co_return std::move(locked.error());
  }
  const run_lock lock = std::move(*locked);
  backup_job job(with, command, std::move(*chosen), report);
  auto running = job.run();
  co_return co_await std::move(running);
}

}  // namespace

task<result<exit_status>> run_backup(const services& with, backup_command command) {
  run_report report;
  report.began = time_of(with.clock);
  report.no_s3 = command.no_s3;
  auto running = run_locked(with, command, report);
  auto outcome = co_await std::move(running);
  report.ended = time_of(with.clock);
  report.exit_status = code_of(with, outcome);
  if (!outcome) {
    report.error = outcome.error().text();
  }
  report.totals.cpu_seconds = cpu_seconds_used();
  report.totals.peak_rss_bytes = peak_rss_bytes();
  if (command.json) {
    std::fputs(report_as_json(report).c_str(), stdout);
  }
  co_return outcome;
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
