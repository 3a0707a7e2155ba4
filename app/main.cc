#include "app/backup_job.hh"
#include "app/cli.hh"
#include "app/config.hh"
#include "app/exit_status.hh"
#include "app/logging.hh"
#include "app/plan_job.hh"
#include "app/progress.hh"
#include "app/prune_job.hh"
#include "app/restore_job.hh"
#include "app/restore_source.hh"
#include "app/services.hh"
#include "app/signals.hh"
#include "app/thaw_command.hh"
#include "app/verify_job.hh"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <variant>

namespace {

using namespace bts3;
using app::exit_status;
using engine::result;
using engine::task;

std::optional<std::string> from_environment(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

int fail(const engine::error& failure) {
  std::fprintf(stderr, "btrfs_to_s3: %s\n", failure.text().c_str());
  return static_cast<int>(app::status_of(failure));
}

task<result<exit_status>> run_command(const app::services& with, const app::command_line& line) {
  if (const auto* backup = std::get_if<app::backup_command>(&line.command)) {
    app::backup_job job(with, *backup);
    auto running = job.run();
    co_return co_await std::move(running);
  }
  if (const auto* plan = std::get_if<app::plan_command>(&line.command)) {
    app::plan_job job(with, *plan);
    auto running = job.run();
    co_return co_await std::move(running);
  }
  if (const auto* thaw = std::get_if<app::thaw_command>(&line.command)) {
    auto running = app::run_thaw(with, *thaw);
    co_return co_await std::move(running);
  }
  if (const auto* prune = std::get_if<app::prune_command>(&line.command)) {
    auto running = app::run_prune(with, *prune);
    co_return co_await std::move(running);
  }
  if (const auto* verify = std::get_if<app::verify_command>(&line.command)) {
    auto running = app::run_verify(with, *verify);
    co_return co_await std::move(running);
  }
  auto running = app::run_restore(with, std::get<app::restore_command>(line.command));
  co_return co_await std::move(running);
}

// The command beside the signal watch, which ends with it.
task<result<exit_status>> run_watched(const app::services& with, const app::command_line& line,
                                      app::signal_watch& signals, engine::stop_source& stop) {
  engine::stop_source watch_end;
  engine::async_scope scope(with.loop);
  scope.spawn(signals.run(with.loop, stop, with.log, watch_end.token()));
  auto running = run_command(with, line);
  auto status = co_await std::move(running);
  watch_end.request_stop();
  auto joining = scope.join();
  co_await std::move(joining);
  co_return status;
}

}  // namespace

int main(int argc, char** argv) {
  const auto parsed = app::parse_command_line(argc, argv);
  if (const auto* end = std::get_if<app::early_exit>(&parsed)) {
    std::fputs(end->text.c_str(), end->to_stderr ? stderr : stdout);
    return end->status;
  }
  const auto& line = std::get<app::command_line>(parsed);
  const auto* restore = std::get_if<app::restore_command>(&line.command);
  const app::backup_selection* selection = restore;
  if (const auto* thaw = std::get_if<app::thaw_command>(&line.command)) {
    selection = thaw;
  }
  const bool from_bucket = selection != nullptr && !selection->from.empty();
  const app::environment_lookup environment = app::environment_with_profile(
      from_environment, from_bucket ? selection->profile : std::string());
  auto settings = from_bucket ? app::config_of_bucket(*selection, environment)
                              : app::load_config(line.common.config_path, environment);
  if (!settings) {
    return fail(settings.error());
  }
  app::log_options log_options;
  log_options.level = app::log_level_of(line.common.log_level.value_or(settings->log_level));
  log_options.format =
      line.common.log_format == "json" ? app::log_format::json : app::log_format::text;
  log_options.with_time = !from_environment("JOURNAL_STREAM").has_value();
  const auto plain_log = app::make_log(log_options);
  app::live_line terminal(STDERR_FILENO);
  app::log_over_line log_over(*plain_log, terminal);
  engine::log_sink* const log =
      terminal.usable() ? static_cast<engine::log_sink*>(&log_over) : plain_log.get();

  // Both must come before the first thread.
  auto signals = app::signal_watch::create();
  if (!signals) {
    return fail(signals.error());
  }
  if (restore != nullptr && !restore->dry_run) {
    if (auto isolated = btrfs::receive_workspace::isolate_mounts(); !isolated) {
      return fail(isolated.error());
    }
  }
  auto loop = engine::reactor::create();
  if (!loop) {
    return fail(loop.error());
  }
  const engine::system_clock_source clock;
  engine::stop_source stop;
  const app::services with{**loop,
                           *log,
                           clock,
                           *settings,
                           environment,
                           stop.token(),
                           terminal.usable() ? &terminal : nullptr};
  auto status = (*loop)->run(run_watched(with, line, *signals, stop));
  if (signals->received() != 0 && !status) {
    std::fputs("btrfs_to_s3: stopped on request\n", stderr);
    return 128 + signals->received();
  }
  if (!status) {
    return fail(status.error());
  }
  return static_cast<int>(*status);
}
