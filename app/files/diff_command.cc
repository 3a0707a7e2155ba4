// diff: what differs between two backups of a subvolume.
#include "app/files/asking.hh"
#include "app/files/entry_text.hh"
#include "app/files/tree_difference.hh"
#include "app/store/commands.hh"
#include "app/survey/chosen_backup.hh"
#include "app/text/output.hh"
#include "app/text/text_table.hh"
#include "planner/json_text.hh"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using btrfs::index::link_number;
using engine::result;
using engine::task;

// The two that are compared; where one is of the other's chain, both are looked up in that.
struct compared_backups {
  std::unique_ptr<opened_backup> from;
  std::unique_ptr<opened_backup> to;
};

link_number link_in(const opened_backup& backup, const std::string& key) {
  const auto& chain = backup.chain();
  const auto found = std::find_if(chain.begin(), chain.end(),
                                  [&](const chain_link& link) { return link.key == key; });
  return found == chain.end() ? 0 : static_cast<link_number>(found - chain.begin() + 1);
}

result<std::pair<tree_side, tree_side>> sides_of(const compared_backups& both) {
  tree_side from{&both.from->catalogue(), both.from->link()};
  tree_side to{&both.to->catalogue(), both.to->link()};
  if (both.from->path() != both.to->path()) {
    return std::pair(from, to);
  }
  // It was opened later, so that it has all that the other wanted, unless that is another branch.
  const link_number earlier = link_in(*both.to, both.from->chosen().key);
  const link_number later = link_in(*both.from, both.to->chosen().key);
  if (earlier == 0 && later == 0) {
    return engine::configuration_error("backups " + both.from->chosen().key + " and " +
                                           both.to->chosen().key +
                                           " continue the same backup in different ways",
                                       "compare each with one that both were made of");
  }
  from.in = to.in;
  return std::pair(from, to);
}

// What of it is new.
std::string about(const changed_path& one) {
  if (one.content) {
    return one.attributes ? "content, attributes" : "content";
  }
  return one.attributes ? "attributes" : "";
}

void print_line(const changed_path& one) {
  std::string line = word_of(one.what);
  line.resize(std::max<std::size_t>(line.size(), 9), ' ');
  if (one.what == path_difference::renamed) {
    line += printable(one.before) + " -> ";
  }
  line += printable(one.path);
  const std::string more = about(one);
  print_text(line + (more.empty() ? "" : " (" + more + ")") + "\n");
}

void print_json_line(const changed_path& one) {
  nlohmann::ordered_json out = {{"version", 1}};
  out["change"] = word_of(one.what);
  out.update(entry_json(one.path, one.at));
  if (one.what == path_difference::renamed) {
    put_path(out, "path_before", one.before);
  }
  if (one.what == path_difference::changed || one.what == path_difference::renamed) {
    out["content"] = one.content;
    out["attributes"] = one.attributes;
  }
  print_json(planner::json_line(out) + "\n");
}

result<exit_status> tell(const compared_backups& both, const diff_command& command,
                         const std::string& path, const std::atomic<bool>& stopped) {
  const auto sides = sides_of(both);
  if (!sides) {
    return sides.error();
  }
  const auto before = existing(*both.from, path, both.from->link());
  const auto after = existing(*both.to, path, both.to->link());
  if (!before && !after) {
    return after.error();
  }
  const auto found = difference_of(sides->first, sides->second, path, stopped);
  if (!found) {
    return found.error();
  }
  if (command.json) {
    nlohmann::ordered_json out = document_of(both.to->chosen());
    out["from_manifest_key"] = both.from->chosen().key;
    out["from_created_at"] = both.from->chosen().value.created_at.rfc3339();
    print_json(planner::json_line(out) + "\n");
  }
  for (const changed_path& one : *found) {
    if (command.json) {
      print_json_line(one);
    } else if (command.null) {
      print_bytes(one.path + '\0');
    } else {
      print_line(one);
    }
  }
  return exit_status::done;
}

std::pair<files_selection, files_selection> selections_of(const diff_command& command) {
  files_selection from = command;
  files_selection to = command;
  if (!command.times.empty()) {
    from.at = command.times.front();
    to.at = command.times.size() > 1 ? command.times.back() : "";
  } else {
    from.manifest_key = command.keys.front();
    to.manifest_key = command.keys.size() > 1 ? command.keys.back() : "";
  }
  return {std::move(from), std::move(to)};
}

task<result<exit_status>> compare(const services& with, store_connection& connection,
                                  diff_command command, std::string path) {
  auto wanted = selections_of(command);
  auto opening = opened_backup::open(with, connection, std::move(wanted.first));
  auto from = co_await std::move(opening);
  if (!from) {
    co_return std::move(from.error());
  }
  auto opening_other = opened_backup::open(with, connection, std::move(wanted.second));
  auto to = co_await std::move(opening_other);
  if (!to) {
    co_return std::move(to.error());
  }
  compared_backups both;
  both.from = std::move(*from);
  both.to = std::move(*to);
  answer say = [&both, &command, &path](opened_backup& /*the later*/,
                                        const std::atomic<bool>& stopped) {
    return tell(both, command, path, stopped);
  };
  auto answering = answer_of(with, *both.to, std::move(say));
  co_return co_await std::move(answering);
}

}  // namespace

task<result<exit_status>> run_command(const services& with, diff_command command) {
  auto path = path_in_backup(command.path);
  if (!path) {
    co_return std::move(path.error());
  }
  const std::size_t named = command.times.size() + command.keys.size();
  if (named < 1 || named > 2) {
    co_return engine::configuration_error(
        "diff compares two backups, and " + std::to_string(named) + " are named",
        "name both with --at or --manifest-key, or the earlier one alone");
  }
  auto connection = store_connection::open(with, persistence::of_a_question);
  if (!connection) {
    co_return std::move(connection.error());
  }
  auto comparing = compare(with, **connection, std::move(command), std::move(*path));
  auto status = co_await std::move(comparing);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return status;
}

}  // namespace bts3::app
