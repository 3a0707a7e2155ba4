#include "app/restore/thaw_command.hh"

#include "app/download/chain_thaw.hh"
#include "app/records/run_lock.hh"
#include "app/restore/restore_request.hh"
#include "app/store/commands.hh"
#include "app/store/stored_subvolumes.hh"
#include "app/survey/chosen_backup.hh"
#include "app/text/output.hh"
#include "engine/plain_text.hh"
#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

// What thawing one backup is about, found out before anything is requested.
struct thaw_outlook {
  std::string manifest_key;
  std::string created_at;
  std::vector<located_chunk> chunks;  // of the whole chain, in the order of reading
  std::uint64_t bytes = 0;
  thaw_policy policy;
  planned_thaw plan;
  planned_time time;
  restore_cost cost;  // where it is told
};

task<result<std::vector<located_chunk>>> locate_chain(const services& with, s3::object_store& store,
                                                      std::vector<chain_link> chain) {
  std::vector<located_chunk> chunks;
  for (chain_link& link : chain) {
    for (planner::chunk_record& chunk : link.value.chunks) {
      chunk.drop_parts();
    }
    auto locating = locate_chunks(with, store, link);
    auto located = co_await std::move(locating);
    if (!located) {
      co_return std::move(located.error());
    }
    chunks.insert(chunks.end(), std::make_move_iterator(located->begin()),
                  std::make_move_iterator(located->end()));
  }
  co_return chunks;
}

// `bytes_before` are read before this backup, and grow by its own; the caller's, who awaits this.
task<result<thaw_outlook>> look_at(const services& with, s3::object_store& store,
                                   thaw_command command, std::uint64_t& bytes_before) {
  auto finding = find_chain(with, store, wanted_by(with.settings, command));
  auto chain = co_await std::move(finding);
  if (!chain) {
    co_return std::move(chain.error());
  }
  if (!command.json && !command.dry_run) {
    print_formatted("%s: %s\n", command.subvolume.c_str(), chosen_text(chain->back()).c_str());
    flush_output();
  }
  thaw_outlook found;
  found.manifest_key = chain->back().key;
  found.created_at = chain->back().value.created_at.rfc3339();
  auto locating = locate_chain(with, store, std::move(*chain));
  auto chunks = co_await std::move(locating);
  if (!chunks) {
    co_return std::move(chunks.error());
  }
  found.chunks = std::move(*chunks);
  for (const located_chunk& chunk : found.chunks) {
    found.bytes += chunk.info.size;
  }
  found.policy = thaw_policy_of(with.settings, command);
  found.policy.bytes_before = bytes_before;
  bytes_before += found.bytes;
  auto planning = plan_thaw(with, store, found.chunks, found.policy);
  auto plan = co_await std::move(planning);
  if (!plan) {
    co_return std::move(plan.error());
  }
  found.plan = std::move(*plan);
  found.time = plan_time(found.plan, found.policy, found.bytes);
  // A table of prices that cannot be read is no reason not to thaw.
  if (command.dry_run || command.json) {
    auto cost = plan_cost(with, found.plan, found.chunks);
    if (!cost) {
      co_return std::move(cost.error());
    }
    found.cost = std::move(*cost);
  }
  co_return found;
}

// What `failure` says is missing; null: nothing.
void print_document(const thaw_command& command, const thaw_outlook& found, std::size_t objects,
                    exit_status status, const error* failure) {
  nlohmann::ordered_json out;
  out["version"] = 1;
  out["subvolume"] = command.subvolume;
  out["manifest_key"] = found.manifest_key;
  out["created_at"] = found.created_at;
  out["dry_run"] = command.dry_run;
  out["ready"] = status == exit_status::done;
  out["objects"] = objects;
  out["bytes"] = found.bytes;
  // As it was before anything was requested.
  out["thaw"] = nlohmann::ordered_json::parse(thaw_json_text(found.plan));
  out["time"] = nlohmann::ordered_json::parse(time_json_text(found.time));
  out["money"] = nlohmann::ordered_json::parse(cost_json_text(found.cost));
  if (failure != nullptr) {
    out["missing"] = failure->text();
  }
  print_json(planner::json_line(out) + "\n");
}

std::string about(const thaw_command& command, const thaw_outlook& found) {
  return command.subvolume + ": the backup of " + found.created_at;
}

