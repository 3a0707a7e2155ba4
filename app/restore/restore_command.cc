// The restore command: one subvolume, or with --all each.
#include "app/host/run_figures.hh"
#include "app/restore/restore_all.hh"
#include "app/restore/restore_request.hh"
#include "app/restore/restore_session.hh"
#include "app/restore/restore_totals.hh"
#include "app/store/commands.hh"

#include <chrono>
#include <cstdint>
#include <utility>

namespace bts3::app {

namespace {

using engine::log_level;
using engine::result;
using engine::task;

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
                  {"kept_bytes", std::to_string(totals.kept_bytes)},
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

task<result<exit_status>> run_connected(const services& with, store_connection& connection,
                                        restore_command command, restore_totals& totals) {
  if (command.all) {
    restore_all all(with, connection, std::move(command), totals);
    auto running = all.run();
    co_return co_await std::move(running);
  }
  identity_source identities(with, identity_places(with.settings, command.identities));
  restore_session session(with, connection, request_of(with.settings, command, command.subvolume),
                          identities, totals);
  auto running = session.run();
  co_return co_await std::move(running);
}

}  // namespace

task<result<exit_status>> run_command(const services& with, restore_command command) {
  const persistence waits =
      command.dry_run ? persistence::of_a_question : persistence::of_each_request;
  auto connection = store_connection::open(with, waits);
  if (!connection) {
    co_return std::move(connection.error());
  }
  const auto began = std::chrono::steady_clock::now();
  const bool dry_run = command.dry_run;
  restore_totals totals;
  auto running = run_connected(with, **connection, std::move(command), totals);
  auto status = co_await std::move(running);
  if (!dry_run) {
    report_totals(with, **connection, totals, began);
  }
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return status;
}

}  // namespace bts3::app
