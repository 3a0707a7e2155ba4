#include "app/restore_job.hh"

#include "app/human_units.hh"
#include "btrfs/identity.hh"
#include "btrfs/processes.hh"
#include "btrfs/snapshot_manager.hh"
#include "planner/keys.hh"

#include <sys/stat.h>

#include <algorithm>
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

// Classes whose objects cannot be read before they are thawed ("Restoring an archived object",
// Amazon S3 User Guide); GLACIER_IR can.
bool needs_thaw(const s3::object_info& info) {
  const bool archived = info.stored_as.str() == "GLACIER" ||
                        info.stored_as.str() == "DEEP_ARCHIVE" || !info.archive_status.empty();
  return archived && info.restore.find("ongoing-request=\"false\"") == std::string::npos;
}

btrfs::recorded_identity identity_of(const planner::snapshot_record& snapshot) {
  const auto parsed = [](const std::optional<std::string>& text) {
    return text ? btrfs::uuid::parse(*text) : std::nullopt;
  };
  btrfs::recorded_identity recorded;
  recorded.own_uuid = parsed(snapshot.uuid);
  recorded.received_uuid = parsed(snapshot.received_uuid);
  recorded.ctransid = snapshot.ctransid;
  return recorded;
}

error damaged(std::string message) {
  error failure;
  failure.why = reason::integrity;
  failure.message = std::move(message);
  return failure;
}

}  // namespace

restore_job::restore_job(const services& with, restore_command command)
    : _with(with), _command(std::move(command)) {
  if (_command.target.empty()) {
    _command.target = with.settings.target_base_dir + "/" + _command.subvolume;
  }
}

task<result<exit_status>> restore_job::run() {
  auto connection = store_connection::open(_with);
  if (!connection) {
    co_return std::move(connection.error());
  }
  _connection = std::move(*connection);
  auto running = run_connected();
  auto status = co_await std::move(running);
  auto closing = _connection->close();
  co_await std::move(closing);
  co_return status;
}

task<result<std::vector<chain_link>>> restore_job::find_chain() {
  std::string key = _command.manifest_key;
  if (key.empty()) {
    const planner::key_layout keys(_with.settings.prefix, _command.subvolume);
    auto reading = read_pointer(_connection->store(), keys.pointer(), _with.stop);
    auto pointer = co_await std::move(reading);
    if (!pointer) {
      co_return std::move(pointer.error());
    }
    if (!*pointer) {
      error failure;
      failure.message = "there is no backup of subvolume \"" + _command.subvolume + "\" at s3://" +
                        _with.settings.bucket + "/" + keys.root();
      failure.remedy = "check --subvolume and s3.prefix";
      co_return failure;
    }
    key = (*pointer)->value.manifest_key;
  }
  auto chaining = read_chain(_connection->store(), key, _with.stop);
  auto chain = co_await std::move(chaining);
  if (chain && chain->back().value.subvolume != _command.subvolume) {
    error failure;
    failure.why = reason::configuration;
    failure.message = "manifest " + key + " is of subvolume \"" + chain->back().value.subvolume +
                      "\", not \"" + _command.subvolume + "\"";
    failure.remedy = "correct --subvolume or --manifest-key";
    co_return failure;
  }
  co_return chain;
}

// Finds each chunk in the bucket, with the size that was recorded, and readable.
task<result<std::vector<located_chunk>>> restore_job::locate(const chain_link& link) {
  std::vector<located_chunk> found;
  for (const planner::chunk_record& record : link.value.chunks) {
    located_chunk chunk;
    chunk.record = record;
    chunk.key = s3::object_key(record.key);
    auto asking = _connection->store().head_object(chunk.key, _with.stop);
    auto info = co_await std::move(asking);
    const std::string beside = planner::beside_manifest(link.key, record.key);
    if (!info && info.error().what_now == disposition::not_found && beside != record.key) {
      chunk.key = s3::object_key(beside);
      auto again = _connection->store().head_object(chunk.key, _with.stop);
      info = co_await std::move(again);
    }
    if (!info) {
      if (info.error().what_now == disposition::not_found) {
        co_return damaged("chunk " + record.key + " of manifest " + link.key +
                          " is missing from the bucket");
      }
      co_return std::move(info.error());
    }
    if (info->size != record.size) {
      co_return damaged("chunk " + record.key + " has " + std::to_string(info->size) +
                        " bytes in the bucket, and " + std::to_string(record.size) +
                        " were recorded");
    }
    if (needs_thaw(*info)) {
      error failure;
      failure.why = reason::not_thawed;
      failure.message =
          "chunk " + chunk.key.str() + " is archived (" +
          (info->archive_status.empty() ? info->stored_as.str() : info->archive_status) +
          ") and has not been thawed";
      failure.remedy =
          "request a restore of the chain's objects from the store, and run this again "
          "when they are ready";
      co_return failure;
    }
    chunk.tag = info->tag;
    found.push_back(std::move(chunk));
  }
  co_return found;
}

