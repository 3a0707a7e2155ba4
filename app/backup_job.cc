#include "app/backup_job.hh"

#include "app/human_units.hh"
#include "app/run_lock.hh"
#include "app/upload_stream.hh"
#include "btrfs/identity.hh"
#include "planner/keys.hh"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <set>
#include <utility>

#ifndef BTS3_VERSION
#define BTS3_VERSION "unknown"
#endif

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

// Cleaning up after a failure gives up after this long, so that a stop ends within 10 s also when
// the network is gone.
constexpr std::chrono::seconds clean_up_limit{6};

std::string first_line_of(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

planner::timestamp now_of(const engine::clock& clock) {
  return planner::timestamp(std::chrono::floor<std::chrono::seconds>(clock.now()));
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

task<void> stop_after(engine::reactor& loop, engine::stop_source& source,
                      std::chrono::seconds limit, engine::stop_token finished) {
  auto sleeping = loop.sleep_for(limit, finished);
  auto slept = co_await std::move(sleeping);
  if (slept) {
    source.request_stop();
  }
}

}  // namespace

// A backup from its snapshot to its pointer.
struct backup_job::made_backup {
  made_backup(subvolume_config of, planner::key_layout where) : which(std::move(of)), keys(where) {}
  subvolume_config which;
  planner::key_layout keys;
  planner::plan plan;
  planner::backup_kind kind = planner::backup_kind::full;
  planner::timestamp when;
  btrfs::snapshot snapshot;
  btrfs::send_options send;
  std::unique_ptr<upload_stream> upload;
  std::vector<planner::chunk_record> chunks;
  std::uint64_t commands = 0;
  std::string manifest_key;
  bool manifest_written = false;
  bool pointer_may_have_moved = false;
  bool published = false;
};

backup_job::backup_job(const services& with, backup_command command)
    : _with(with), _command(std::move(command)), _snapshots(with.settings.base_dir) {
  _host_id = first_line_of("/etc/machine-id");
  _host_name = host_name();
}

result<std::vector<subvolume_config>> backup_job::selected() const {
  if (_command.subvolumes.empty()) {
    return _with.settings.subvolumes;
  }
  std::vector<subvolume_config> chosen;
  std::string known;
  for (const subvolume_config& one : _with.settings.subvolumes) {
    known += (known.empty() ? "" : ", ") + one.name;
    if (std::find(_command.subvolumes.begin(), _command.subvolumes.end(), one.name) !=
        _command.subvolumes.end()) {
      chosen.push_back(one);
    }
  }
  for (const std::string& name : _command.subvolumes) {
    if (std::none_of(chosen.begin(), chosen.end(),
                     [&](const subvolume_config& one) { return one.name == name; })) {
      error failure;
      failure.why = reason::configuration;
      failure.message = "--subvolume " + name + " is not in the configuration";
      failure.remedy = "it has: " + known;
      return failure;
    }
  }
  return chosen;
}

task<result<exit_status>> backup_job::run() {
  auto chosen = selected();
  if (!chosen) {
    co_return std::move(chosen.error());
  }
  std::optional<run_lock> lock;
  if (!_command.dry_run) {
    auto locked = run_lock::acquire(_with.settings.lock_path);
    if (!locked) {
      co_return std::move(locked.error());
    }
    lock = std::move(*locked);
  }
  _states = std::make_unique<state_store>(_with.settings.state_path, _with.clock, _with.log);
  if (!_command.dry_run && !_command.no_s3) {
    auto state = _states->load();
    if (!state) {
      co_return std::move(state.error());
    }
    _state = std::move(*state);
  }
  auto detecting = btrfs::detect_capabilities(_with.loop);
  auto host = co_await std::move(detecting);
  if (!host) {
    co_return std::move(host.error());
  }
  _host = *host;
  if (!_command.no_s3) {
    auto connection = store_connection::open(_with);
    if (!connection) {
      co_return std::move(connection.error());
    }
    _connection = std::move(*connection);
  }
  auto running = run_all(std::move(*chosen));
  auto status = co_await std::move(running);
  if (_connection) {
    auto closing = _connection->close();
    co_await std::move(closing);
  }
  co_return status;
}

task<result<exit_status>> backup_job::run_all(std::vector<subvolume_config> chosen) {
  std::size_t done = 0;
  std::optional<error> first_failure;
  for (const subvolume_config& which : chosen) {
    if (_with.stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    auto backing_up = back_up(which);
    auto outcome = co_await std::move(backing_up);
    if (outcome) {
      ++done;
      continue;
    }
    if (outcome.error().what_now == disposition::cancelled) {
      co_return std::move(outcome.error());
    }
    error failure = std::move(outcome.error());
    if (failure.why == reason::integrity) {
      // Exit status 4 is for data that was stored; here nothing was.
      failure.why = reason::child_process;
    }
    _with.log.write(log_level::error, "backup", "subvolume_failed",
                    {{"subvolume", which.name}, {"error", failure.text()}});
    if (!first_failure) {
      first_failure = std::move(failure);
    }
  }
  if (!first_failure) {
    co_return exit_status::done;
  }
  co_return done > 0 ? exit_status::partly : status_of(*first_failure);
}

task<result<void>> backup_job::list_bucket(std::string root) {
  auto listing = _connection->store().list_objects(s3::list_request(root), _with.stop);
  auto found = co_await std::move(listing);
  if (!found) {
    co_return std::move(found.error());
  }
  _objects.clear();
  for (const s3::listed_object& object : found->objects) {
    _objects[object.key.str()] = object.size;
  }
  co_return engine::ok();
}

// Empty when every chunk of the chain is in the bucket with its size.
std::string backup_job::chunk_problem(const std::vector<chain_link>& chain) const {
  for (const chain_link& link : chain) {
    for (const planner::chunk_record& chunk : link.value.chunks) {
      auto there = _objects.find(chunk.key);
      if (there == _objects.end()) {
        there = _objects.find(planner::beside_manifest(link.key, chunk.key));
      }
      if (there == _objects.end()) {
        return "chunk " + chunk.key + " is missing from the bucket";
      }
      if (there->second != chunk.size) {
        return "chunk " + chunk.key + " has " + std::to_string(there->second) +
               " bytes in the bucket, and " + std::to_string(chunk.size) + " were recorded";
      }
    }
  }
  return "";
}

// Which local snapshot is the last backup's, by the identity rule.
void backup_job::observe_parent(const subvolume_config& which, planner::observation& seen) const {
  auto snapshots = _snapshots.list(which.name);
  if (!snapshots) {
    seen.parent_problem = snapshots.error().text();
    return;
  }
  const planner::snapshot_record& record = seen.last->snapshot;
  btrfs::recorded_identity recorded;
  if (record.uuid) {
    recorded.own_uuid = btrfs::uuid::parse(*record.uuid);
  }
  if (record.received_uuid) {
    recorded.received_uuid = btrfs::uuid::parse(*record.received_uuid);
  }
  recorded.ctransid = record.ctransid;
  seen.parent_problem =
      "no snapshot in " + _with.settings.base_dir + " has the UUID of " + record.name;
  for (const btrfs::snapshot& snapshot : *snapshots) {
    const btrfs::identity_finding finding = btrfs::compare_identity(recorded, snapshot.info);
    bool matches = finding.matches();
    if (finding.verdict == btrfs::identity_verdict::unknown && snapshot.name == record.name) {
      // The earlier tool recorded no UUIDs: name, path and our own memory have to agree.
      const auto known = _state.subvolumes.find(which.name);
      matches = snapshot.path == record.path && snapshot.info.read_only &&
                known != _state.subvolumes.end() && known->second.last_manifest == seen.last_key;
      if (matches) {
        _with.log.write(log_level::info, "backup", "parent_matched_by_name",
                        {{"snapshot", snapshot.path},
                         {"reason", "its manifest records no UUID, the state file names both"}});
      }
    }
    if (matches) {
      seen.parent_snapshot = snapshot.path;
      seen.parent_problem.clear();
      return;
    }
    if (snapshot.name == record.name) {
      seen.parent_problem = snapshot.path + ": " + finding.sentence;
    }
  }
}

task<result<planner::observation>> backup_job::observe(subvolume_config which) {
  planner::observation seen;
  seen.subvolume = which.name;
  seen.own_host_id = _host_id;
  _pointer.reset();
  if (!_connection) {
    co_return seen;
  }
  const planner::key_layout keys(_with.settings.prefix, which.name);
  auto reading = read_pointer(_connection->store(), keys.pointer(), _with.stop);
  auto pointer = co_await std::move(reading);
  if (!pointer) {
    co_return std::move(pointer.error());
  }
  _pointer = std::move(*pointer);
  auto listing = list_bucket(keys.root());
  auto listed = co_await std::move(listing);
  if (!listed) {
    co_return std::move(listed.error());
  }
  if (!_pointer) {
    co_return seen;
  }
  seen.pointer_exists = true;
  seen.last_key = _pointer->value.manifest_key;
  auto chaining = read_chain(_connection->store(), seen.last_key, _with.stop);
  auto chain = co_await std::move(chaining);
  if (!chain) {
    const error& failure = chain.error();
    const bool answer = failure.what_now == disposition::not_found ||
                        failure.why == reason::integrity || failure.why == reason::protocol;
    if (!answer) {
      co_return std::move(chain.error());
    }
    // The link itself, or one of its parents?
    auto again = read_manifest(_connection->store(), seen.last_key, _with.stop);
    auto last = co_await std::move(again);
    if (last) {
      seen.last = std::move(*last);
      seen.chain_problem = failure.text();
    } else {
      seen.pointer_problem = failure.text();
      co_return seen;
    }
  } else {
    seen.last = chain->back().value;
    seen.last_key = chain->back().key;
    seen.chunk_problem = chunk_problem(*chain);
  }
  observe_parent(which, seen);
  co_return seen;
}

task<result<btrfs::snapshot>> backup_job::make_snapshot(subvolume_config which,
                                                        planner::backup_kind kind) {
  const bool full = kind == planner::backup_kind::full;
  for (;;) {
    const std::string time = now_of(_with.clock).compact();
    auto existing = _snapshots.list(which.name);
    if (!existing) {
      co_return std::move(existing.error());
    }
    // Keys carry the time: those of an earlier backup must not be written again.
    const bool taken = std::any_of(existing->begin(), existing->end(),
                                   [&](const auto& one) { return one.time == time; }) ||
                       std::any_of(_objects.begin(), _objects.end(), [&](const auto& object) {
                         return object.first.find("-" + time) != std::string::npos;
                       });
    if (!taken) {
      co_return _snapshots.create(which.path, which.name, time, full);
    }
    // A second run within the same second.
    auto waiting = _with.loop.sleep_for(std::chrono::milliseconds(200), _with.stop);
    auto waited = co_await std::move(waiting);
    if (!waited) {
      co_return std::move(waited.error());
    }
  }
}

task<result<void>> backup_job::back_up(subvolume_config which) {
  if (auto usable = _snapshots.check(which.path); !usable) {
    co_return std::move(usable.error());
  }
  auto observing = observe(which);
  auto seen = co_await std::move(observing);
  if (!seen) {
    co_return std::move(seen.error());
  }
  made_backup backup(which, planner::key_layout(_with.settings.prefix, which.name));
  backup.plan = planner::decide(*seen);
  if (backup.plan.what == planner::action::stop) {
    error failure;
    failure.message = backup.plan.sentence;
    co_return failure;
  }
  backup.kind = backup.plan.what == planner::action::full ? planner::backup_kind::full
                                                          : planner::backup_kind::incremental;
  const std::string kind(planner::to_string(backup.kind));
  if (_command.dry_run) {
    std::printf("%s: would make a backup: %s (%s: %s) to s3://%s/%s\n", which.name.c_str(),
                kind.c_str(), backup.plan.reason.c_str(), backup.plan.sentence.c_str(),
                _with.settings.bucket.c_str(), backup.keys.root().c_str());
    co_return engine::ok();
  }
  const bool fallback = backup.plan.what == planner::action::full && seen->pointer_exists;
  _with.log.write(fallback ? log_level::warning : log_level::info, "backup", "planned",
                  {{"subvolume", which.name},
                   {"kind", kind},
                   {"reason", backup.plan.reason},
                   {"because", backup.plan.sentence}});
  auto nested = btrfs::nested_subvolumes(which.path);
  if (!nested) {
    co_return std::move(nested.error());
  }
  if (!nested->empty()) {
    std::string names;
    for (const std::string& name : *nested) {
      names += (names.empty() ? "" : ", ") + name;
    }
    _with.log.write(log_level::warning, "backup", "nested_subvolumes_left_out",
                    {{"subvolume", which.name},
                     {"nested", names},
                     {"remedy", "list them in subvolumes.paths to back them up"}});
  }
  auto snapshotting = make_snapshot(which, backup.kind);
  auto snapshot = co_await std::move(snapshotting);
  if (!snapshot) {
    co_return std::move(snapshot.error());
  }
  backup.snapshot = std::move(*snapshot);
  const auto when = planner::timestamp::parse(backup.snapshot.time);
  backup.when = *when;
  auto streaming = stream_and_publish(backup);
  auto outcome = co_await std::move(streaming);
  if (!outcome || _command.no_s3) {
    auto undoing = undo(backup);
    co_await std::move(undoing);
  }
  if (!outcome) {
    co_return outcome;
  }
  std::printf("%s: %s backup, %s in %zu chunk%s%s%s\n", which.name.c_str(), kind.c_str(),
              format_bytes(backup.upload->total_bytes()).c_str(), backup.chunks.size(),
              backup.chunks.size() == 1 ? "" : "s",
              _command.no_s3 ? ", nothing uploaded (--no-s3)" : ", ",
              _command.no_s3 ? "" : backup.manifest_key.c_str());
  co_return outcome;
}

task<result<void>> backup_job::stream_and_publish(made_backup& backup) {
  auto streaming = stream(backup);
  auto streamed = co_await std::move(streaming);
  if (!streamed || _command.no_s3) {
    co_return streamed;
  }
  auto publishing = publish(backup);
  auto published = co_await std::move(publishing);
  if (!published) {
    co_return published;
  }
  auto remembered = remember(backup);
  if (!remembered) {
    // The backup is complete and the bucket says so; only this host's memory of it is missing.
    _with.log.write(log_level::error, "backup", "state_not_written",
                    {{"error", remembered.error().text()}});
    co_return remembered;
  }
  remove_surplus(backup);
  co_return engine::ok();
}

task<result<void>> backup_job::stream(made_backup& backup) {
  const auto started = std::chrono::steady_clock::now();
  backup.send.snapshot = backup.snapshot.path;
  backup.send.parent = backup.plan.parent_snapshot;
  backup.send.protocol = _with.settings.send_protocol == "auto" ? (_host.protocol_2() ? 2 : 1)
                         : _with.settings.send_protocol == "2"  ? 2
                                                                : 1;
  backup.send.compressed_data =
      backup.send.protocol == 2 && _with.settings.compressed_data != "false";
  auto send = btrfs::send_process::start(_with.loop, backup.send);
  if (!send) {
    co_return std::move(send.error());
  }
  btrfs::stream_inspector inspector;
  backup.upload = std::make_unique<upload_stream>(_with, _connection.get(), backup.keys,
                                                  backup.kind, backup.when);
  auto running = backup.upload->run(send->fd(), inspector);
  auto ran = co_await std::move(running);
  if (!ran) {
    auto aborting = send->abort();
    co_await std::move(aborting);
    co_return ran;
  }
  auto finishing = send->finish();
  auto finished = co_await std::move(finishing);
  if (!finished) {
    co_return finished;
  }
  if (auto whole = inspector.finish(); !whole) {
    co_return whole;
  }
  backup.commands = inspector.commands();
  auto completing = backup.upload->complete();
  auto chunks = co_await std::move(completing);
  if (!chunks) {
    co_return std::move(chunks.error());
  }
  backup.chunks = std::move(*chunks);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - started);
  _with.log.write(log_level::info, "backup", "stream_uploaded",
                  {{"subvolume", backup.which.name},
                   {"bytes", std::to_string(backup.upload->total_bytes())},
                   {"milliseconds", std::to_string(took.count())},
                   {"chunks", std::to_string(backup.chunks.size())},
                   {"retries", std::to_string(_connection ? _connection->retries() : 0)}});
  co_return engine::ok();
}

planner::manifest backup_job::describe(const made_backup& backup) const {
  const btrfs::subvolume_info& info = backup.snapshot.info;
  planner::manifest value;
  value.subvolume = backup.which.name;
  value.kind = backup.kind;
  value.created_at = backup.when;
  value.snapshot.name = backup.snapshot.name;
  value.snapshot.path = backup.snapshot.path;
  value.snapshot.uuid = info.own_uuid.text();
  if (!info.parent_uuid.is_null()) {
    value.snapshot.parent_uuid = info.parent_uuid.text();
  }
  if (!info.received_uuid.is_null()) {
    value.snapshot.received_uuid = info.received_uuid.text();
  }
  value.snapshot.ctransid = info.ctransid;
  value.parent_manifest = backup.plan.parent_manifest;
  value.chunks = backup.chunks;
  value.total_bytes = backup.upload->total_bytes();
  value.chunk_size = _with.settings.chunk_limit_bytes();
  value.storage_class = _with.settings.storage_class_chunks;
  planner::stream_record stream;
  stream.protocol = backup.send.protocol;
  stream.compressed_data = backup.send.compressed_data;
  stream.commands = backup.commands;
  value.stream = stream;
  value.tool_name = "btrfs_to_s3";
  value.tool_version = BTS3_VERSION;
  value.host_id = _host_id;
  value.host_name = _host_name;
  return value;
}

task<result<void>> backup_job::publish(made_backup& backup) {
  backup.manifest_key = backup.keys.manifest(backup.kind, backup.when);
  auto putting = put_manifest(backup, planner::write_manifest(describe(backup)));
  auto put = co_await std::move(putting);
  if (!put) {
    co_return std::move(put.error()).within("writing manifest " + backup.manifest_key);
  }
  auto moving = move_pointer(backup);
  auto moved = co_await std::move(moving);
  if (!moved) {
    co_return std::move(moved.error()).within("moving " + backup.keys.pointer());
  }
  backup.published = true;
  co_return engine::ok();
}

task<result<void>> backup_job::put_manifest(made_backup& backup, std::string text) {
  const s3::object_key key(backup.manifest_key);
  s3::put_request request(key, bytes_of(text));
  request.options =
      write_options_for(_with.settings, _with.settings.storage_class_manifest, "application/json");
  request.condition = s3::precondition::absent();
  backup.manifest_written = true;  // from here an answer may be lost
  for (;;) {
    s3::put_request copy = request;
    auto putting = _connection->store().put_object(std::move(copy), _with.stop);
    auto put = co_await std::move(putting);
    if (put) {
      co_return engine::ok();
    }
    const error& failure = put.error();
    if (failure.why == reason::unsupported && request.condition.must_be_absent) {
      request.condition = s3::precondition();
      continue;
    }
    if (failure.why != reason::precondition) {
      co_return std::move(put.error());
    }
    // 412 may be the echo of our own first attempt.
    auto getting =
        _connection->store().get_object_text(key, planner::manifest_bytes_max, _with.stop);
    auto there = co_await std::move(getting);
    if (!there) {
      co_return std::move(there.error());
    }
    if (there->body == text) {
      co_return engine::ok();
    }
    backup.manifest_written = false;  // it is somebody else's
    error second;
    second.message = "another manifest of that name exists: a second writer uses this prefix";
    second.remedy = "give each host an s3.prefix of its own";
    co_return second;
  }
}

// Compare and swap. Stores differ in how they compare, and answers get lost, so a refusal is
// examined: our own bytes mean success, unchanged content means a store that compares badly.
task<result<void>> backup_job::move_pointer(made_backup& backup) {
  const s3::object_key key(backup.keys.pointer());
  planner::pointer value;
  value.manifest_key = backup.manifest_key;
  value.kind = backup.kind;
  value.created_at = backup.when;
  const std::string text = planner::write_pointer(value);
  s3::put_request request(key, bytes_of(text));
  request.options =
      write_options_for(_with.settings, _with.settings.storage_class_manifest, "application/json");
  request.condition =
      _pointer ? s3::precondition::matches(_pointer->tag) : s3::precondition::absent();
  backup.pointer_may_have_moved = true;
  for (int conflicts = 0; conflicts < 8;) {
    s3::put_request copy = request;
    auto putting = _connection->store().put_object(std::move(copy), _with.stop);
    auto put = co_await std::move(putting);
    if (put) {
      co_return engine::ok();
    }
    const error failure = std::move(put.error());
    if (failure.why == reason::unsupported) {
      request.condition = s3::precondition();
      ++conflicts;
      continue;
    }
    if (failure.why != reason::precondition) {
      co_return failure;
    }
    auto reading = read_pointer(_connection->store(), key.str(), _with.stop);
    auto there = co_await std::move(reading);
    if (!there) {
      co_return std::move(there.error());
    }
    if (*there && (*there)->text == text) {
      co_return engine::ok();
    }
    const bool unchanged = there->has_value() == _pointer.has_value() &&
                           (!_pointer || (*there)->text == _pointer->text);
    if (!unchanged) {
      backup.pointer_may_have_moved = false;
      error second;
      second.message = "the pointer was moved by somebody else during this backup";
      second.remedy = "two hosts must not share a prefix: give each an s3.prefix of its own";
      co_return second;
    }
    ++conflicts;
    if (failure.status == 409) {
      continue;  // a concurrent request that did not win either: compare and try again
    }
    if (request.condition.must_match && !request.condition.unquoted) {
      request.condition.unquoted = true;
      continue;
    }
    _with.log.write(log_level::warning, "backup", "pointer_moved_unconditionally",
                    {{"key", key.str()},
                     {"reason", "the store refuses a condition that holds: " + failure.message}});
    request.condition = s3::precondition();
  }
  error failure;
  failure.message = "the store refuses to replace the pointer";
  co_return failure;
}

// Leaves the world as it was before, unless the pointer may name this backup.
task<void> backup_job::undo(made_backup& backup) {
  if (backup.published) {
    co_return;
  }
  engine::stop_source limit;
  engine::stop_source finished;
  engine::async_scope timer(_with.loop);
  timer.spawn(stop_after(_with.loop, limit, clean_up_limit, finished.token()));

  bool keep = false;
  if (backup.pointer_may_have_moved) {
    auto reading = read_pointer(_connection->store(), backup.keys.pointer(), limit.token());
    auto there = co_await std::move(reading);
    keep = !there || (*there && (*there)->value.manifest_key == backup.manifest_key);
  }
  if (keep) {
    _with.log.write(log_level::error, "backup", "outcome_unknown",
                    {{"manifest", backup.manifest_key},
                     {"consequence",
                      "the pointer may name this backup already, so its objects and its snapshot "
                      "stay; the next run looks again"}});
  } else {
    if (backup.manifest_written) {
      auto deleting =
          _connection->store().delete_object(s3::object_key(backup.manifest_key), limit.token());
      auto deleted = co_await std::move(deleting);
      if (!deleted) {
        _with.log.write(log_level::warning, "backup", "object_left",
                        {{"key", backup.manifest_key}, {"error", deleted.error().text()}});
      }
    }
    if (backup.upload) {
      auto abandoning = backup.upload->abandon(limit.token());
      co_await std::move(abandoning);
    }
    auto removing = remove_snapshot(backup.snapshot.name);
    co_await std::move(removing);
  }
  finished.request_stop();
  auto joining = timer.join();
  co_await std::move(joining);
}

// While a sender that was stopped has not let go of its snapshot, the kernel refuses with EPERM.
task<void> backup_job::remove_snapshot(std::string name) {
  for (int attempt = 0;; ++attempt) {
    auto removed = _snapshots.remove(name);
    if (removed) {
      co_return;
    }
    if (removed.error().status != EPERM || attempt == 20) {
      _with.log.write(log_level::warning, "backup", "snapshot_left",
                      {{"path", _snapshots.path_of(name)}, {"error", removed.error().text()}});
      co_return;
    }
    auto waiting = _with.loop.sleep_for(std::chrono::milliseconds(100));
    (void)co_await std::move(waiting);
  }
}

result<void> backup_job::remember(const made_backup& backup) {
  subvolume_state& entry = _state.subvolumes[backup.which.name];
  entry.last_snapshot = backup.snapshot.path;
  entry.last_manifest = backup.manifest_key;
  entry.last_backup_at = backup.when.rfc3339();
  if (backup.kind == planner::backup_kind::full) {
    entry.last_full_at = backup.when.rfc3339();
  }
  entry.snapshot_uuid = backup.snapshot.info.own_uuid.text();
  entry.snapshot_ctransid = backup.snapshot.info.ctransid;
  _state.last_run_at = now_of(_with.clock).rfc3339();
  return _states->save(_state);
}

// Keeps the newest `retain` snapshots, and the one just made whatever its name says about time: it
// is the next backup's parent.
void backup_job::remove_surplus(const made_backup& backup) const {
  auto snapshots = _snapshots.list(backup.which.name);
  if (!snapshots) {
    _with.log.write(log_level::warning, "backup", "snapshots_not_listed",
                    {{"error", snapshots.error().text()}});
    return;
  }
  std::erase_if(*snapshots, [&](const auto& one) { return one.name == backup.snapshot.name; });
  // A snapshot without a manifest is what a killed run left, or somebody's own: reported, neither
  // counted nor deleted.
  std::erase_if(*snapshots, [&](const auto& one) {
    const auto kind = one.full ? planner::backup_kind::full : planner::backup_kind::incremental;
    const auto when = planner::timestamp::parse(one.time);
    const bool published = when && _objects.contains(backup.keys.manifest(kind, *when));
    if (!published) {
      _with.log.write(log_level::warning, "backup", "snapshot_without_backup",
                      {{"path", one.path}, {"remedy", "delete it if nobody needs it"}});
    }
    return !published;
  });
  const auto others = static_cast<std::size_t>(_with.settings.retain) - 1;
  while (snapshots->size() > others) {
    const btrfs::snapshot oldest = snapshots->front();
    snapshots->erase(snapshots->begin());
    auto removed = _snapshots.remove(oldest.name);
    if (removed) {
      _with.log.write(log_level::info, "backup", "snapshot_removed", {{"path", oldest.path}});
    } else {
      _with.log.write(log_level::warning, "backup", "snapshot_left",
                      {{"path", oldest.path}, {"error", removed.error().text()}});
    }
  }
}

}  // namespace bts3::app
