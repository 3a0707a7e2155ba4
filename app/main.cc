#include "app/backup/backup_run.hh"
#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/config/config.hh"
#include "app/config/setting_names.hh"
#include "app/config/working_place.hh"
#include "app/files/path_completion.hh"
#include "app/host/logging.hh"
#include "app/host/process_start.hh"
#include "app/host/rights.hh"
#include "app/host/service_notifier.hh"
#include "app/host/signals.hh"
#include "app/host/standstill.hh"
#include "app/overview/complete_command.hh"
#include "app/overview/status_report.hh"
#include "app/store/commands.hh"
#include "app/store/services.hh"
#include "app/text/output.hh"
#include "app/text/progress.hh"
#include "app/text/standard_output.hh"
#include "btrfs/real_host.hh"
#include "engine/plain_text.hh"
#include "engine/told_command.hh"
#include "s3/credentials/host_credentials.hh"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace {

using namespace bts3;
using app::exit_status;
using engine::result;
using engine::task;

// The credentials of the units (LoadCredential=), so that a command by hand acts as they do. Not
// where others are named, and for root alone: nobody else could read them.
std::optional<std::string> credentials_of_units() {
  const char* named = std::getenv("AWS_SHARED_CREDENTIALS_FILE");
  const bool others = named != nullptr && *named != '\0';
  return others || ::geteuid() != 0 || ::access(s3::unit_credentials_file, F_OK) != 0
             ? std::nullopt
             : std::optional<std::string>(s3::unit_credentials_file);
}

std::optional<std::string> from_environment(std::string_view name) {
  if (name == s3::host_credentials_file) {
    return credentials_of_units();
  }
  const char* value = std::getenv(std::string(name).c_str());
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

std::vector<std::string> environment_names() {
  std::vector<std::string> names;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    names.emplace_back(text.substr(0, text.find('=')));
  }
  return names;
}

int fail(const engine::error& failure) {
  const std::string said = app::for_user(failure, ::geteuid()).text();
  std::fprintf(stderr, "btrfs_to_s3: %s\n", engine::printable_lines(said).c_str());
  return static_cast<int>(app::status_of(failure));
}

// The command's task, by its type.
struct run_given {
  const app::services& with;
  template <typename Command>
  task<result<exit_status>> operator()(const Command& command) const {
    return app::run_command(with, command);
  }
  task<result<exit_status>> operator()(const app::complete_command& /*answered by main()*/) const {
    std::abort();
  }
};

// After a signal: 10 s for the program's own clean-up, and as much again on a busy host.
constexpr std::chrono::seconds clean_stop_max{20};

// And what hooks that still have to run may take.
std::chrono::microseconds stop_max(const app::command_line& line, const app::config& settings) {
  std::chrono::microseconds sum = clean_stop_max;
  if (std::holds_alternative<app::backup_command>(line.command)) {
    sum += settings.hooks.after_snapshot.empty() ? std::chrono::milliseconds(0)
                                                 : settings.hooks.timeout;
    sum += settings.hooks.after.empty() ? std::chrono::milliseconds(0) : settings.hooks.timeout;
    sum +=
        settings.hooks.on_failure.empty() ? std::chrono::milliseconds(0) : settings.hooks.timeout;
  }
  return sum;
}

struct tell_of_stop {
  app::service_notifier* manager;
  std::chrono::microseconds at_most;
  void operator()() const { manager->stopping("stopping on request", at_most); }
};

// The command beside the signal watch, the keep-alives and the watch for a standstill, which end
// with it.
task<result<exit_status>> run_watched(const app::services& with, const app::command_line& line,
                                      app::signal_watch& signals, app::service_notifier& manager,
                                      app::standstill_watch& standstill,
                                      engine::stop_source& stop) {
  engine::stop_source watch_end;
  engine::async_scope scope(with.loop);
  const engine::stop_callback on_stop(stop.token(),
                                      tell_of_stop{&manager, stop_max(line, with.settings)});
  scope.spawn(signals.run(with.loop, stop, with.log, watch_end.token()));
  scope.spawn(manager.keep_alive(with.loop, watch_end.token()));
  scope.spawn(standstill.run(stop, watch_end.token()));
  auto running = std::visit(run_given{with}, line.command);
  auto status = co_await std::move(running);
  watch_end.request_stop();
  auto joining = scope.join();
  co_await std::move(joining);
  co_return app::ended_by(with.standstill, std::move(status));
}

