// cat: the content of a file in a backup.
#include "app/content/content_source.hh"
#include "app/content/extract_selection.hh"
#include "app/content/file_output.hh"
#include "app/content/reading_plan.hh"
#include "app/files/asking.hh"
#include "app/host/disk_call.hh"
#include "app/store/commands.hh"
#include "app/text/human_units.hh"
#include "app/text/output.hh"
#include "btrfs/index/stream_ranges.hh"
#include "engine/plain_text.hh"

#include <memory>
#include <utility>

namespace bts3::app {

namespace {

using btrfs::index::node;
using btrfs::index::node_type;
using engine::error;
using engine::result;
using engine::task;

struct wanted_file {
  node at;
  extent_list extents;
  std::vector<btrfs::index::stream_range> commands;
};

error no_file(const std::string& path, const node& found) {
  const std::string name = "\"" + engine::printable(path) + "\"";
  switch (found.type) {
    case node_type::directory:
      return engine::configuration_error(
          (path.empty() ? std::string("the subvolume") : name) + " is a directory",
          "`ls` shows what is in it, `extract` gets all of it");
    case node_type::symlink:
      return engine::configuration_error(
          name + " is a symbolic link to \"" + engine::printable(found.target) + "\"",
          "name the file that it leads to, if that is in the backup");
    case node_type::gone:
    case node_type::file:
    case node_type::fifo:
    case node_type::socket:
    case node_type::character_device:
    case node_type::block_device:
      break;
  }
  return engine::configuration_error(name + " is no file, and has no content", "");
}

result<wanted_file> look(opened_backup& backup, const std::string& path) {
  auto found = existing(backup, path, backup.link());
  if (!found) {
    return std::move(found.error());
  }
  if (found->type != node_type::file) {
    return no_file(path, *found);
  }
  auto extents = extents_of_file(backup.catalogue(), *found, backup.link());
  if (!extents) {
    return backup.explained(std::move(extents.error()));
  }
  wanted_file made;
  made.at = std::move(*found);
  made.extents = std::move(*extents);
  btrfs::index::stream_set commands;
  for (const btrfs::index::extent& one : made.extents) {
    const auto command = btrfs::index::command_of(one, backup.link());
    if (!command) {
      return command.error();
    }
    commands.add(*command);
  }
  made.commands = commands.ranges();
  return made;
}

error archived(const reading_plan& plan) {
  const s3::thaw_survey total = plan.thaw.total();
  error failure;
  failure.why = engine::reason::not_thawed;
  failure.message = engine::counted(total.to_request + total.thawing, "object") +
                    " with its content cannot be read yet: archived";
  failure.remedy =
      "`extract` with --no-wait-thaw requests what holds it, and no more; with "
      "--dry-run it tells what that takes";
  return failure;
}

task<result<exit_status>> cat(const services& with, opened_backup& backup, std::string path) {
  std::function<result<wanted_file>()> call = [&] { return look(backup, path); };
  auto looking = disk_call(with.loop, std::move(call));
  auto file = co_await std::move(looking);
  if (!file) {
    co_return std::move(file.error());
  }
  if (!file->extents.empty()) {
    auto opening = backup.open_keys();
    auto opened = co_await std::move(opening);
    if (!opened) {
      co_return std::move(opened.error());
    }
  }
  auto links = readable_links(backup);
  if (!links) {
    co_return std::move(links.error());
  }
  chain_ranges ranges(with, backup.store(), std::move(*links));
  thaw_policy policy = thaw_policy_of(with.settings, std::nullopt, std::nullopt);
  auto planning = plan_reading(with, backup.store(), ranges, file->commands, policy, false, false);
  auto plan = co_await std::move(planning);
  if (!plan) {
    co_return std::move(plan.error());
  }
  const s3::thaw_survey total = plan->thaw.total();
  if (total.to_request + total.thawing > 0) {
    co_return archived(*plan);
  }
  extent_reader reader(with, ranges);
  // What standard output refuses is told when it is closed, as for every command.
  byte_output put = [](std::span<const std::byte> bytes) {
    print_bytes({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    return !output_failed();
  };
  auto putting = put_file(with, reader, std::move(file->extents), file->at.size, std::move(put));
  auto done = co_await std::move(putting);
  if (!done) {
    co_return std::move(done.error()).within(engine::printable(path));
  }
  co_return exit_status::done;
}

task<result<exit_status>> cat_connected(const services& with, store_connection& connection,
                                        cat_command command, std::string path) {
  auto opening = opened_backup::open(with, connection, command);
  const auto backup = co_await std::move(opening);
  if (!backup) {
    co_return backup.error();
  }
  auto reading = cat(with, **backup, std::move(path));
  co_return co_await std::move(reading);
}

}  // namespace

task<result<exit_status>> run_command(const services& with, cat_command command) {
  auto path = path_in_backup(command.path);
  if (!path) {
    co_return std::move(path.error());
  }
  auto connection = store_connection::open(with, persistence::of_an_errand);
  if (!connection) {
    co_return std::move(connection.error());
  }
  auto running = cat_connected(with, **connection, std::move(command), std::move(*path));
  auto status = co_await std::move(running);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return status;
}

}  // namespace bts3::app
