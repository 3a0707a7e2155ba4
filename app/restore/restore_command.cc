// run_restore(): the restore command over one subvolume or all.
#include "app/host/run_figures.hh"
#include "app/restore/restore_job.hh"
#include "app/survey/stored_subvolumes.hh"
#include "app/text/output.hh"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

restore_command with_target(const services& with, restore_command command) {
  if (command.target.empty()) {
    const std::string base =
        command.target_base.empty() ? with.settings.target_base_dir : command.target_base;
    command.target = base + (base.ends_with('/') ? "" : "/") + command.subvolume;
  }
  return command;
}

// The run in figures, for whoever measures it.
void report_totals(const services& with, const store_connection& connection,
                   const restore_totals& totals, std::chrono::steady_clock::time_point began) {
  const process_figures used = figures_of_process();
  const double rate = totals.transfer_seconds > 0
                          ? static_cast<double>(totals.bytes) / totals.transfer_seconds
                          : 0.0;
  with.log.write(log_level::info, "restore", "run_finished",
                 {{"restored", std::to_string(totals.restored)},
                  {"links", std::to_string(totals.links)},
                  {"bytes", std::to_string(totals.bytes)},
                  {"kept_bytes", std::to_string(totals.kept_bytes)},
                  {"parts", std::to_string(totals.parts)},
                  {"damaged_parts", std::to_string(totals.damaged_parts)},
                  {"retries", std::to_string(connection.retries())},
                  {"seconds", seconds_text(seconds_since(began))},
                  {"thaw_wait_seconds", std::to_string(totals.thaw_wait.count())},
                  {"transfer_seconds", seconds_text(totals.transfer_seconds)},
                  {"bytes_per_second", std::to_string(static_cast<std::uint64_t>(rate))},
                  {"cpu_seconds", seconds_text(used.cpu_seconds)},
                  {"peak_rss_bytes", std::to_string(used.peak_rss_bytes)}});
}

// Which of several it is, and what is received for others after it.
struct place_among {
  std::size_t position = 1;
  std::size_t count = 1;
  std::uint64_t bytes_after = 0;
};

task<result<exit_status>> restore_one(const services& with, store_connection& connection,
                                      restore_command command, restore_totals& totals,
                                      std::uint64_t bytes_before, place_among here) {
  restore_job job(with, connection, with_target(with, std::move(command)), totals);
  job.comes_after(bytes_before);
  job.is_one_of(here.position, here.count, here.bytes_after);
  auto running = job.run();
  co_return co_await std::move(running);
}

// One of several, with what is still to be received for it.
struct awaited {
  std::string name;
  std::uint64_t bytes = 0;
};

// What all of them take. What fails here fails again, and is told, when that subvolume is restored.
struct outlook {
  std::vector<awaited> each;
  space_for_all space;
  bool space_may_grow = false;  // what interrupted restores left is deleted when they go on
};

task<result<outlook>> look_ahead(const services& with, store_connection& connection,
                                 restore_command command, std::vector<std::string> names) {
  outlook all;
  for (const std::string& name : names) {
    awaited next;
    next.name = name;
    if (names.size() == 1) {
      all.each.push_back(std::move(next));
      break;  // a single one looks for itself
    }
    restore_command one = command;
    one.subvolume = name;
    one = with_target(with, std::move(one));
    all.space.where = one.target.substr(0, one.target.rfind('/'));
    restore_totals none;
    restore_job job(with, connection, std::move(one), none);
    auto looking = job.look_ahead();
    auto found = co_await std::move(looking);
    if (found) {
      next.bytes = found->bytes;
      all.space.add(found->bytes);
      all.space.available_bytes = found->available_bytes;  // of the one place that all go to
      all.space_may_grow = all.space_may_grow || found->interrupted;
    } else if (found.error().what_now == disposition::cancelled) {
      co_return std::move(found.error());
    } else {
      with.log.write(log_level::debug, "restore", "not_looked_at",
                     {{"subvolume", name}, {"reason", found.error().text()}});
    }
    all.each.push_back(std::move(next));
  }
  co_return all;
}

// Each is checked again when it is its turn; here it is that they fit together.
result<void> check_space_of(const services& with, const restore_command& command,
                            const outlook& all) {
  if (all.space.subvolumes < 2) {
    return engine::ok();
  }
  auto enough = check_space(all.space);
  if (enough || (!command.no_space_check && !all.space_may_grow)) {
    return enough;
  }
  with.log.write(log_level::warning, "restore", "space_may_not_suffice",
                 {{"reason", enough.error().message}});
  return engine::ok();
}

