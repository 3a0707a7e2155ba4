// history: which backups of a chain changed a path, and how.
#include "app/files/asking.hh"
#include "app/files/entry_text.hh"
#include "app/files/path_history.hh"
#include "app/store/commands.hh"
#include "app/survey/observer.hh"
#include "app/text/human_units.hh"
#include "app/text/output.hh"
#include "app/text/text_table.hh"
#include "planner/json_text.hh"
#include "planner/schedule.hh"

#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::result;
using engine::task;

void print_document(const opened_backup& backup, const std::string& path,
                    const std::vector<path_event>& events) {
  nlohmann::ordered_json out = document_of(backup.chosen());
  put_path(out, "path", path);
  out["first_created_at"] = backup.chain().front().value.created_at.rfc3339();
  out["events"] = nlohmann::ordered_json::array();
  for (const path_event& one : events) {
    const chain_link& link = backup.at(one.link);
    nlohmann::ordered_json entry;
    entry["manifest_key"] = link.key;
    entry["created_at"] = link.value.created_at.rfc3339();
    entry["event"] = word_of(one.what);
    if (!one.other.empty()) {
      put_path(entry, one.what == path_change::renamed_away ? "path_after" : "path_before",
               one.other);
    }
    if (one.what != path_change::deleted && one.what != path_change::renamed_away) {
      entry["entry"] = entry_json(path, one.at);
    }
    out["events"].push_back(std::move(entry));
  }
  print_json(planner::json_document(out));
}

std::string told(const path_event& one) {
  switch (one.what) {
    case path_change::renamed_here:
      return "renamed from " + one.other;
    case path_change::renamed_away:
      return "renamed to " + one.other;
    case path_change::created:
    case path_change::content:
    case path_change::attributes:
    case path_change::replaced:
    case path_change::deleted:
      break;
  }
  return word_of(one.what);
}

void print_table(const opened_backup& backup, const std::vector<path_event>& events) {
  using align = text_table::align;
  text_table table({{"BACKUP", align::left},
                    {"CHANGE", align::left},
                    {"SIZE", align::right},
                    {"MODIFIED", align::left},
                    {"MANIFEST", align::left}});
  const system_time_zone zone;
  for (const path_event& one : events) {
    const chain_link& link = backup.at(one.link);
    const bool gone = one.what == path_change::deleted || one.what == path_change::renamed_away;
    const bool sized = !gone && one.at.type == btrfs::index::node_type::file;
    table.add({planner::local_text(link.value.created_at, zone), told(one),
               sized ? format_bytes(one.at.size) : "-", gone ? "-" : local_minute(one.at.modified),
               link.key});
  }
  print_text(table.text(0, terminal_columns(STDOUT_FILENO)));
}

result<exit_status> tell(opened_backup& backup, const history_command& command,
                         const std::string& path) {
  const auto events = history_of(backup.catalogue(), path, backup.link());
  if (!events) {
    return events.error();
  }
  if (events->empty()) {
    const auto missing = existing(backup, path, backup.link());
    if (!missing) {
      return missing.error();
    }
  }
  command.json ? print_document(backup, path, *events) : print_table(backup, *events);
  return exit_status::done;
}

}  // namespace

task<result<exit_status>> run_command(const services& with, history_command command) {
  auto path = path_in_backup(command.path);
  if (!path) {
    co_return std::move(path.error());
  }
  answer say = [&command, &path](opened_backup& backup, const std::atomic<bool>& /*short*/) {
    return tell(backup, command, *path);
  };
  auto answering = answer_from(with, command, std::move(say));
  co_return co_await std::move(answering);
}

}  // namespace bts3::app