// A stream that this host cannot receive is refused before anything is downloaded.
task<result<void>> restore_job::check_host(const std::vector<chain_link>& chain) {
  auto detecting = btrfs::detect_capabilities(_with.loop);
  auto host = co_await std::move(detecting);
  if (!host) {
    co_return std::move(host.error());
  }
  for (const chain_link& link : chain) {
    if (link.value.stream && link.value.stream->protocol > 1 && !host->protocol_2()) {
      error failure;
      failure.message = "manifest " + link.key + " needs stream protocol " +
                        std::to_string(link.value.stream->protocol) +
                        ", which this host cannot receive";
      failure.remedy = "use Linux 6.0 or newer with btrfs-progs 6.2 or newer";
      co_return failure;
    }
  }
  co_return engine::ok();
}

void restore_job::print_plan(const std::vector<chain_link>& chain) const {
  std::uint64_t bytes = 0;
  std::size_t objects = 0;
  for (const chain_link& link : chain) {
    bytes += link.value.total_bytes;
    objects += link.value.chunks.size();
  }
  std::printf("%s: would restore the backup of %s to %s: %zu link%s, %zu object%s, %s\n",
              _command.subvolume.c_str(), chain.back().value.created_at.rfc3339().c_str(),
              _command.target.c_str(), chain.size(), chain.size() == 1 ? "" : "s", objects,
              objects == 1 ? "" : "s", format_bytes(bytes).c_str());
  for (const chain_link& link : chain) {
    std::printf("  %s  %-11s  %10s  %s\n", link.value.created_at.rfc3339().c_str(),
                std::string(planner::to_string(link.value.kind)).c_str(),
                format_bytes(link.value.total_bytes).c_str(), link.key.c_str());
  }
}

result<void> restore_job::check_keep_received(const btrfs::target_report& target) const {
  if (!_command.keep_received) {
    return engine::ok();
  }
  auto kept = btrfs::filesystem_id(_with.settings.base_dir);
  auto restored = btrfs::filesystem_id(target.parent);
  if (!kept || !restored || *kept != *restored) {
    error failure;
    failure.why = reason::configuration;
    failure.message = "--keep-received: snapshots.base_dir = " + _with.settings.base_dir +
                      " is not on the target's filesystem";
    failure.remedy = "create it there, or restore without --keep-received";
    return failure;
  }
  return engine::ok();
}

std::string restore_job::kept_path(const chain_link& last) const {
  return _with.settings.base_dir + "/" +
         btrfs::snapshot_name(_command.subvolume, last.value.created_at.compact(),
                              last.value.kind == planner::backup_kind::full);
}

// Whether what --keep-received asks for is there already, kept by an earlier attempt or never lost;
// something else under its name is refused. `received`: what has been received, once it has.
result<bool> restore_job::kept_before(const chain_link& last,
                                      const std::optional<btrfs::uuid>& received) const {
  const std::string path = kept_path(last);
  struct stat entry{};
  if (!_command.keep_received || ::lstat(path.c_str(), &entry) != 0) {
    return false;
  }
  btrfs::recorded_identity recorded = identity_of(last.value.snapshot);
  if (!recorded.own_uuid) {
    recorded.own_uuid = received;
  }
  std::string why = "it is no subvolume";
  if (const auto found = btrfs::inspect_subvolume(path)) {
    const btrfs::identity_finding finding = btrfs::compare_identity(recorded, *found);
    if (finding.matches()) {
      return true;
    }
    why = finding.sentence;
  }
  error failure;
  failure.why = reason::configuration;
  failure.message = "--keep-received: " + path + " exists already and is not this backup's: " + why;
  failure.remedy = "move it away, or restore without --keep-received";
  return failure;
}