// Everything is thawed at the same time, and read in this order: the copies of the last have to
// live until all others have been downloaded.
task<result<void>> request_all(const services& with, store_connection& connection,
                               restore_command command, const outlook& all) {
  std::uint64_t bytes_before = 0;
  for (const awaited& next : all.each) {
    restore_command one = command;
    one.subvolume = next.name;
    restore_totals none;
    restore_job job(with, connection, with_target(with, std::move(one)), none);
    if (!job.waits_for_thaw()) {
      break;  // each restore asks and goes on to the next at once
    }
    job.comes_after(bytes_before);
    bytes_before += next.bytes;
    auto requesting = job.request_thaw();
    auto requested = co_await std::move(requesting);
    if (requested) {
      continue;
    }
    if (requested.error().what_now == disposition::cancelled) {
      co_return requested;
    }
    with.log.write(log_level::debug, "restore", "nothing_requested_yet",
                   {{"subvolume", next.name}, {"reason", requested.error().text()}});
  }
  co_return engine::ok();
}

// All targets are there: the records, which have told that of each, are of no use any more. A run
// that is killed here leaves what is complete, and a rerun knows it by the marks of the targets.
task<void> forget_all(const services& with, store_connection& connection, restore_command command,
                      const outlook& all) {
  for (const awaited& next : all.each) {
    restore_command one = command;
    one.subvolume = next.name;
    restore_totals none;
    restore_job job(with, connection, with_target(with, std::move(one)), none);
    auto forgetting = job.forget();
    auto forgotten = co_await std::move(forgetting);
    if (!forgotten) {
      with.log.write(log_level::warning, "restore", "restore_record_left",
                     {{"subvolume", next.name}, {"error", forgotten.error().text()}});
    }
  }
}

task<result<exit_status>> restore_all(const services& with, store_connection& connection,
                                      restore_command command, restore_totals& totals) {
  auto listing = all_subvolumes(connection.store(), with.settings, with.stop, &with.log);
  auto names = co_await std::move(listing);
  if (!names) {
    co_return std::move(names.error());
  }
  auto looking = look_ahead(with, connection, command, *names);
  auto all = co_await std::move(looking);
  if (!all) {
    co_return std::move(all.error());
  }
  if (names->size() > 1 && !command.dry_run) {
    if (auto enough = check_space_of(with, command, *all); !enough) {
      co_return std::move(enough.error());
    }
    auto requesting = request_all(with, connection, command, *all);
    auto requested = co_await std::move(requesting);
    if (!requested) {
      co_return std::move(requested.error());
    }
  }
  std::vector<error> failures;
  std::uint64_t bytes_before = 0;  // that are read before, of those that are not read now
  place_among here{0, all->each.size(), 0};
  for (const awaited& next : all->each) {
    here.bytes_after += next.bytes;
  }
  for (const awaited& next : all->each) {
    const std::string& name = next.name;
    restore_command one = command;
    one.subvolume = name;
    ++here.position;
    here.bytes_after -= next.bytes;
    auto restoring = restore_one(with, connection, std::move(one), totals, bytes_before, here);
    auto restored = co_await std::move(restoring);
    if (command.dry_run || (!restored && restored.error().why == reason::not_thawed)) {
      bytes_before += next.bytes;
    }
    if (restored) {
      continue;
    }
    if (restored.error().what_now == disposition::cancelled) {
      co_return std::move(restored.error());
    }
    with.log.write(log_level::error, "restore", "subvolume_failed",
                   {{"subvolume", name}, {"error", restored.error().text()}});
    if (command.json) {
      nlohmann::ordered_json failed = {{"version", 1},
                                       {"subvolume", name},
                                       {"status", "failed"},
                                       {"error", restored.error().text()}};
      print_json(failed.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    }
    failures.push_back(std::move(restored.error()).within(name));
  }
  if (command.dry_run && names->size() > 1) {
    if (command.json) {
      print_json(space_json(all->space));
    } else {
      print_text(space_text(all->space));
    }
  }
  if (failures.size() == names->size()) {
    co_return std::move(failures.front());
  }
  if (failures.empty()) {
    if (!command.dry_run) {
      auto forgetting = forget_all(with, connection, command, *all);
      co_await std::move(forgetting);
    }
    co_return exit_status::done;
  }
  if (!command.json) {
    print_formatted("%zu of %zu subvolumes could not be restored\n", failures.size(),
                    names->size());
  }
  co_return exit_status::partly;
}

}  // namespace

task<result<exit_status>> run_restore(const services& with, restore_command command) {
  const persistence waits =
      command.dry_run ? persistence::of_a_question : persistence::of_each_request;
  auto connection = store_connection::open(with, waits);
  if (!connection) {
    co_return std::move(connection.error());
  }
  const auto began = std::chrono::steady_clock::now();
  const bool dry_run = command.dry_run;
  restore_totals totals;
  auto running =
      command.all ? restore_all(with, **connection, std::move(command), totals)
                  : restore_one(with, **connection, std::move(command), totals, 0, place_among());
  auto status = co_await std::move(running);
  if (!dry_run) {
    report_totals(with, **connection, totals, began);
  }
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return status;
}

}  // namespace bts3::app
