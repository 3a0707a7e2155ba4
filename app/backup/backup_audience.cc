#include "app/backup/backup_audience.hh"

#include "app/records/harness_manifest.hh"
#include "app/survey/nested_subvolumes.hh"
#include "app/text/human_units.hh"
#include "app/text/output.hh"
#include "app/text/progress.hh"
#include "app/text/text_table.hh"
#include "engine/files.hh"
#include "engine/plain_text.hh"

#include <fmt/format.h>
#include <unistd.h>

namespace bts3::app {

using engine::log_level;

void backup_log::planned(const subvolume_view& view, const planner::plan& plan) {
  for (const planner::notice& warning : plan.warnings) {
    _log.write(log_level::warning, "backup", warning.event,
               {{"subvolume", view.which.name},
                {"because", warning.sentence},
                {"consequence", plan.clock_suspect ? "no snapshot is removed in this run"
                                                   : "the next backup is a full one"}});
  }
  _log.write(plan.is_fallback() ? log_level::warning : log_level::info, "backup", "planned",
             {{"subvolume", view.which.name},
              {"kind", std::string(planner::to_string(plan.what))},
              {"reason", plan.reason},
              {"because", plan.sentence}});
}

void backup_log::nested_left_out(const subvolume_config& which,
                                 const std::vector<std::string>& nested) {
  if (!nested.empty()) {
    _log.write(log_level::warning, "backup", "nested_subvolumes_left_out",
               {{"subvolume", which.name},
                {"count", std::to_string(nested.size())},
                {"nested", examples_of(nested)},
                {"remedy", nested_remedy}});
  }
}

void backup_log::ended(const std::string& subvolume, const engine::error* failure) {
  if (failure != nullptr && failure->what_now != engine::disposition::cancelled) {
    _log.write(log_level::error, "backup", "subvolume_failed",
               {{"subvolume", subvolume}, {"error", failure->text()}});
  }
}

void backup_log::totals(const run_totals& figures) {
  _log.write(log_level::info, "backup", "run_finished",
             {{"backups", std::to_string(figures.backups)},
              {"bytes", std::to_string(figures.bytes)},
              {"resumed_bytes", std::to_string(figures.resumed_bytes)},
              {"parts", std::to_string(figures.parts)},
              {"retries", std::to_string(figures.retries)},
              {"seconds", fmt::format("{:.3f}", figures.seconds)},
              {"bytes_per_second", fmt::format("{:.0f}", figures.bytes_per_second())},
              {"cpu_seconds", fmt::format("{:.3f}", figures.cpu_seconds)},
              {"peak_rss_bytes", std::to_string(figures.peak_rss_bytes)}});
}

void backup_console::print(const std::string& line) const {
  if (_line != nullptr) {
    _line->clear();
  }
  print_text(wrapped(printable(line), 0, terminal_columns(STDOUT_FILENO)));
}

void backup_console::planned(const subvolume_view& view, const planner::plan& plan) {
  if (plan.what == planner::action::skip) {
    print(view.which.name + ": nothing due until " + planner::local_text(*plan.due, _zone));
  }
}

void backup_console::cannot_be_received(const std::string& /*subvolume*/,
                                        const std::vector<std::string>& /*paths*/,
                                        const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    print(line);
  }
}

void backup_console::remembered(const made_backup& backup) {
  const std::string kind(planner::to_string(backup.intent.kind));
  std::string resumed;
  if (backup.resumed_bytes > 0) {
    resumed = " (" + format_bytes(backup.resumed_bytes) + " of it uploaded before)";
  }
  const std::size_t chunks = backup.chunks.size();
  print(backup.intent.subvolume + ": " + kind + " backup, " + format_bytes(backup.bytes) + " in " +
        engine::counted(chunks, "chunk") + resumed +
        (backup.intent.local_only ? ", nothing uploaded (--no-s3)"
                                  : ", " + backup.intent.manifest_key));
}

void backup_console::published(const published_backup& backup) {
  print(backup.intent.subvolume + ": finished publishing the backup of " +
        backup.intent.when.rfc3339() + ", " + backup.intent.manifest_key);
}

void harness_teller::begun(const std::vector<subvolume_config>& chosen,
                           const run_state& /*known*/) {
  _subvolume = chosen.front().name;
}

void harness_teller::made(const made_backup& backup) {
  const auto directory = _with.environment(harness_run_directory);
  if (backup.intent.local_only || !directory || directory->empty() ||
      backup.intent.subvolume != _subvolume) {
    return;
  }
  const std::string path = *directory + "/manifest.json";
  const std::string text = harness_manifest(backup.intent.kind, backup.chunks);
  if (auto written = engine::write_durably(path, text); !written) {
    _with.log.write(log_level::warning, "backup", "harness_manifest_not_written",
                    {{"path", path}, {"error", written.error().text()}});
  }
}

backup_audience::backup_audience(const services& with, bool silent, run_report& report)
    : _report(with.settings, report), _log(with.log), _console(with.line), _harness(with) {
  _listeners = {&_report, &_log, &_harness};
  if (!silent) {
    _listeners.push_back(&_console);
  }
}

void backup_audience::begun(const std::vector<subvolume_config>& chosen, const run_state& known) {
  tell_all(&backup_events::begun, chosen, known);
}

void backup_audience::seen(const subvolume_view& view) {
  tell_all(&backup_events::seen, view);
}

void backup_audience::planned(const subvolume_view& view, const planner::plan& plan) {
  tell_all(&backup_events::planned, view, plan);
}

void backup_audience::nested_left_out(const subvolume_config& which,
                                      const std::vector<std::string>& nested) {
  tell_all(&backup_events::nested_left_out, which, nested);
}

void backup_audience::cannot_be_received(const std::string& subvolume,
                                         const std::vector<std::string>& paths,
                                         const std::vector<std::string>& lines) {
  tell_all(&backup_events::cannot_be_received, subvolume, paths, lines);
}

void backup_audience::made(const made_backup& backup) {
  tell_all(&backup_events::made, backup);
}

void backup_audience::remembered(const made_backup& backup) {
  tell_all(&backup_events::remembered, backup);
}

void backup_audience::published(const published_backup& backup) {
  tell_all(&backup_events::published, backup);
}

void backup_audience::hook_ended(const hook_report& hook) {
  tell_all(&backup_events::hook_ended, hook);
}

void backup_audience::ended(const std::string& subvolume, const engine::error* failure) {
  tell_all(&backup_events::ended, subvolume, failure);
}

void backup_audience::totals(const run_totals& figures) {
  tell_all(&backup_events::totals, figures);
}

}  // namespace bts3::app