// The dry run.
exit_status show(const thaw_command& command, const thaw_outlook& found) {
  const s3::thaw_survey total = found.plan.total();
  const exit_status status =
      total.to_request + total.thawing == 0 ? exit_status::done : exit_status::not_thawed;
  if (command.json) {
    print_document(command, found, found.chunks.size(), status, nullptr);
  } else {
    print_formatted("%s\n%s%s%s", about(command, found).c_str(), thaw_text(found.plan).c_str(),
                    time_text(found.time).c_str(), cost_text(found.cost).c_str());
  }
  return status;
}

// Not ready is a result here, not an error.
task<result<exit_status>> thaw_one(const services& with, s3::object_store& store,
                                   thaw_command command, std::uint64_t& bytes_before) {
  auto looking = look_at(with, store, command, bytes_before);
  auto found = co_await std::move(looking);
  if (!found) {
    co_return std::move(found.error());
  }
  if (command.dry_run) {
    co_return show(command, *found);
  }
  const std::size_t objects = found->chunks.size();
  chain_thaw thaw(with, store, command.subvolume, std::move(found->chunks), found->policy);
  auto thawing = thaw.make_readable(with.stop);
  auto thawed = co_await std::move(thawing);
  const bool not_ready = !thawed && thawed.error().why == reason::not_thawed;
  if (!thawed && !not_ready) {
    co_return std::move(thawed.error());
  }
  const exit_status status = thawed ? exit_status::done : exit_status::not_thawed;
  if (command.json) {
    print_document(command, *found, objects, status, thawed ? nullptr : &thawed.error());
  } else if (thawed) {
    print_formatted("%s can be read (%s)\n", about(command, *found).c_str(),
                    engine::counted(objects, "object").c_str());
  } else {
    print_formatted("%s is archived\n  %s\n", about(command, *found).c_str(),
                    thawed.error().text().c_str());
  }
  co_return status;
}

task<result<exit_status>> run_connected(const services& with, s3::object_store& store,
                                        thaw_command command) {
  std::vector<std::string> names;
  if (command.all) {
    auto listing = all_subvolumes(store, with.settings, with.stop, &with.log);
    auto listed = co_await std::move(listing);
    if (!listed) {
      co_return std::move(listed.error());
    }
    names = std::move(*listed);
  } else {
    names.push_back(command.subvolume);
  }
  auto thawing = thaw_subvolumes(with, store, std::move(command), std::move(names));
  co_return co_await std::move(thawing);
}

}  // namespace

task<result<exit_status>> thaw_subvolumes(const services& with, s3::object_store& store,
                                          thaw_command command, std::vector<std::string> names) {
  exit_status status = exit_status::done;
  std::vector<error> failures;
  // Whoever restores them does so one after another, in this order.
  std::uint64_t bytes_before = 0;
  for (const std::string& name : names) {
    thaw_command one = command;
    one.subvolume = name;
    auto thawing = thaw_one(with, store, std::move(one), bytes_before);
    auto thawed = co_await std::move(thawing);
    if (thawed) {
      status = *thawed == exit_status::done ? status : *thawed;
      continue;
    }
    if (thawed.error().what_now == disposition::cancelled || names.size() == 1) {
      co_return std::move(thawed.error());
    }
    with.log.write(log_level::error, "thaw", "subvolume_failed",
                   {{"subvolume", name}, {"error", thawed.error().text()}});
    if (command.json) {
      nlohmann::ordered_json failed = {
          {"version", 1}, {"subvolume", name}, {"error", thawed.error().text()}};
      print_json(planner::json_line(failed) + "\n");
    }
    failures.push_back(std::move(thawed.error()).within(name));
  }
  if (failures.empty()) {
    co_return status;
  }
  if (failures.size() == names.size()) {
    co_return std::move(failures.front());
  }
  if (!command.json) {
    print_formatted("%zu of %zu subvolumes could not be looked at\n", failures.size(),
                    names.size());
  }
  co_return exit_status::partly;
}

task<result<exit_status>> run_command(const services& with, thaw_command command) {
  std::optional<run_lock> lock;
  if (command.from.empty() && !command.dry_run) {
    auto locked = run_lock::acquire(with.settings.global.lock_path);
    if (!locked) {
      co_return std::move(locked.error());
    }
    lock.emplace(std::move(*locked));
  }
  auto connection = store_connection::open(with, persistence::of_an_errand);
  if (!connection) {
    co_return std::move(connection.error());
  }
  auto running = run_connected(with, (*connection)->store(), std::move(command));
  auto status = co_await std::move(running);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return status;
}

}  // namespace bts3::app
