// run_restore(): the restore command over one subvolume or all.
#include "app/restore_job.hh"
#include "app/restore_source.hh"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

task<result<exit_status>> restore_one(const services& with, store_connection& connection,
                                      restore_command command) {
  if (command.target.empty()) {
    const std::string base =
        command.target_base.empty() ? with.settings.target_base_dir : command.target_base;
    command.target = base + (base.ends_with('/') ? "" : "/") + command.subvolume;
  }
  restore_job job(with, connection, std::move(command));
  auto running = job.run();
  co_return co_await std::move(running);
}

// Names in the bucket and in the configuration: whoever restores everything must hear of a
// configured subvolume that has no backup.
task<result<std::vector<std::string>>> all_names(const services& with,
                                                 store_connection& connection) {
  auto listing = subvolumes_in_bucket(connection.store(), with.settings.prefix, with.stop);
  auto names = co_await std::move(listing);
  if (!names) {
    co_return std::move(names.error());
  }
  for (const subvolume_config& configured : with.settings.subvolumes) {
    if (std::find(names->begin(), names->end(), configured.name) == names->end()) {
      names->push_back(configured.name);
    }
  }
  std::sort(names->begin(), names->end());
  if (names->empty()) {
    error failure;
    failure.message =
        "there are no backups at s3://" + with.settings.bucket + "/" + with.settings.prefix;
    failure.remedy = "check bucket and prefix";
    co_return failure;
  }
  co_return names;
}

task<result<exit_status>> restore_all(const services& with, store_connection& connection,
                                      restore_command command) {
  auto listing = all_names(with, connection);
  auto names = co_await std::move(listing);
  if (!names) {
    co_return std::move(names.error());
  }
  std::vector<error> failures;
  for (const std::string& name : *names) {
    restore_command one = command;
    one.subvolume = name;
    auto restoring = restore_one(with, connection, std::move(one));
    auto restored = co_await std::move(restoring);
    if (restored) {
      continue;
    }
    if (restored.error().what_now == disposition::cancelled) {
      co_return std::move(restored.error());
    }
    with.log.write(log_level::error, "restore", "subvolume_failed",
                   {{"subvolume", name}, {"error", restored.error().text()}});
    failures.push_back(std::move(restored.error()).within(name));
  }
  if (failures.size() == names->size()) {
    co_return std::move(failures.front());
  }
  if (failures.empty()) {
    co_return exit_status::done;
  }
  std::printf("%zu of %zu subvolumes could not be restored\n", failures.size(), names->size());
  co_return exit_status::partly;
}

}  // namespace

task<result<exit_status>> run_restore(const services& with, restore_command command) {
  auto connection = store_connection::open(with);
  if (!connection) {
    co_return std::move(connection.error());
  }
  auto running = command.all ? restore_all(with, **connection, std::move(command))
                             : restore_one(with, **connection, std::move(command));
  auto status = co_await std::move(running);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return status;
}

}  // namespace bts3::app
