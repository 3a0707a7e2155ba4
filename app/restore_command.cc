// run_restore(): the restore command over one subvolume or all.
#include "app/restore_job.hh"
#include "app/restore_source.hh"
#include "app/run_figures.hh"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

restore_command with_target(const services& with, restore_command command) {
  if (command.target.empty()) {
    const std::string base =
        command.target_base.empty() ? with.settings.target_base_dir : command.target_base;
    command.target = base + (base.ends_with('/') ? "" : "/") + command.subvolume;
  }
  return command;
}

// The run in figures, for whoever measures it.
void report_totals(const services& with, const store_connection& connection,
                   const restore_totals& totals, std::chrono::steady_clock::time_point began) {
  const process_figures used = figures_of_process();
  const double rate = totals.transfer_seconds > 0
                          ? static_cast<double>(totals.bytes) / totals.transfer_seconds
                          : 0.0;
  with.log.write(log_level::info, "restore", "run_finished",
                 {{"restored", std::to_string(totals.restored)},
                  {"links", std::to_string(totals.links)},
                  {"bytes", std::to_string(totals.bytes)},
                  {"parts", std::to_string(totals.parts)},
                  {"damaged_parts", std::to_string(totals.damaged_parts)},
                  {"retries", std::to_string(connection.retries())},
                  {"seconds", seconds_text(seconds_since(began))},
                  {"thaw_wait_seconds", std::to_string(totals.thaw_wait.count())},
                  {"transfer_seconds", seconds_text(totals.transfer_seconds)},
                  {"bytes_per_second", std::to_string(static_cast<std::uint64_t>(rate))},
                  {"cpu_seconds", seconds_text(used.cpu_seconds)},
                  {"peak_rss_bytes", std::to_string(used.peak_rss_bytes)}});
}

task<result<exit_status>> restore_one(const services& with, store_connection& connection,
                                      restore_command command, restore_totals& totals) {
  restore_job job(with, connection, with_target(with, std::move(command)), totals);
  auto running = job.run();
  co_return co_await std::move(running);
}

// Everything is thawed at the same time. What fails here fails again, and is told, when that
// subvolume is restored.
task<result<void>> request_all(const services& with, store_connection& connection,
                               restore_command command, std::vector<std::string> names) {
  for (const std::string& name : names) {
    restore_command one = command;
    one.subvolume = name;
    restore_totals none;
    restore_job job(with, connection, with_target(with, std::move(one)), none);
    if (!job.waits_for_thaw()) {
      break;  // each restore asks and goes on to the next at once
    }
    auto requesting = job.request_thaw();
    auto requested = co_await std::move(requesting);
    if (requested) {
      continue;
    }
    if (requested.error().what_now == disposition::cancelled) {
      co_return requested;
    }
    with.log.write(log_level::debug, "restore", "nothing_requested_yet",
                   {{"subvolume", name}, {"reason", requested.error().text()}});
  }
  co_return engine::ok();
}

task<result<exit_status>> restore_all(const services& with, store_connection& connection,
                                      restore_command command, restore_totals& totals) {
  auto listing = all_subvolumes(connection.store(), with.settings, with.stop);
  auto names = co_await std::move(listing);
  if (!names) {
    co_return std::move(names.error());
  }
  if (names->size() > 1 && !command.dry_run) {
    auto requesting = request_all(with, connection, command, *names);
    auto requested = co_await std::move(requesting);
    if (!requested) {
      co_return std::move(requested.error());
    }
  }
  std::vector<error> failures;
  for (const std::string& name : *names) {
    restore_command one = command;
    one.subvolume = name;
    auto restoring = restore_one(with, connection, std::move(one), totals);
    auto restored = co_await std::move(restoring);
    if (restored) {
      continue;
    }
    if (restored.error().what_now == disposition::cancelled) {
      co_return std::move(restored.error());
    }
    with.log.write(log_level::error, "restore", "subvolume_failed",
                   {{"subvolume", name}, {"error", restored.error().text()}});
    if (command.json) {
      nlohmann::ordered_json failed = {
          {"subvolume", name}, {"status", "failed"}, {"error", restored.error().text()}};
      std::printf("%s\n",
                  failed.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    }
    failures.push_back(std::move(restored.error()).within(name));
  }
  if (failures.size() == names->size()) {
    co_return std::move(failures.front());
  }
  if (failures.empty()) {
    co_return exit_status::done;
  }
  if (!command.json) {
    std::printf("%zu of %zu subvolumes could not be restored\n", failures.size(), names->size());
  }
  co_return exit_status::partly;
}

}  // namespace

task<result<exit_status>> run_restore(const services& with, restore_command command) {
  auto connection = store_connection::open(with);
  if (!connection) {
    co_return std::move(connection.error());
  }
  const auto began = std::chrono::steady_clock::now();
  const bool dry_run = command.dry_run;
  restore_totals totals;
  auto running = command.all ? restore_all(with, **connection, std::move(command), totals)
                             : restore_one(with, **connection, std::move(command), totals);
  auto status = co_await std::move(running);
  if (!dry_run) {
    report_totals(with, **connection, totals, began);
  }
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return status;
}

}  // namespace bts3::app