// The target is there, and so is a private directory: work of ours that was ended between making
// the target and tidying up?
result<exit_status> restore_job::finish_interrupted(const btrfs::target_report& target,
                                                    const chain_link& wanted) {
  auto workspace = btrfs::receive_workspace::open(target, _command.discard);
  if (!workspace) {
    return std::move(workspace.error());
  }
  const auto published = workspace->published();
  result<void> finished = engine::ok();
  if (published) {
    finished = workspace->remove();
  }
  workspace->close();
  if (!finished) {
    return std::move(finished.error())
        .within("finishing an interrupted restore to " + target.path());
  }
  if (!published) {
    return btrfs::target_exists(target);
  }
  if (published->manifest_key != wanted.key) {
    error failure = btrfs::target_exists(target);
    failure.message += ": it holds the backup of manifest " + published->manifest_key +
                       ", whose interrupted restore has now been finished";
    return failure;
  }
  _with.log.write(log_level::info, "restore", "interrupted_restore_finished",
                  {{"manifest", published->manifest_key}, {"target", target.path()}});
  std::printf(
      "%s: the backup of %s had been restored to %s before; what that restore left was "
      "removed\n",
      _command.subvolume.c_str(), wanted.value.created_at.rfc3339().c_str(), target.path().c_str());
  return exit_status::done;
}

task<result<exit_status>> restore_job::run_connected() {
  auto target = btrfs::check_target(_command.target);
  if (!target) {
    co_return std::move(target.error());
  }
  if (target->exists && _command.dry_run) {
    co_return btrfs::target_exists(*target);
  }
  if (auto allowed = check_keep_received(*target); !allowed) {
    co_return std::move(allowed.error());
  }
  auto finding = find_chain();
  auto chain = co_await std::move(finding);
  if (!chain) {
    co_return std::move(chain.error());
  }
  if (target->exists) {
    co_return finish_interrupted(*target, chain->back());
  }
  // Without a recorded UUID, what an earlier attempt kept is known only by what it received.
  if (identity_of(chain->back().value.snapshot).own_uuid || !target->interrupted) {
    if (auto kept = kept_before(chain->back(), {}); !kept) {
      co_return std::move(kept.error());
    }
  }
  auto checking = check_host(*chain);
  auto able = co_await std::move(checking);
  if (!able) {
    co_return std::move(able.error());
  }
  std::vector<std::vector<located_chunk>> chunks;
  for (const chain_link& link : *chain) {
    auto locating = locate(link);
    auto located = co_await std::move(locating);
    if (!located) {
      co_return std::move(located.error());
    }
    chunks.push_back(std::move(*located));
  }
  if (_command.dry_run) {
    print_plan(*chain);
    co_return exit_status::done;
  }
  auto workspace = btrfs::receive_workspace::open(*target, _command.discard);
  if (!workspace) {
    co_return std::move(workspace.error());
  }
  const chain_link last = chain->back();
  const std::size_t links = chain->size();
  auto receiving = receive_all(std::move(*chain), std::move(chunks), *workspace);
  auto received = co_await std::move(receiving);
  if (received) {
    received = make_target(last, *workspace);
  }
  if (!received) {
    // Recorded links stay for the next attempt; half of one is worth nothing.
    if (auto cleaned = workspace->delete_unrecorded(); !cleaned) {
      _with.log.write(log_level::warning, "restore", "received_subvolume_left",
                      {{"error", cleaned.error().text()}});
    }
    workspace->close();
    co_return std::move(received.error());
  }
  workspace->close();
  std::printf("%s: restored the backup of %s to %s (%zu link%s)\n", _command.subvolume.c_str(),
              last.value.created_at.rfc3339().c_str(), _command.target.c_str(), links,
              links == 1 ? "" : "s");
  co_return exit_status::done;
}

