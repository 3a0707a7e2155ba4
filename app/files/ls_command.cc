// ls: what is in a directory of a backup.
#include "app/files/asking.hh"
#include "app/files/entry_text.hh"
#include "app/store/commands.hh"
#include "app/text/output.hh"
#include "planner/json_text.hh"

#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using btrfs::index::node;
using btrfs::index::node_type;
using engine::result;
using engine::task;

result<std::vector<shown_entry>> entries_of(opened_backup& backup, const std::string& path,
                                            const node& found, bool itself) {
  std::vector<shown_entry> entries;
  if (found.type != node_type::directory || itself) {
    entries.push_back({path.empty() ? "." : path, found});
    return entries;
  }
  auto listed = backup.catalogue().list(found.id, backup.link());
  if (!listed) {
    return std::move(listed.error());
  }
  for (btrfs::index::entry& one : *listed) {
    entries.push_back({std::move(one.name), std::move(one.at)});
  }
  return entries;
}

void print_document(const opened_backup& backup, const std::string& path, const node& found,
                    const std::vector<shown_entry>& entries, bool itself) {
  nlohmann::ordered_json out = document_of(backup.chosen());
  put_path(out, "directory",
           found.type == node_type::directory && !itself
               ? path
               : path.substr(0, path.find('/') == std::string::npos ? 0 : path.rfind('/')));
  out["entries"] = nlohmann::ordered_json::array();
  for (const shown_entry& one : entries) {
    const bool whole = found.type != node_type::directory || itself || path.empty();
    out["entries"].push_back(entry_json(whole ? one.path : path + "/" + one.path, one.at));
  }
  print_json(planner::json_document(out));
}

result<exit_status> tell(opened_backup& backup, const ls_command& command,
                         const std::string& path) {
  const auto found = existing(backup, path, backup.link());
  if (!found) {
    return found.error();
  }
  const auto entries = entries_of(backup, path, *found, command.directory);
  if (!entries) {
    return entries.error();
  }
  if (command.json) {
    print_document(backup, path, *found, *entries, command.directory);
  } else if (command.null) {
    for (const shown_entry& one : *entries) {
      print_bytes(one.path + '\0');
    }
  } else if (command.details) {
    print_text(long_lines(*entries));
  } else {
    for (const shown_entry& one : *entries) {
      print_text(short_line(one.path));
    }
  }
  return exit_status::done;
}

}  // namespace

task<result<exit_status>> run_command(const services& with, ls_command command) {
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