bool reports(const app::command_line& line) {
  return std::visit(
      []<typename Command>(const Command& /*command*/) { return app::reports<Command>; },
      line.command);
}

// Between a question and its answer stand warnings at most.
engine::log_level usual_log_level(const app::command_line& line, const app::config& settings) {
  if (line.common.verbose) {
    return engine::log_level::debug;
  }
  if (line.common.quiet) {
    return engine::log_level::warning;
  }
  const bool question = !reports(line);
  return question && settings.global.log_level == engine::log_level::info
             ? engine::log_level::warning
             : settings.global.log_level;
}

bool asks_for_json(const app::command_line& line) {
  return std::visit(
      [](const auto& command) {
        if constexpr (requires { command.json; }) {
          return command.json;
        } else {
          return false;
        }
      },
      line.command);
}

// A usage error says nothing else than what is wrong with the words.
int end_early(const app::early_exit& end, int argc, char** argv) {
  std::fputs(engine::printable_lines(end.text).c_str(), end.to_stderr ? stderr : stdout);
  const auto is_json = [](const char* word) { return std::string_view(word) == "--json"; };
  if (end.status != 0 && std::any_of(argv, argv + argc, is_json)) {
    app::print_error_document(end.text.substr(0, end.text.find("\nRun with --help")), end.status);
  }
  return end.status;
}

// Whoever reads standard output must learn of it there.
int fail_without_run(const app::command_line& line, const engine::error& failure,
                     const engine::clock& clock) {
  const int code = fail(failure);
  const auto* backup = std::get_if<app::backup_command>(&line.command);
  if (backup != nullptr && backup->json) {
    app::print_json(app::report_of_no_run(failure, clock));
  }
  if (const auto* status = std::get_if<app::status_command>(&line.command)) {
    const std::string text = app::status_of_nothing(failure, status->json, clock);
    status->json ? app::print_json(text) : app::print_text(text);
    return static_cast<int>(app::health::unknown);
  }
  if (asks_for_json(line) && !app::json_printed()) {
    app::print_error_document(app::for_user(failure, ::geteuid()).text(), code);
  }
  return code;
}

// With what is told on the way: of variables that look like ours and are not.
std::unique_ptr<engine::log_sink> log_for(const app::command_line& line,
                                          const app::config& settings) {
  app::log_options options;
  options.level = line.common.log_level.value_or(usual_log_level(line, settings));
  options.format = line.common.log_format == "json" ? app::log_format::json : app::log_format::text;
  options.colours = app::colours_wanted(from_environment, ::isatty(STDERR_FILENO) == 1);
  options.with_time = !from_environment("JOURNAL_STREAM").has_value();
  auto log = app::make_log(options);
  for (const app::unknown_variable& one : app::unknown_variables(environment_names())) {
    log->write(engine::log_level::warning, "app", "unknown_variable",
               {{"variable", one.name}, {"nearest", one.nearest}});
  }
  return log;
}

// The exit status of a run, having said why it failed. `signal`: that stopped it, or 0.
int told_code(const app::command_line& line, const engine::result<exit_status>& status,
              int signal) {
  int code = 0;
  if (signal != 0 && !status) {
    std::fputs("btrfs_to_s3: stopped on request\n", stderr);
    code = 128 + signal;
  } else {
    code = status ? static_cast<int>(*status) : fail(status.error());
  }
  if (code != 0) {
    app::show_held_text();
    if (!status && asks_for_json(line) && !app::json_printed()) {
      app::print_error_document(app::for_user(status.error(), ::geteuid()).text(), code);
    }
  }
  return code;
}

