#include "app/upkeep/prune_job.hh"

#include "app/host/disk_call.hh"
#include "app/records/run_lock.hh"
#include "app/records/state_store.hh"
#include "app/store/chain_reader.hh"
#include "app/store/commands.hh"
#include "app/store/manifest_turns.hh"
#include "app/survey/observer.hh"
#include "app/survey/retired.hh"
#include "app/survey/unfinished.hh"
#include "app/text/output.hh"
#include "btrfs/host.hh"
#include "engine/assert.hh"
#include "engine/for_each_at_most.hh"
#include "engine/offload.hh"
#include "engine/told_command.hh"
#include "planner/keys.hh"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

// A DELETE is a request without a body: latency counts. More than this many answers at once are
// not worth the connections (curl_options::connections_max is the concurrency and four).
constexpr std::size_t deletions_at_once = 8;
// Of more snapshots than that, whose backups were deleted, the later ones are remembered.
constexpr std::ptrdiff_t pruned_snapshots_max = 10'000;
// Clocks that differ by less agree.
constexpr std::chrono::minutes clock_tolerance{15};

// Whether the store refuses this object alone (a policy, Object Lock, a legal hold), and not the
// credentials or the request as such. Stores name it differently: AccessDenied (AWS, Ceph),
// ObjectLocked and InvalidRequest (MinIO), MethodNotAllowed.
bool refuses_object(const error& failure) {
  const bool about_us = failure.code == "InvalidAccessKeyId" ||
                        failure.code == "SignatureDoesNotMatch" || failure.code == "InvalidToken";
  const bool refusal = failure.why == reason::access || failure.why == reason::unspecified ||
                       failure.why == reason::precondition || failure.why == reason::unsupported;
  return failure.what_now == disposition::fail && refusal && failure.status / 100 == 4 && !about_us;
}

error pointer_moved(const std::string& key) {
  error failure;
  failure.message = key + " has changed since it was looked at: another host backs up there";
  failure.remedy = "run prune again where the backups are made";
  return failure;
}

}  // namespace

// What is deleted together: a generation, or all orphans.
struct subvolume_pruner::group {
  std::string generation;
  std::vector<planner::removal> manifests;  // children first
  std::vector<planner::removal> chunks;
};

subvolume_pruner::subvolume_pruner(const services& with, s3::object_store& store, store_clock time,
                                   const price_table& prices, std::string subvolume)
    : _with(with),
      _store(store),
      _time(std::move(time)),
      _prices(prices),
      _root(planner::key_layout(with.settings.s3.prefix, subvolume).root()) {
  _report.name = std::move(subvolume);
}

planner::timestamp subvolume_pruner::now() const {
  const auto here = _with.clock.now();
  const auto there = _time ? _time().value_or(here) : here;
  if (std::chrono::abs(there - here) > clock_tolerance) {
    _with.log.write(
        log_level::warning, "prune", "clocks_differ",
        {{"seconds",
          std::to_string(std::chrono::duration_cast<std::chrono::seconds>(there - here).count())},
         {"consequence", "the earlier of the store's and this host's counts"}});
  }
  return planner::timestamp(std::chrono::floor<std::chrono::seconds>(std::min(here, there)));
}

void subvolume_pruner::take_pointer(const pointer_finding& pointer,
                                    planner::prune_observation& seen) {
  if (!pointer.problem.empty()) {
    seen.pointer_problem = pointer.problem;
  } else if (!pointer.there) {
    seen.pointer_problem = "there is no " + _root + "current.json";
  } else {
    _pointer_text = pointer.there->text;
    // In a bucket copied under another prefix, the pointer names the old place.
    seen.current = planner::place_in(seen.all.objects, _root + "full/manifest",
                                     pointer.there->value.manifest_key);
  }
}

