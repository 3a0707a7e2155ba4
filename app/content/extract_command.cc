// extract: files and directories of a backup, below a directory of this host.
#include "app/content/content_source.hh"
#include "app/content/extract_selection.hh"
#include "app/content/extract_target.hh"
#include "app/content/extract_text.hh"
#include "app/content/extraction.hh"
#include "app/content/reading_plan.hh"
#include "app/download/chain_thaw.hh"
#include "app/files/asking.hh"
#include "app/host/disk_call.hh"
#include "app/store/commands.hh"
#include "app/survey/chosen_backup.hh"
#include "app/text/output.hh"
#include "app/text/progress.hh"
#include "planner/json_text.hh"

#include <unistd.h>

#include <functional>
#include <memory>
#include <utility>

namespace bts3::app {

namespace {

using engine::result;
using engine::task;

// One extraction of a backup that is open.
class extracting {
 public:
  extracting(const services& with, opened_backup& backup, extract_command command)
      : _with(with), _backup(backup), _command(std::move(command)) {}

  task<result<exit_status>> run(std::vector<std::string> paths);

 private:
  result<extract_selection> select(const std::vector<std::string>& paths);
  task<result<exit_status>> carry_out(extract_selection wanted, chain_ranges& ranges,
                                      reading_plan plan);
  [[nodiscard]] extract_rights rights() const;
  void print_plan(const extract_selection& wanted, const reading_plan& plan) const;

  const services& _with;
  opened_backup& _backup;
  extract_command _command;
};

result<extract_selection> extracting::select(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    if (auto found = existing(_backup, path, _backup.link()); !found) {
      return std::move(found.error());
    }
  }
  auto made = select_entries(_backup.catalogue(), _backup.link(), paths, _backup.link());
  if (!made) {
    return _backup.explained(std::move(made.error()));
  }
  return made;
}

extract_rights extracting::rights() const {
  const bool root = ::geteuid() == 0;
  extract_rights made;
  made.overwrite = _command.overwrite;
  made.owners = _command.owner.value_or(root);
  made.set_id = _command.set_id;
  made.devices = root;
  return made;
}

void extracting::print_plan(const extract_selection& wanted, const reading_plan& plan) const {
  if (!_command.json) {
    print_text(plan_text(_backup.chosen().value.subvolume + ": " + chosen_text(_backup.chosen()),
                         wanted, plan));
    return;
  }
  nlohmann::ordered_json out = document_of(_backup.chosen());
  out["target"] = _command.target;
  out["dry_run"] = true;
  put_plan(out, wanted, plan);
  print_json(planner::json_document(out));
}

task<result<exit_status>> extracting::run(std::vector<std::string> paths) {
  std::function<result<extract_selection>()> call = [&] { return select(paths); };
  auto selecting = disk_call(_with.loop, std::move(call));
  auto wanted = co_await std::move(selecting);
  if (!wanted) {
    co_return std::move(wanted.error());
  }
  if (!_command.dry_run && !wanted->streams.ranges().empty()) {
    auto opening = _backup.open_keys();
    auto opened = co_await std::move(opening);
    if (!opened) {
      co_return std::move(opened.error());
    }
  }
  auto links = readable_links(_backup);
  if (!links) {
    co_return std::move(links.error());
  }
  chain_ranges ranges(_with, _backup.store(), std::move(*links));
  if (_command.verify_parts) {
    ranges.verify_parts();
  }
  auto planning = plan_reading(_with, _backup.store(), ranges, wanted->streams.ranges(),
                               thaw_policy_of(_with.settings, _command), _command.skip_damaged,
                               _command.dry_run);
  auto plan = co_await std::move(planning);
  if (!plan) {
    co_return std::move(plan.error());
  }
  if (_command.dry_run) {
    print_plan(*wanted, *plan);
    co_return exit_status::done;
  }
  auto doing = carry_out(std::move(*wanted), ranges, std::move(*plan));
  co_return co_await std::move(doing);
}

task<result<exit_status>> extracting::carry_out(extract_selection wanted, chain_ranges& ranges,
                                                reading_plan plan) {
  auto target = extract_target::open(_command.target, rights());
  if (!target) {
    co_return std::move(target.error());
  }
  const std::uint64_t content = wanted.content_bytes;
  extent_reader reader(_with, ranges);
  extraction work(_with, _backup.catalogue(), _backup.link(), reader, *target, std::move(wanted),
                  _command.skip_damaged);
  // Before a thaw is paid for.
  auto checking = work.check();
  auto checked = co_await std::move(checking);
  if (!checked) {
    co_return std::move(checked.error());
  }
  chain_thaw thaw(_with, _backup.store(), _backup.chosen().value.subvolume, std::move(plan.chunks),
                  thaw_policy_of(_with.settings, _command));
  ranges.thaw_by(&thaw);
  auto thawing = thaw.make_readable(_with.stop);
  auto thawed = co_await std::move(thawing);
  if (!thawed) {
    co_return std::move(thawed.error());
  }
  progress shown(_with.loop, _with.log, _with.line, "extract", "extracting");
  shown.set_total(content);
  shown.follow([&work] { return work.written(); });
  shown.start();
  auto running = work.run();
  auto done = co_await std::move(running);
  auto stopping = shown.stop();
  co_await std::move(stopping);
  if (!done) {
    co_return _backup.explained(std::move(done.error()));
  }
  _with.log.write(engine::log_level::info, "extract", "run_finished",
                  {{"files", std::to_string(done->files)},
                   {"content_bytes", std::to_string(done->content_bytes)},
                   {"bytes", std::to_string(ranges.bytes_read())},
                   {"requests", std::to_string(ranges.requests())},
                   {"damaged_ranges", std::to_string(reader.damaged())},
                   {"damaged_files", std::to_string(done->damaged.size())}});
  if (_command.json) {
    nlohmann::ordered_json out = document_of(_backup.chosen());
    out["target"] = _command.target;
    out["dry_run"] = false;
    put_report(out, *done, target->left());
    out["read_bytes"] = ranges.bytes_read();
    out["requests"] = ranges.requests();
    print_json(planner::json_document(out));
  } else {
    print_text(report_text(_command.target, *done, target->left()));
  }
  co_return done->damaged.empty() ? exit_status::done : exit_status::verification;
}

task<result<exit_status>> extract_connected(const services& with, store_connection& connection,
                                            extract_command command,
                                            std::vector<std::string> paths) {
  auto opening = opened_backup::open(with, connection, command);
  const auto backup = co_await std::move(opening);
  if (!backup) {
    co_return backup.error();
  }
  extracting work(with, **backup, std::move(command));
  auto running = work.run(std::move(paths));
  co_return co_await std::move(running);
}

}  // namespace

task<result<exit_status>> run_command(const services& with, extract_command command) {
  std::vector<std::string> paths;
  for (const std::string& one : command.paths) {
    auto path = path_in_backup(one);
    if (!path) {
      co_return std::move(path.error());
    }
    paths.push_back(std::move(*path));
  }
  const persistence waits =
      command.dry_run ? persistence::of_a_question : persistence::of_each_request;
  auto connection = store_connection::open(with, waits);
  if (!connection) {
    co_return std::move(connection.error());
  }
  auto running = extract_connected(with, **connection, std::move(command), std::move(paths));
  auto status = co_await std::move(running);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return status;
}

}  // namespace bts3::app