task<result<void>> restore_job::receive_all(std::vector<chain_link> chain,
                                            std::vector<std::vector<located_chunk>> chunks,
                                            btrfs::receive_workspace& workspace) {
  // Records of another chain to the same target are of no use.
  const auto& records = workspace.records();
  bool same_chain = records.size() <= chain.size();
  for (std::size_t i = 0; same_chain && i < records.size(); ++i) {
    same_chain = records[i].manifest_key == chain[i].key;
  }
  if (!same_chain) {
    error failure;
    failure.message = "another restore to " + _command.target + " was interrupted";
    failure.remedy = "finish that one (--manifest-key " + records.back().manifest_key +
                     " or a later backup of its chain), drop what it received with --discard, or "
                     "choose another target";
    co_return failure;
  }
  if (!records.empty()) {
    _with.log.write(log_level::info, "restore", "links_kept_from_before",
                    {{"links", std::to_string(records.size())}});
  }
  std::uint64_t slot_bytes = 0;
  for (const auto& of_link : chunks) {
    for (const located_chunk& chunk : of_link) {
      slot_bytes = std::max(
          slot_bytes, std::min(chunk.record.size,
                               chunk.record.part_size.value_or(_with.settings.part_size_bytes)));
    }
  }
  if (slot_bytes > (std::uint64_t{5} << 30)) {
    co_return damaged("a manifest of the chain records parts of " + format_bytes(slot_bytes) +
                      ", and S3 allows 5 GiB");
  }
  engine::buffer_pool pool(_with.loop, slot_bytes,
                           static_cast<std::size_t>(_with.settings.concurrency) + 1, _with.log);
  engine::hash_worker hashes(_with.loop);
  for (std::size_t i = records.size(); i < chain.size(); ++i) {
    auto receiving = receive_link(chain[i], std::move(chunks[i]), workspace, pool, hashes);
    auto received = co_await std::move(receiving);
    if (!received) {
      co_return std::move(received.error());
    }
  }
  co_return engine::ok();
}

task<result<void>> restore_job::receive_link(const chain_link& link,
                                             std::vector<located_chunk> chunks,
                                             btrfs::receive_workspace& workspace,
                                             engine::buffer_pool& pool,
                                             engine::hash_worker& hashes) {
  const auto started = std::chrono::steady_clock::now();
  auto receive = btrfs::receive_process::start(_with.loop, workspace.directory());
  if (!receive) {
    co_return std::move(receive.error());
  }
  download_link download(_with, _connection->store(), pool, hashes, std::move(chunks));
  auto running = download.run(receive->fd());
  auto ran = co_await std::move(running);
  if (!ran && ran.error().code == "EPIPE") {
    // The receiver has gone, and knows why better than the pipe.
    auto asking = receive->finish();
    auto reason_given = co_await std::move(asking);
    if (!reason_given) {
      co_return std::move(reason_given.error()).within(link.key);
    }
    co_return std::move(ran.error()).within(link.key);
  }
  if (!ran) {
    auto aborting = receive->abort();
    co_await std::move(aborting);
    co_return std::move(ran.error());
  }
  auto finishing = receive->finish();
  auto finished = co_await std::move(finishing);
  if (!finished) {
    co_return std::move(finished.error()).within(link.key);
  }
  auto record = workspace.identify_received(link.key);
  if (!record) {
    co_return std::move(record.error()).within(link.key);
  }
  auto info = workspace.inspect(*record);
  if (!info) {
    co_return std::move(info.error());
  }
  const auto& expected = link.value.snapshot;
  const std::string uuid = info->received_uuid.text();
  if (expected.uuid && uuid != *expected.uuid &&
      (!expected.received_uuid || uuid != *expected.received_uuid)) {
    co_return damaged(link.key + ": the stream carries the snapshot " + uuid +
                      ", and the manifest describes " + *expected.uuid);
  }
  if (auto recorded = workspace.record(*record); !recorded) {
    co_return std::move(recorded.error());
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - started);
  _with.log.write(log_level::info, "restore", "link_received",
                  {{"manifest", link.key},
                   {"bytes", std::to_string(download.bytes())},
                   {"milliseconds", std::to_string(took.count())}});
  co_return engine::ok();
}

result<void> restore_job::make_target(const chain_link& last, btrfs::receive_workspace& workspace) {
  const btrfs::link_record link = workspace.records().back();
  auto received = workspace.inspect(link);
  if (!received) {
    return std::move(received.error());
  }
  if (_command.keep_received) {
    const std::string path = kept_path(last);
    auto there = kept_before(last, received->received_uuid);
    if (!there) {
      return std::move(there.error());
    }
    if (!*there) {
      auto kept = workspace.keep(link, _with.settings.base_dir, path.substr(path.rfind('/') + 1));
      if (!kept) {
        return std::move(kept.error()).within("--keep-received: " + path);
      }
    }
    _with.log.write(log_level::info, "restore", "received_snapshot_kept", {{"path", path}});
  }
  if (auto made = workspace.publish(link); !made) {
    return made;
  }
  auto target = btrfs::inspect_subvolume(_command.target);
  if (!target) {
    return std::move(target.error());
  }
  if (target->read_only || target->parent_uuid != received->own_uuid) {
    return damaged(_command.target + " is not the writable snapshot that was made of " +
                   link.subvolume);
  }
  return workspace.remove();
}

}  // namespace bts3::app