task<result<void>> subvolume_pruner::observe_uploads(planner::prune_observation& seen) {
  auto listing = _store.list_multipart_uploads(_root, _with.stop);
  auto uploads = co_await std::move(listing);
  if (!uploads) {
    const reason why = uploads.error().why;
    if (why != reason::access && why != reason::unsupported) {
      co_return std::move(uploads.error());
    }
    _report.uploads_problem = uploads.error().text();
    co_return engine::ok();
  }
  for (const s3::listed_upload& one : *uploads) {
    const auto initiated = planner::timestamp::parse(one.initiated);
    if (!initiated) {
      co_return document_failure(
          "uploads under " + _root,
          one.key.str() + " has no date that can be read: \"" + one.initiated + '"');
    }
    seen.uploads.push_back({one.key.str(), one.id.str(), *initiated});
  }
  co_return engine::ok();
}

// Which fulls have been verified, and how the current one was.
void subvolume_pruner::observe_proof(planner::prune_observation& seen,
                                     const verify_record& verified) {
  const verified_subvolume* known = verified.find(_report.name, place_of(_with, _report.name));
  if (known == nullptr) {
    return;
  }
  for (const planner::generation& one : planner::generations_of(seen.all).all) {
    const auto link = known->links.find(one.full().key);
    const auto proof = link == known->links.end() ? std::nullopt : link->second.proven();
    if (!proof) {
      continue;
    }
    seen.verified.insert(one.full().key);
    if (std::any_of(one.links.begin(), one.links.end(),
                    [&](const planner::chain_link& part) { return part.key == seen.current; })) {
      _report.proof = proof;
    }
  }
}

task<result<planner::prune_observation>> subvolume_pruner::observe(
    const std::set<planner::timestamp>& in_the_making, const verify_record& verified) {
  planner::prune_observation seen;
  seen.in_the_making = in_the_making;
  // The pointer first: what is published meanwhile is newer than the current one, and stays.
  auto pointing = read_pointer_before(_store, _root + "current.json", _with.stop);
  auto pointer = co_await std::move(pointing);
  if (!pointer) {
    co_return std::move(pointer.error());
  }
  auto listing = observe_uploads(seen);
  auto listed = co_await std::move(listing);
  if (!listed) {
    co_return std::move(listed.error());
  }
  inventory_request wanted(_with.settings.s3.prefix, _report.name,
                           manifest_bound::of_host(_with.settings), doubt::fails);
  wanted.pointer = std::move(*pointer);
  auto reading = read_subvolume(_with.loop, _store, std::move(wanted), _with.stop);
  auto found = co_await std::move(reading);
  if (!found) {
    co_return std::move(found.error());
  }
  seen.all = take_judged_part(*found);
  take_pointer(found->pointer, seen);
  seen.own_host_id = this_host().id;
  const auto current = seen.all.manifests.find(seen.current);
  if (_as_its_host && current != seen.all.manifests.end()) {
    seen.own_host_id = current->second.host_id;
  }
  observe_proof(seen, verified);
  co_return seen;
}

task<void> subvolume_pruner::look(const std::set<planner::timestamp>& in_the_making,
                                  const verify_record& verified) {
  auto observing = observe(in_the_making, verified);
  auto seen = co_await std::move(observing);
  if (!seen) {
    _report.failure = std::move(seen.error());
    co_return;
  }
  planner::prune_policy policy;
  policy.keep_generations = _with.settings.retention.keep_generations.value_or(0);
  policy.keep_name = "retention.keep_generations";
  policy.grace = orphan_grace(_with.settings);
  policy.verify_command = engine::told_command("verify", {{"--subvolume", _report.name}});
  policy.adopt_command = engine::told_command("backup --adopt");
  const std::string endpoint = configured_endpoint(_with);
  policy.minimum_days = minimum_days_of(_prices, endpoint);
  _report.plan = planner::judge_bucket(*seen, policy, now());
  _report.money = estimate_early(_prices, _report.plan.early, _with.settings.s3.region, endpoint);
  for (const planner::removal& one : _report.plan.removals) {
    if (const auto made = seen->all.manifests.find(one.key); made != seen->all.manifests.end()) {
      const planner::snapshot_record& snapshot = made->second.snapshot;
      _going[one.key] = snapshot.uuid.value_or(snapshot.name);
    }
  }
  _report.judged = true;
}