// The end of every command: 0 means that what was printed can be read, too.
int ended(int code, const app::command_line* line) {
  const bool status = line != nullptr && std::holds_alternative<app::status_command>(line->command);
  const int cut =
      status ? static_cast<int>(app::health::unknown) : static_cast<int>(exit_status::failed);
  return app::status_with_output(code, cut);
}

// Children must not speak to the service manager in our name.
app::service_notifier notifier_for(engine::log_sink& log) {
  auto made = app::service_notifier::create(from_environment, ::getpid(), log);
  for (const char* variable : app::service_variables) {
    ::unsetenv(variable);
  }
  if (made) {
    return std::move(*made);
  }
  log.write(engine::log_level::warning, "app", "service_manager_not_told",
            {{"error", made.error().text()}});
  return app::service_notifier(log);
}

}  // namespace

int main(int argc, char** argv) {
  app::name_settings(app::named_as::keys);
  app::prepare_process();
  const auto parsed = app::parse_command_line(argc, argv);
  if (const auto* end = std::get_if<app::early_exit>(&parsed)) {
    return ended(end_early(*end, argc, argv), nullptr);
  }
  const auto& line = std::get<app::command_line>(parsed);
  if (const auto* wanted = std::get_if<app::complete_command>(&line.command)) {
    const bool of_backup = wanted->what == app::complete_command::kind::paths;
    const auto complete = of_backup ? app::completed_paths : app::completed;
    std::fputs(complete(*wanted, line.common, from_environment).c_str(), stdout);
    return ended(0, nullptr);
  }
  engine::set_told_place(app::told_place_of(line));
  const app::bucket_place* const place = app::place_in(line);
  const bool from_bucket = place != nullptr && !place->from.empty();
  if (from_bucket) {
    app::name_settings(app::named_as::options_of_bucket);
  }
  const engine::environment_lookup environment =
      app::environment_with_profile(from_environment, from_bucket ? place->profile : std::string());
  auto settings = app::settings_for(line, environment);
  const engine::system_clock_source clock;
  if (!settings) {
    return ended(fail_without_run(line, settings.error(), clock), &line);
  }
  const auto plain_log = log_for(line, *settings);
  const bool quiet = line.common.quiet;
  if (quiet && reports(line)) {
    app::hold_text();
  }
  app::service_notifier manager = notifier_for(*plain_log);
  app::live_line::mirror to_manager;
  if (manager.active()) {
    to_manager = [&manager](const std::string& text) { manager.status(text); };
  }
  app::live_line terminal(STDERR_FILENO, std::move(to_manager));
  app::log_over_line log_over(*plain_log, terminal);
  engine::log_sink* const log =
      terminal.on_terminal() ? static_cast<engine::log_sink*>(&log_over) : plain_log.get();

  // Must come before the first thread.
  auto signals = app::signal_watch::create();
  if (!signals) {
    return ended(fail_without_run(line, signals.error(), clock), &line);
  }
  auto loop = engine::reactor::create();
  if (!loop) {
    return ended(fail_without_run(line, loop.error(), clock), &line);
  }
  engine::stop_source stop;
  app::standstill_watch standstill(**loop, *log);
  btrfs::real_host host;
  const app::services with{
      **loop,       *log,
      clock,        *settings,
      host,         environment,
      stop.token(), terminal.usable() && !(quiet && terminal.on_terminal()) ? &terminal : nullptr,
      &*signals,    from_bucket ? std::string() : line.common.config_path,
      nullptr,      &standstill};
  manager.ready("started");
  auto status = (*loop)->run(run_watched(with, line, *signals, manager, standstill, stop));
  const int signal = standstill.found() ? 0 : signals->received();
  const int code = ended(told_code(line, status, signal), &line);
  manager.stopping("ended with exit status " + std::to_string(code), clean_stop_max);
  return code;
}
