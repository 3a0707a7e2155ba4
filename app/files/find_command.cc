// find: what is anywhere below a directory of a backup, and is as it should be.
#include "app/cli/point_in_time.hh"
#include "app/files/asking.hh"
#include "app/files/entry_text.hh"
#include "app/store/commands.hh"
#include "app/text/output.hh"
#include "btrfs/index/queries.hh"
#include "planner/json_text.hh"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using btrfs::index::node;
using btrfs::index::node_type;
using btrfs::index::search_terms;
using engine::result;
using engine::task;

node_type type_of(char letter) {
  switch (letter) {
    case 'f':
      return node_type::file;
    case 'd':
      return node_type::directory;
    case 'l':
      return node_type::symlink;
    case 'p':
      return node_type::fifo;
    case 's':
      return node_type::socket;
    case 'c':
      return node_type::character_device;
    default:
      return node_type::block_device;
  }
}

void no_earlier(std::optional<std::int64_t>& bound, std::int64_t than) {
  bound = std::max(bound.value_or(than), than);
}
void no_later(std::optional<std::int64_t>& bound, std::int64_t than) {
  bound = std::min(bound.value_or(than), than);
}

result<search_terms> terms_of(const services& with, const find_command& command) {
  search_terms terms;
  terms.glob = command.name;
  terms.size_min = command.size_min;
  terms.size_max = command.size_max;
  if (command.type != 0) {
    terms.type = type_of(command.type);
  } else if (terms.size_min || terms.size_max) {
    terms.type = node_type::file;  // nothing else has one
  }
  const std::int64_t now =
      std::chrono::floor<std::chrono::seconds>(with.clock.now()).time_since_epoch().count();
  if (command.age_min) {
    no_later(terms.modified_to, now - command.age_min->count());
  }
  if (command.age_max) {
    no_earlier(terms.modified_from, now - command.age_max->count());
  }
  if (!command.newer.empty()) {
    const auto when = parse_point_in_time(command.newer);
    if (!when) {
      return when.error();
    }
    no_earlier(terms.modified_from, when->when().time_since_epoch().count() + 1);
  }
  if (!command.older.empty()) {
    const auto when = parse_point_in_time(command.older);
    if (!when) {
      return when.error();
    }
    no_later(terms.modified_to, when->when().time_since_epoch().count());
  }
  return terms;
}

void print_one(const find_command& command, const std::string& path, const node& at) {
  if (command.json) {
    nlohmann::ordered_json out = {{"version", 1}};
    out.update(entry_json(path, at));
    print_json(planner::json_line(out) + "\n");
  } else if (command.null) {
    print_bytes(path + '\0');
  } else if (command.details) {
    print_text(long_lines({{path, at}}));
  } else {
    print_text(short_line(path));
  }
}

result<exit_status> tell(opened_backup& backup, const find_command& command,
                         const std::string& path, const search_terms& terms,
                         const std::atomic<bool>& stopped) {
  const auto top = existing(backup, path, backup.link());
  if (!top) {
    return top.error();
  }
  if (top->type != node_type::directory) {
    return engine::configuration_error("\"" + path + "\" is no directory",
                                       "`ls` shows a single file");
  }
  if (command.json) {
    print_json(planner::json_line(document_of(backup.chosen())) + "\n");
  }
  const auto take = [&](const std::string& found, const node& at) {
    print_one(command, found, at);
    return !stopped && !output_failed();
  };
  auto searched = btrfs::index::search(backup.catalogue(), path, backup.link(), terms, take);
  if (!searched) {
    return std::move(searched.error());
  }
  if (stopped) {
    return engine::cancelled_error();
  }
  return exit_status::done;
}

}  // namespace

task<result<exit_status>> run_command(const services& with, find_command command) {
  auto path = path_in_backup(command.path);
  if (!path) {
    co_return std::move(path.error());
  }
  const auto terms = terms_of(with, command);
  if (!terms) {
    co_return terms.error();
  }
  answer say = [&command, &path, &terms](opened_backup& backup, const std::atomic<bool>& stopped) {
    return tell(backup, command, *path, *terms, stopped);
  };
  auto answering = answer_from(with, command, std::move(say));
  co_return co_await std::move(answering);
}

}  // namespace bts3::app