task<result<void>> subvolume_pruner::note_what_goes() {
  if (_going.empty()) {
    co_return engine::ok();
  }
  const std::string& path = _with.settings.global.state_path;
  verified_subvolume before;
  before.place = place_of(_with, _report.name);
  verified_subvolume mine = before;
  const planner::timestamp now(std::chrono::floor<std::chrono::seconds>(_with.clock.now()));
  for (const auto& [key, snapshot] : _going) {
    mine.pruned[key] = now;
  }
  std::function<result<void>()> call = [&] {
    return merge_into_record(path, _report.name, before, mine);
  };
  auto noting = disk_call(_with.loop, std::move(call));
  auto noted = co_await std::move(noting);
  if (!noted) {
    co_return noted;
  }
  state_store states(path, _with.clock, _with.log);
  auto state = states.load();
  if (!state) {
    co_return std::move(state.error());
  }
  std::vector<std::string>& known = state->subvolumes[_report.name].pruned_snapshots;
  for (const auto& [key, snapshot] : _going) {
    if (std::find(known.begin(), known.end(), snapshot) == known.end()) {
      known.push_back(snapshot);
    }
  }
  if (std::ssize(known) > pruned_snapshots_max) {
    known.erase(known.begin(), known.end() - pruned_snapshots_max);
  }
  call = [&] { return states.save(*state); };
  auto saving = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(saving);
}

// In the order of the plan: a generation's removals are next to each other.
std::vector<subvolume_pruner::group> subvolume_pruner::groups() const {
  std::vector<group> all;
  for (const planner::removal& one : _report.plan.removals) {
    if (all.empty() || all.back().generation != one.generation) {
      group next;
      next.generation = one.generation;
      all.push_back(std::move(next));
    }
    const bool is_manifest =
        planner::name_of(_root, one.key).is == planner::object_name::what::manifest;
    BTS3_ASSERT(!is_manifest || all.back().chunks.empty());
    (is_manifest ? all.back().manifests : all.back().chunks).push_back(one);
  }
  return all;
}

task<result<void>> subvolume_pruner::pointer_unmoved() {
  const std::string key = _root + "current.json";
  auto getting = _store.get_object_text(s3::object_key(key), pointer_bytes_max, _with.stop);
  auto found = co_await std::move(getting);
  if (!found && found.error().what_now != disposition::not_found) {
    co_return std::move(found.error());
  }
  if (!found || found->body != _pointer_text) {
    co_return pointer_moved(key);
  }
  co_return engine::ok();
}

task<result<void>> subvolume_pruner::act() {
  BTS3_ASSERT(_report.judged);
  _report.acted = true;
  if (_report.plan.removals.empty() && _report.plan.uploads.empty()) {
    co_return engine::ok();
  }
  auto deleting = delete_all();
  auto deleted = co_await std::move(deleting);
  if (!deleted && deleted.error().what_now != disposition::cancelled) {
    _report.failure = deleted.error();
  }
  co_return deleted;
}

task<result<void>> subvolume_pruner::delete_all() {
  auto noting = note_what_goes();
  auto noted = co_await std::move(noting);
  if (!noted) {
    co_return noted;
  }
  for (group& one : groups()) {
    auto looking = pointer_unmoved();
    auto unmoved = co_await std::move(looking);
    if (!unmoved) {
      co_return unmoved;
    }
    auto deleting = delete_group(std::move(one));
    auto deleted = co_await std::move(deleting);
    if (!deleted) {
      co_return deleted;
    }
  }
  auto looking = pointer_unmoved();
  auto unmoved = co_await std::move(looking);
  if (!unmoved) {
    co_return unmoved;
  }
  auto aborting = abort_uploads();
  co_return co_await std::move(aborting);
}

task<result<void>> subvolume_pruner::delete_group(group one) {
  for (std::size_t i = 0; i < one.manifests.size(); ++i) {
    auto deleting = delete_one(one.manifests[i]);
    auto deleted = co_await std::move(deleting);
    if (!deleted) {
      co_return std::move(deleted.error());
    }
    if (!*deleted) {
      // It stays, so everything that it may rest on, or name, stays too.
      _report.left += one.manifests.size() - i - 1 + one.chunks.size();
      co_return engine::ok();
    }
  }
  if (!one.manifests.empty() && !one.chunks.empty()) {
    auto looking = pointer_unmoved();
    auto unmoved = co_await std::move(looking);
    if (!unmoved) {
      co_return unmoved;
    }
  }
  auto deleting = delete_chunks(std::move(one.chunks));
  co_return co_await std::move(deleting);
}

task<result<void>> subvolume_pruner::delete_chunks(std::vector<planner::removal> chunks) {
  auto deleting = engine::for_each_at_most(
      _with.loop, deletions_at_once, chunks.size(),
      [this, &chunks](std::size_t index) { return delete_one(chunks[index]); }, _with.stop);
  co_return co_await std::move(deleting);
}

bool subvolume_pruner::note_refusal(const std::string& key, const error& failure) {
  if (!refuses_object(failure)) {
    return false;
  }
  _with.log.write(log_level::warning, "prune", "deletion_refused",
                  {{"key", key}, {"error", failure.text()}});
  _report.refused.push_back({key, failure.text()});
  return true;
}

// False: the store refuses to delete it.
task<result<bool>> subvolume_pruner::delete_one(planner::removal one) {
  if (_with.stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  BTS3_ASSERT(one.key.starts_with(_root));
  auto deleting = _store.delete_object(s3::object_key(one.key), _with.stop);
  auto deleted = co_await std::move(deleting);
  if (deleted) {
    ++_report.deleted_objects;
    _report.deleted_bytes += one.size;
    _with.log.write(log_level::info, "prune", "object_deleted",
                    {{"key", one.key},
                     {"bytes", std::to_string(one.size)},
                     {"storage_class", one.storage_class}});
    co_return true;
  }
  if (note_refusal(one.key, deleted.error())) {
    co_return false;
  }
  co_return std::move(deleted.error());
}

task<result<void>> subvolume_pruner::abort_uploads() {
  for (const planner::upload_removal& one : _report.plan.uploads) {
    if (_with.stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    auto aborting = _store.abort_multipart_upload(s3::object_key(one.key),
                                                  s3::upload_id(one.upload_id), _with.stop);
    auto aborted = co_await std::move(aborting);
    if (aborted) {
      ++_report.aborted_uploads;
      _with.log.write(log_level::info, "prune", "upload_aborted",
                      {{"key", one.key}, {"upload_id", one.upload_id}});
    } else if (!note_refusal(one.key, aborted.error())) {
      co_return std::move(aborted.error());
    }
  }
  co_return engine::ok();
}

namespace {

// Everything but connecting: `reports` in the order of `names`, also when it is stopped.
task<result<void>> prune_all(const services& with, store_connection& connection,
                             const std::vector<subvolume_config>& chosen, const price_table& prices,
                             const prune_command& command, std::vector<pruned_subvolume>& reports) {
  // Journals are of this host's own backups.
  result<std::set<planner::timestamp>> in_the_making = std::set<planner::timestamp>();
  if (command.from.empty()) {
    in_the_making = backups_in_the_making(with);
  }
  if (!in_the_making) {
    co_return std::move(in_the_making.error());
  }
  auto verified = read_verify_record(with.settings.global.state_path);
  if (!verified) {
    with.log.write(log_level::warning, "prune", "verifications_unknown",
                   {{"error", verified.error().text()}});
    verified = verify_record();
  }
  for (const subvolume_config& one : chosen) {
    subvolume_pruner pruner(
        with, connection.store(), [&connection] { return connection.store_time(); }, prices,
        one.name);
    if (!command.from.empty()) {
      pruner.judge_as_its_host();
    }
    auto looking = pruner.look(*in_the_making, *verified);
    co_await std::move(looking);
    if (with.stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    result<void> done = engine::ok();
    if (command.yes && pruner.report().judged) {
      auto acting = pruner.act();
      done = co_await std::move(acting);
    }
    if (pruner.report().failure) {
      with.log.write(log_level::error, "prune", "subvolume_failed",
                     {{"subvolume", one.name}, {"error", pruner.report().failure->text()}});
    }
    reports.push_back(std::move(pruner.report()));
    if (!done && done.error().what_now == disposition::cancelled) {
      co_return done;
    }
  }
  co_return engine::ok();
}

// Of the subvolumes named, or of all. What cannot be told is a warning: the bucket has been pruned.
task<std::vector<pruned_snapshot>> prune_snapshots(const services& with,
                                                   std::vector<std::string> names, bool acts) {
  std::vector<pruned_snapshot> all;
  auto found = retired_snapshots(with);
  if (!found) {
    with.log.write(log_level::warning, "prune", "snapshots_not_listed",
                   {{"error", found.error().text()}});
    co_return all;
  }
  for (const btrfs::snapshot& one : *found) {
    if (!names.empty() && std::find(names.begin(), names.end(), one.subvolume) == names.end()) {
      continue;
    }
    pruned_snapshot entry;
    entry.subvolume = one.subvolume;
    entry.path = one.path;
    if (acts && !with.stop.stop_requested()) {
      std::function<result<void>()> call = [&with, name = one.name] {
        return with.host.snapshots().remove(with.settings.snapshots.base_dir, name);
      };
      auto removing = engine::offload(with.loop, std::move(call));
      auto removed = co_await std::move(removing);
      entry.removed = removed.has_value();
      entry.error = removed ? "" : removed.error().text();
      with.log.write(removed ? log_level::info : log_level::warning, "prune",
                     removed ? "snapshot_removed" : "snapshot_left",
                     {{"path", one.path}, {"error", entry.error}});
    }
    all.push_back(std::move(entry));
  }
  co_return all;
}

// Whether something that was asked for did not happen.
bool failed(const pruned_subvolume& one, const config& settings) {
  const std::size_t keep = settings.retention.keep_generations.value_or(0);
  const bool held = one.acted && !one.plan.held_back.empty() && one.surplus(keep) > 0;
  return one.failure || !one.refused.empty() || held;
}

}  // namespace

task<result<exit_status>> run_command(const services& with, prune_command command) {
  auto chosen = select_also_retired(with.settings, command.subvolumes);
  if (!chosen) {
    co_return std::move(chosen.error());
  }
  auto prices = load_prices(with.settings.restore.price_table);
  if (!prices) {
    co_return std::move(prices.error());
  }
  std::optional<run_lock> lock;
  if (command.yes) {
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
  std::vector<pruned_subvolume> reports;
  auto finding = chosen_in_bucket(with, (*connection)->store(), std::move(*chosen));
  chosen = co_await std::move(finding);
  result<void> pruned = engine::ok();
  if (chosen) {
    auto pruning = prune_all(with, **connection, *chosen, *prices, command, reports);
    pruned = co_await std::move(pruning);
  }
  auto closing = (*connection)->close();
  co_await std::move(closing);
  if (!chosen) {
    co_return std::move(chosen.error());
  }
  std::vector<pruned_snapshot> snapshots;
  if (pruned && command.from.empty()) {
    auto removing = prune_snapshots(with, command.subvolumes, command.yes);
    snapshots = co_await std::move(removing);
  }
  if (command.json) {
    print_json(prune_as_json(reports, command.yes, snapshots));
  } else {
    const prune_mode mode = command.yes            ? prune_mode::acted
                            : command.from.empty() ? prune_mode::shown
                                                   : prune_mode::shown_elsewhere;
    print_text(prune_as_text(reports, mode, snapshots));
  }
  if (!pruned) {
    co_return std::move(pruned.error());
  }
  const bool left = std::any_of(snapshots.begin(), snapshots.end(),
                                [](const pruned_snapshot& one) { return !one.error.empty(); });
  const auto bad = static_cast<std::size_t>(
      std::count_if(reports.begin(), reports.end(),
                    [&](const pruned_subvolume& one) { return failed(one, with.settings); }));
  if (bad == 0) {
    co_return left ? exit_status::partly : exit_status::done;
  }
  if (bad < reports.size()) {
    co_return exit_status::partly;
  }
  co_return reports.front().failure ? status_of(*reports.front().failure) : exit_status::failed;
}

}  // namespace bts3::app
