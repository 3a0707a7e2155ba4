#include "app/restore/restore_job.hh"

#include "app/host/disk_call.hh"
#include "app/host/run_figures.hh"
#include "app/records/kept_copies.hh"
#include "app/records/kept_parts.hh"
#include "app/restore/freed_space.hh"
#include "app/survey/chosen_backup.hh"
#include "app/survey/receive_refusal.hh"
#include "app/text/human_units.hh"
#include "app/text/output.hh"
#include "btrfs/confined_receiver.hh"
#include "btrfs/identity.hh"
#include "btrfs/processes.hh"
#include "btrfs/received_pages.hh"
#include "btrfs/snapshot_manager.hh"
#include "engine/told_command.hh"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

// What the copy at `path` is now goes beside the state: the next backup, whose parent it is, sees
// by that whether it was changed. The original, which may be there as well, needs none; without a
// configuration there is no state.
result<void> record_kept(const services& with, const std::string& path,
                         const planner::snapshot_record& record) {
  const auto info = btrfs::inspect_subvolume(path);
  if (!info) {
    return info.error();
  }
  const bool copy = record.uuid && !info->received_uuid.is_null();
  if (!copy || with.config_path.empty() || !kept_copies(with.settings.state_path, record).empty()) {
    return engine::ok();
  }
  return remember_kept(with.settings.state_path, *info);
}

std::vector<std::string> keys_of(const restore_plan& plan) {
  std::vector<std::string> keys;
  for (const planned_link& one : plan.links) {
    keys.push_back(one.link.key);
  }
  return keys;
}

error damaged(std::string message) {
  error failure;
  failure.why = reason::integrity;
  failure.message = std::move(message);
  return failure;
}

// Whether what an earlier attempt received is where this chain begins.
bool is_of_chain(const restore_plan& plan, const std::vector<btrfs::link_record>& records) {
  return std::equal(
      records.begin(), records.end(), plan.links.begin(),
      plan.links.begin() + static_cast<std::ptrdiff_t>(std::min(records.size(), plan.links.size())),
      [](const btrfs::link_record& record, const planned_link& planned) {
        return record.manifest_key == planned.link.key;
      });
}

// What a receiver and its stream need, made on disk.
struct prepared_receiver {
  btrfs::stream_rewriter rewriter;  // for a link that is received onto the last one
  std::shared_ptr<btrfs::confined_receiver> place;
};

result<prepared_receiver> prepare_receiver(btrfs::receive_workspace& workspace) {
  prepared_receiver made;
  if (!workspace.records().empty()) {
    auto parent = workspace.stand_in_for_parent();
    if (!parent) {
      return std::move(parent.error()).within("making a stand-in for the link before");
    }
    made.rewriter = btrfs::stream_rewriter(parent->in_stream, parent->stand_in);
  }
  auto place = workspace.receiver();
  if (!place) {
    return std::move(place.error());
  }
  made.place = std::make_shared<btrfs::confined_receiver>(std::move(*place));
  return made;
}

// They walk behind a receiver until it has ended; when all was `received`, to the end of that.
// Returns the bytes that were let go of.
task<std::uint64_t> end_pages(engine::reactor& loop, std::optional<btrfs::received_pages>& pages,
                              bool received) {
  std::uint64_t released = 0;
  if (!pages) {
    co_return released;
  }
  std::function<result<void>()> call = [&pages, &released, received] {
    if (received) {
      pages->finish();
    }
    released = pages->bytes();
    pages.reset();
    return engine::ok();
  };
  auto ending = disk_call(loop, std::move(call));
  (void)co_await std::move(ending);
  co_return released;
}

}  // namespace

restore_job::restore_job(const services& with, store_connection& connection,
                         restore_command command, restore_totals& totals)
    : _with(with),
      _connection(connection),
      _command(std::move(command)),
      _thaw(thaw_policy_of(with.settings, _command)),
      _verify(verify_mode_of(_command.verify.value_or(with.settings.verify_mode))),
      _totals(totals) {}

task<result<restore_plan>> restore_job::make_plan(const btrfs::target_report& target,
                                                  std::vector<chain_link> chain) {
  restore_plan plan;
  plan.subvolume = _command.subvolume;
  plan.target = target.path();
  plan.interrupted = target.interrupted;
  plan.available_bytes = target.available_bytes;
  plan.verification = _command.verify.value_or(_with.settings.verify_mode);
  plan.source = find_source(_with, chain.back().value).path;
  auto detecting = btrfs::detect_capabilities(_with.loop);
  auto host = co_await std::move(detecting);
  if (!host) {
    co_return std::move(host.error());
  }
  plan.host = *host;
  for (chain_link& link : chain) {
    auto locating = locate_chunks(_with, _connection.store(), link);
    auto located = co_await std::move(locating);
    if (!located) {
      co_return std::move(located.error());
    }
    planned_link one;
    one.link = std::move(link);
    one.link.value.chunks = std::vector<planner::chunk_record>();  // those that were located
    one.chunks = std::move(*located);
    plan.links.push_back(std::move(one));
  }
  auto surveying = plan_thaw(_with, _connection.store(), plan.chunks_from(0), _thaw);
  auto thaw = co_await std::move(surveying);
  if (!thaw) {
    co_return std::move(thaw.error());
  }
  plan.thaw = std::move(*thaw);
  plan.time = plan_time(plan.thaw, _thaw, plan.bytes());
  plan_kept_parts(target, plan);
  if (_command.dry_run) {
    auto cost = plan_cost(_with, plan.thaw, plan.chunks_from(0));
    if (!cost) {
      co_return std::move(cost.error());
    }
    plan.cost = std::move(*cost);
  }
  co_return plan;
}

result<void> restore_job::check_keep_received(const btrfs::target_report& target) const {
  if (!_command.keep_received) {
    return engine::ok();
  }
  auto kept = btrfs::filesystem_id(_with.settings.base_dir);
  auto restored = btrfs::filesystem_id(target.above);
  if (!kept || !restored || *kept != *restored) {
    error failure;
    failure.why = reason::configuration;
    failure.message = "--keep-received: snapshots.base_dir = " + _with.settings.base_dir +
                      " is not on the target's filesystem";
    failure.remedy = "create it there, or restore without --keep-received";
    return failure;
  }
  return btrfs::check_mounted_writable(
      _with.settings.base_dir, "--keep-received: snapshots.base_dir = " + _with.settings.base_dir);
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
  recorded.copies = kept_copies(_with.settings.state_path, last.value.snapshot);
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

// A read-only snapshot of the last link, which has been received, unless there is one.
task<result<void>> restore_job::keep_received(const chain_link& last,
                                              const btrfs::receive_workspace& workspace) {
  const btrfs::link_record link = workspace.records().back();
  auto received = workspace.inspect(link);
  if (!received) {
    co_return std::move(received.error());
  }
  const std::string path = kept_path(last);
  auto there = kept_before(last, received->received_uuid);
  if (!there) {
    co_return std::move(there.error());
  }
  result<void> noted = engine::ok();
  std::function<result<void>()> call = [&] {
    const std::string& state = _with.settings.state_path;
    if (!*there) {
      if (!kept_copies(state, last.value.snapshot).empty()) {
        noted = forget_kept(state, received->received_uuid);
      }
      auto kept = workspace.keep(link, _with.settings.base_dir, path.substr(path.rfind('/') + 1));
      if (!kept) {
        return result<void>(std::move(kept.error()).within("--keep-received: " + path));
      }
    }
    if (noted) {
      noted = record_kept(_with, path, last.value.snapshot);
    }
    return engine::ok();
  };
  auto keeping = disk_call(_with.loop, std::move(call));
  auto kept = co_await std::move(keeping);
  if (!kept) {
    co_return kept;
  }
  if (!noted) {
    _with.log.write(log_level::warning, "restore", "kept_snapshot_not_recorded",
                    {{"path", path},
                     {"error", noted.error().text()},
                     {"consequence", "the next backup may be a full one"}});
  }
  _with.log.write(log_level::info, "restore", "received_snapshot_kept", {{"path", path}});
  co_return engine::ok();
}

task<result<exit_status>> restore_job::run() {
  auto target = btrfs::check_target(_command.target);
  if (!target) {
    co_return std::move(target.error());
  }
  if (target->exists && _command.dry_run && !_command.all) {
    co_return btrfs::target_exists(*target);
  }
  if (auto allowed = check_keep_received(*target); !allowed) {
    co_return std::move(allowed.error());
  }
  auto finding = find_chain(_with, _connection.store(), _command);
  auto chain = co_await std::move(finding);
  if (!chain) {
    co_return std::move(chain.error());
  }
  if (!_command.json && !_command.dry_run) {
    print_formatted("%s: restoring %s\n", _command.subvolume.c_str(),
                    chosen_text(chain->back()).c_str());
    std::fflush(stdout);
  }
  if (target->exists && _command.dry_run) {
    auto looking = find_earlier(*target, chain->back());
    co_return co_await std::move(looking);
  }
  if (target->exists) {
    auto finishing = finish_earlier(*target, chain->back());
    co_return co_await std::move(finishing);
  }
  _mark = mark_of(chain->back());
  // Without a recorded UUID, what an earlier attempt kept is known only by what it received.
  if (identity_of(chain->back().value.snapshot).own_uuid || !target->interrupted) {
    if (auto kept = kept_before(chain->back(), {}); !kept) {
      co_return std::move(kept.error());
    }
  }
  auto planning = make_plan(*target, std::move(*chain));
  auto plan = co_await std::move(planning);
  if (!plan) {
    co_return std::move(plan.error());
  }
  if (_command.dry_run) {
    if (_command.json) {
      print_json(plan_json(*plan));
    } else {
      print_text(plan_text(*plan));
    }
    co_return exit_status::done;
  }
  auto restoring = carry_out(*target, std::move(*plan));
  co_return co_await std::move(restoring);
}

task<result<restore_outlook>> restore_job::look_ahead() {
  auto target = btrfs::check_target(_command.target);
  if (!target) {
    co_return std::move(target.error());
  }
  restore_outlook found;
  found.available_bytes = target->available_bytes;
  found.interrupted = target->interrupted && !target->exists;
  if (target->exists) {
    co_return found;
  }
  auto finding = find_chain(_with, _connection.store(), _command);
  auto chain = co_await std::move(finding);
  if (!chain) {
    co_return std::move(chain.error());
  }
  std::vector<btrfs::link_record> kept;
  if (target->interrupted && !_command.discard) {
    auto earlier = btrfs::find_earlier_work(*target);
    if (!earlier) {
      co_return std::move(earlier.error());
    }
    kept = std::move(earlier->links);
  }
  for (std::size_t i = kept.size(); i < chain->size(); ++i) {
    found.bytes += (*chain)[i].value.total_bytes;
  }
  co_return found;
}

task<result<void>> restore_job::request_thaw() {
  auto target = btrfs::check_target(_command.target);
  if (!target) {
    co_return std::move(target.error());
  }
  if (target->exists || target->interrupted) {
    co_return engine::ok();
  }
  if (auto allowed = check_keep_received(*target); !allowed) {
    co_return allowed;
  }
  auto finding = find_chain(_with, _connection.store(), _command);
  auto chain = co_await std::move(finding);
  if (!chain) {
    co_return std::move(chain.error());
  }
  if (auto kept = kept_before(chain->back(), {}); !kept) {
    co_return std::move(kept.error());
  }
  auto planning = make_plan(*target, std::move(*chain));
  auto plan = co_await std::move(planning);
  if (!plan) {
    co_return std::move(plan.error());
  }
  if (auto able = check_protocol(*plan); !able) {
    co_return able;
  }
  if (auto enough = check_space(*plan, plan->bytes()); !enough && !_command.no_space_check) {
    co_return enough;
  }
  thaw_policy policy = _thaw;
  policy.timeout = std::chrono::seconds(0);
  chain_thaw thaw(_with, _connection.store(), _command.subvolume, plan->chunks_from(0), policy);
  auto thawing = thaw.make_readable(_with.stop);
  auto thawed = co_await std::move(thawing);
  if (!thawed && thawed.error().why == reason::not_thawed) {
    co_return engine::ok();
  }
  co_return thawed;
}

task<result<exit_status>> restore_job::carry_out(const btrfs::target_report& target,
                                                 restore_plan plan) {
  if (auto able = check_protocol(plan); !able) {
    co_return std::move(able.error());
  }
  auto opening = open_workspace(target, _command.discard);
  auto workspace = co_await std::move(opening);
  if (!workspace) {
    co_return std::move(workspace.error());
  }
  if (_command.discard && target.interrupted) {
    auto waiting = wait_for_freed_space(_with, target.parent);
    co_await std::move(waiting);
  }
  if (_command.all && !is_of_chain(plan, workspace->records())) {
    // Of a generation before: what all are restored to has moved on since.
    _with.log.write(log_level::warning, "restore", "interrupted_restore_dropped",
                    {{"target", plan.target},
                     {"manifest", workspace->records().back().manifest_key},
                     {"reason", "a backup of another chain is restored now"}});
    auto closing = close_workspace(*workspace);
    co_await std::move(closing);
    auto reopening = open_workspace(target, true);
    workspace = co_await std::move(reopening);
    if (!workspace) {
      co_return std::move(workspace.error());
    }
  }
  if (auto fit = check_before_receiving(target, plan, *workspace); !fit) {
    auto closing = close_workspace(*workspace);
    co_await std::move(closing);
    co_return std::move(fit.error());
  }
  const chain_link& last = plan.links.back().link;
  const restore_totals before = _totals;
  const std::size_t links_kept = workspace->records().size();
  // Nothing is asked for, and paid, before everything that could be refused was checked; and
  // nothing for links that an earlier attempt has received.
  chain_thaw thaw(_with, _connection.store(), _command.subvolume, plan.chunks_from(links_kept),
                  _thaw);
  auto thawing = thaw.make_readable(_with.stop);
  auto received = co_await std::move(thawing);
  if (received) {
    auto receiving = receive_all(plan, *workspace, thaw);
    received = co_await std::move(receiving);
  }
  _totals.thaw_wait += thaw.waited();
  if (received) {
    auto verifying = verify(plan, *workspace);
    received = co_await std::move(verifying);
  }
  if (received) {
    auto making = make_target(last, *workspace);
    received = co_await std::move(making);
  }
  if (received) {
    auto remembering = remember_received(_with, _command.subvolume, keys_of(plan));
    co_await std::move(remembering);
  }
  if (!received) {
    // Recorded links stay for the next attempt; half of one is worth nothing.
    auto cleaning = clean_workspace(*workspace);
    auto cleaned = co_await std::move(cleaning);
    if (!cleaned) {
      _with.log.write(log_level::warning, "restore", "received_subvolume_left",
                      {{"error", workspace->in_known_paths(cleaned.error()).text()}});
    }
    error failure = workspace->in_known_paths(std::move(received.error()));
    auto closing = close_workspace(*workspace);
    co_await std::move(closing);
    if (auto left = btrfs::check_target(plan.target); left && left->interrupted) {
      _with.log.write(
          log_level::warning, "restore", "restore_kept_for_the_next_run",
          {{"directory", (left->parent == "/" ? "" : left->parent) + "/.btrfs_to_s3." + left->name},
           {"remedy", "run the same command again: it goes on there; --discard deletes it"}});
    }
    co_return failure;
  }
  auto closing = close_workspace(*workspace);
  co_await std::move(closing);
  ++_totals.restored;
  report_done(plan, before, links_kept);
  co_return exit_status::done;
}

// What an earlier attempt received must be of this chain, and the rest must fit.
result<void> restore_job::check_before_receiving(const btrfs::target_report& target,
                                                 const restore_plan& plan,
                                                 const btrfs::receive_workspace& workspace) const {
  const auto& records = workspace.records();
  if (!is_of_chain(plan, records)) {
    error failure;
    failure.message = "another restore to " + plan.target + " was interrupted";
    failure.remedy =
        "`" +
        engine::told_command("restore", {{"--subvolume", plan.subvolume},
                                         {"--target", plan.target},
                                         {"--manifest-key", records.back().manifest_key}}) +
        "` finishes that one; the same command with --discard drops what it received "
        "and restores this backup; or name another target";
    return failure;
  }
  if (!records.empty()) {
    _with.log.write(log_level::info, "restore", "links_kept_from_before",
                    {{"links", std::to_string(records.size())}});
  }
  for (std::size_t i = 0; _verify != verify_mode::none && i < records.size(); ++i) {
    auto info = workspace.inspect(records[i]);
    if (!info) {
      return std::move(info.error());
    }
    if (auto same = verify_identity(plan.links[i].link, *info); !same) {
      return same;
    }
  }
  std::uint64_t bytes = 0;
  for (std::size_t i = records.size(); i < plan.links.size(); ++i) {
    bytes += plan.links[i].link.value.total_bytes;
  }
  auto enough = check_space(plan, bytes);
  if (enough || records.size() == plan.links.size()) {
    return engine::ok();
  }
  // What was half received and has just been deleted is given back by the kernel in its own time.
  if (_command.no_space_check || target.interrupted) {
    _with.log.write(log_level::warning, "restore", "space_may_not_suffice",
                    {{"reason", enough.error().message}});
    return engine::ok();
  }
  return enough;
}

task<result<void>> restore_job::receive_all(restore_plan& plan, btrfs::receive_workspace& workspace,
                                            chain_thaw& thaw) {
  std::uint64_t slot_bytes = 0;
  std::uint64_t bytes = 0;
  const std::size_t first = workspace.records().size();
  for (std::size_t i = first; i < plan.links.size(); ++i) {
    bytes += plan.links[i].link.value.total_bytes;
    for (const located_chunk& chunk : plan.links[i].chunks) {
      slot_bytes = std::max(
          slot_bytes, std::min(chunk.record.size,
                               chunk.record.part_size.value_or(_with.settings.part_size_bytes)));
    }
  }
  if (slot_bytes > (std::uint64_t{5} << 30)) {
    co_return damaged("a manifest of the chain records parts of " + format_bytes(slot_bytes) +
                      ", and S3 allows 5 GiB");
  }
  if (first == plan.links.size()) {
    auto opening = open_kept_parts(plan, first, false);
    (void)co_await std::move(opening);
    co_return engine::ok();
  }
  const std::size_t parts = _with.settings.parts_in_flight(slot_bytes);
  if (parts == 0) {
    error failure;
    failure.why = reason::configuration;
    failure.message =
        "global.memory_limit_bytes = " + std::to_string(_with.settings.memory_limit_bytes) +
        " is too small for this backup: its parts have " + format_bytes(slot_bytes) +
        ", and two of them with " + format_bytes(other_memory_bytes) + " for the rest make " +
        format_bytes(config::memory_for(1, slot_bytes));
    failure.remedy = "raise it, or set it to 0";
    co_return failure;
  }
  engine::buffer_pool pool(_with.loop, slot_bytes, parts + 1, _with.log);
  engine::hash_worker hashes(_with.loop, false);
  if (auto ready = hashes.ready(); !ready) {
    co_return std::move(ready.error());
  }
  const std::unique_ptr<engine::spool> spool = spool_for(plan, first, pool.slot_bytes());
  auto opening = open_kept_parts(plan, first, spool != nullptr);
  const std::unique_ptr<kept_parts> kept = co_await std::move(opening);
  progress shown(_with.loop, _with.log, _with.line, "restore",
                 "restoring " + _command.subvolume + _place, [this, &pool] {
                   const std::uint64_t retries = _connection.retries();
                   return std::to_string(pool.slots() - pool.free_slots()) + " parts in memory" +
                          (retries == 0 ? "" : ", " + std::to_string(retries) + " retries");
                 });
  shown.set_total(bytes);
  shown.set_after(_bytes_after);
  shown.watch([this] { return _connection.bytes_received(); });
  shown.start();
  const bool read_again = _verify == verify_mode::full && !plan.source.empty();
  const auto began = std::chrono::steady_clock::now();
  result<void> received = engine::ok();
  for (std::size_t i = first; i < plan.links.size() && received; ++i) {
    const link_means means{pool, hashes, spool.get(), kept.get(), thaw, shown, bytes, read_again};
    const chain_link* const before = i == 0 ? nullptr : &plan.links[i - 1].link;
    auto receiving = receive_link(plan.links[i], before, workspace, means);
    received = co_await std::move(receiving);
  }
  _totals.transfer_seconds += seconds_since(began);
  auto stopping = shown.stop();
  co_await std::move(stopping);
  co_return received;
}

// Where there is one, and a chunk that needs it. On a recovery host its disk may be missing: that
// is told, and is no reason not to restore.
std::unique_ptr<engine::spool> restore_job::spool_for(const restore_plan& plan, std::size_t first,
                                                      std::size_t piece_bytes) const {
  bool wanted = false;
  for (std::size_t i = first; i < plan.links.size(); ++i) {
    for (const located_chunk& chunk : plan.links[i].chunks) {
      wanted = wanted || (!chunk.record.has_parts() && chunk.record.size > piece_bytes);
    }
  }
  if (!wanted || !_with.settings.spool_enabled) {
    return nullptr;
  }
  engine::spool_options options;
  options.directory = _with.settings.spool_dir;
  options.budget_bytes = _with.settings.spool_size_bytes;
  options.part_bytes = piece_bytes;
  auto spool = engine::spool::create(_with.loop, std::move(options), _with.log);
  if (!spool) {
    _with.log.write(log_level::warning, "restore", "spool_not_used",
                    {{"reason", spool.error().text()}});
    return nullptr;
  }
  return std::move(*spool);
}

// Where encoded writes are lost, once more with ordinary ones, of which syncfs tells: it may be
// that this kernel or filesystem took none, or that the disk failed for a moment.
task<result<void>> restore_job::receive_link(planned_link& planned, const chain_link* before,
                                             btrfs::receive_workspace& workspace,
                                             const link_means& means) {
  const std::vector<located_chunk> chunks = planned.chunks;
  if (means.kept != nullptr) {
    auto beginning = means.kept->begin(planned.link.key);
    co_await std::move(beginning);
  }
  auto receiving = receive_once(planned, before, workspace, means);
  auto received = co_await std::move(receiving);
  if (received && means.kept != nullptr) {
    auto forgetting = means.kept->forget();
    co_await std::move(forgetting);
  }
  if (!received && received.error().what_now == disposition::not_found) {
    received.error().remedy =
        "choose a backup that stays (`" + engine::told_command("list") +
        "` shows what there is), and drop what was received of this one with --discard";
  }
  if (received || _lost_writes == 0 || _with.stop.stop_requested()) {
    co_return received;
  }
  _with.log.write(log_level::warning, "restore", "link_received_again",
                  {{"manifest", planned.link.key}, {"reason", received.error().message}});
  auto cleaning = clean_workspace(workspace);
  auto cleaned = co_await std::move(cleaning);
  if (!cleaned) {
    co_return cleaned;
  }
  _decompress = true;
  means.thaw.chunks_undone(chunks.size());
  means.bytes += planned.link.value.total_bytes;
  means.shown.set_total(means.bytes);
  planned.chunks = chunks;
  auto again = receive_once(planned, before, workspace, means);
  received = co_await std::move(again);
  if (received && means.kept != nullptr) {
    auto forgetting = means.kept->forget();
    co_await std::move(forgetting);
  }
  co_return received;
}

task<result<void>> restore_job::receive_once(planned_link& planned, const chain_link* before,
                                             btrfs::receive_workspace& workspace,
                                             const link_means& means) {
  const chain_link& link = planned.link;
  const auto started = std::chrono::steady_clock::now();
  engine::linked_stop_source stop(_with.stop);  // also when the receiver stalls
  services with_stall = _with;
  with_stall.stop = stop.token();
  download_link download(with_stall, _connection.store(), means.pool, means.hashes,
                         std::exchange(planned.chunks, {}), &means.shown, &means.thaw, means.spool);
  if (_verify != verify_mode::none) {
    download.expect(
        expected_stream(link.value, before == nullptr ? nullptr : &before->value, link.key));
  }
  if (means.kept != nullptr) {
    download.keep_in(*means.kept);
  }
  if (_command.verify_first) {
    auto looking = download.verify_first();
    auto sound = co_await std::move(looking);
    if (!sound) {
      co_return sound;
    }
  }
  auto proof = received_proof::begin(_with, workspace.directory());
  if (!proof) {
    co_return std::move(proof.error());
  }
  if (!_decompress) {
    download.show_to(*proof);
  }
  std::function<result<prepared_receiver>()> prepare = [&workspace] {
    return prepare_receiver(workspace);
  };
  auto preparing = disk_call(_with.loop, std::move(prepare));
  auto prepared = co_await std::move(preparing);
  if (!prepared) {
    co_return std::move(prepared.error());
  }
  download.rewrite_by(prepared->rewriter);
  auto receive = btrfs::receive_process::start(
      _with.loop, btrfs::confined_receiver::directory, _decompress,
      [place = prepared->place] { return place->enter(); }, workspace.lock_descriptor());
  if (!receive) {
    co_return std::move(receive.error());
  }
  std::optional<btrfs::received_pages> pages;
  if (link.value.kind == planner::backup_kind::full && !means.read_again) {
    pages.emplace(workspace.receiving_directory(), workspace.names_before());
  }
  btrfs::receive_watch watch(_with.loop, *receive, _with.log,
                             std::chrono::seconds(_with.settings.receive_stall_seconds), stop);
  watch.start();
  auto feeding = feed(download, *receive, watch);
  auto fed = co_await std::move(feeding);
  auto stopping = watch.stop();
  co_await std::move(stopping);
  _totals.bytes += download.bytes();
  _totals.kept_bytes += download.bytes_kept_before();
  _totals.parts += download.parts();
  _totals.damaged_parts += download.damaged_parts();
  if (!fed) {
    auto ending = end_pages(_with.loop, pages, false);
    co_await std::move(ending);
  }
  if (!fed && is_refusal(fed.error())) {
    const btrfs::stream_command* const command = download.refused_command(fed.error().message);
    error refused = refusal_of(std::move(fed.error()), link, command, before);
    auto remembering = remember_refusal(_with, _command.subvolume, link.key, refused.message);
    co_await std::move(remembering);
    co_return refused;
  }
  if (!fed) {
    report_broken_off(link, download, means.kept);
    error failure = workspace.in_known_paths(std::move(fed.error()));
    co_return failure.why == reason::child_process
        ? proof->explained(std::move(failure)).within(link.key)
        : failure;
  }
  auto taking = take_received(link, workspace, *proof);
  auto taken = co_await std::move(taking);
  auto ending = end_pages(_with.loop, pages, taken.has_value());
  const std::uint64_t released = co_await std::move(ending);
  if (!taken) {
    co_return taken;
  }
  ++_totals.links;
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - started);
  _with.log.write(log_level::info, "restore", "link_received",
                  {{"manifest", link.key},
                   {"bytes", std::to_string(download.bytes())},
                   {"kept_bytes", std::to_string(download.bytes_kept_before())},
                   {"milliseconds", std::to_string(took.count())},
                   {"pages_released_bytes", std::to_string(released)}});
  co_return engine::ok();
}

// The whole stream, and the receiver's end.
task<result<void>> restore_job::feed(download_link& download, btrfs::receive_process& receive,
                                     const btrfs::receive_watch& watch) {
  auto running = download.run(receive.fd());
  auto ran = co_await std::move(running);
  if (!ran && ran.error().code != "EPIPE" && !watch.stalled()) {
    auto aborting = receive.abort();
    co_await std::move(aborting);
    co_return ran;
  }
  // A receiver that has gone knows why better than the pipe.
  engine::stop_token stop = watch.stalled() ? engine::stop_token() : _with.stop;
  auto finishing = receive.finish(stop);
  auto finished = co_await std::move(finishing);
  if (!finished && watch.stalled() && !_with.stop.stop_requested()) {
    co_return watch.failure(finished.error());
  }
  if (!finished || ran) {
    co_return finished;
  }
  // It was content with what it had, and yet the stream went on.
  error failure = std::move(ran.error());
  failure.why = reason::child_process;
  co_return failure;
}

// Identifies what `btrfs receive` left, checks it, and records it durably.
task<result<void>> restore_job::take_received(const chain_link& link,
                                              btrfs::receive_workspace& workspace,
                                              received_proof& proof) {
  _lost_writes = 0;
  auto record = workspace.identify_received(link.key);
  if (!record) {
    co_return std::move(record.error()).within(link.key);
  }
  auto info = workspace.inspect(*record);
  if (!info) {
    co_return std::move(info.error());
  }
  if (_verify != verify_mode::none) {
    if (auto verified = verify_identity(link, *info); !verified) {
      co_return verified;
    }
  }
  auto proving = proof.lost(workspace.directory() + "/" + record->subvolume);
  auto lost = co_await std::move(proving);
  if (!lost) {
    co_return workspace.in_known_paths(std::move(lost.error())).within(link.key);
  }
  _lost_writes = *lost;
  if (*lost > 0) {
    co_return damaged(std::to_string(*lost) + " compressed writes of " + link.key +
                      " are not on the target's disk, although the kernel accepted them");
  }
  std::function<result<void>()> call = [&workspace, &record] { return workspace.record(*record); };
  auto recording = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(recording);
}

task<result<void>> restore_job::verify(const restore_plan& plan,
                                       const btrfs::receive_workspace& workspace) {
  if (_verify == verify_mode::none) {
    _with.log.write(log_level::warning, "restore", "not_verified",
                    {{"reason", "--verify none; every part had its recorded SHA-256"}});
    co_return engine::ok();
  }
  const source_finding source = find_source(_with, plan.links.back().link.value);
  if (source.path.empty()) {
    _with.log.write(
        log_level::info, "restore", "verified_without_source",
        {{"reason", source.because},
         {"proven",
          std::string(
              "every byte had the SHA-256 that the manifests record, every stream was "
              "complete, `btrfs receive` accepted it, and the target's disk took all of it") +
              (plan.links.back().link.value.snapshot.uuid
                   ? "; what was received carries the recorded UUIDs"
                   : "")},
         {"links", std::to_string(plan.links.size())},
         {"bytes", std::to_string(plan.bytes())}});
    co_return engine::ok();
  }
  auto comparing =
      verify_content(_with, _verify, _command.subvolume, source.path,
                     workspace.directory() + "/" + workspace.records().back().subvolume);
  auto equal = co_await std::move(comparing);
  _content_verified = equal.has_value();
  if (!equal) {
    co_return workspace.in_known_paths(std::move(equal.error()));
  }
  co_return equal;
}

task<result<void>> restore_job::make_target(const chain_link& last,
                                            btrfs::receive_workspace& workspace) {
  if (_command.keep_received) {
    auto keeping = keep_received(last, workspace);
    auto kept = co_await std::move(keeping);
    if (!kept) {
      co_return kept;
    }
  }
  std::function<result<void>()> call = [&workspace] {
    return workspace.publish(workspace.records().back());
  };
  auto publishing = disk_call(_with.loop, std::move(call));
  auto made = co_await std::move(publishing);
  if (!made) {
    co_return made;
  }
  auto tidying = tidy_up(workspace, _mark);
  co_await std::move(tidying);
  co_return engine::ok();
}

task<result<btrfs::receive_workspace>> restore_job::open_workspace(btrfs::target_report target,
                                                                   bool anew) {
  std::function<result<btrfs::receive_workspace>()> call = [target, anew] {
    return btrfs::receive_workspace::open(target, anew);
  };
  auto opening = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(opening);
}

task<result<void>> restore_job::clean_workspace(btrfs::receive_workspace& workspace) {
  std::function<result<void>()> call = [&workspace] { return workspace.delete_unrecorded(); };
  auto cleaning = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(cleaning);
}

task<void> restore_job::close_workspace(btrfs::receive_workspace& workspace) {
  std::function<result<void>()> call = [&workspace] {
    workspace.close();
    return engine::ok();
  };
  auto closing = disk_call(_with.loop, std::move(call));
  (void)co_await std::move(closing);
}

// The target is there, whole and durable: what cannot be removed does not change that. The mark
// comes first: where it cannot be made, the records stay, and tell instead of it.
task<void> restore_job::tidy_up(btrfs::receive_workspace& workspace, btrfs::restored_mark mark) {
  std::function<result<void>()> call = [this, &workspace, &mark] {
    auto sealed = workspace.seal(mark);
    return !sealed ? sealed : _command.all ? workspace.remove_received() : workspace.remove();
  };
  auto tidying = disk_call(_with.loop, std::move(call));
  auto tidied = co_await std::move(tidying);
  if (!tidied) {
    _with.log.write(log_level::warning, "restore", "restore_remains_left",
                    {{"target", _command.target},
                     {"error", workspace.in_known_paths(tidied.error()).text()},
                     {"remedy",
                      "the target is complete; the same command once more, or removing "
                      "the subvolumes and the file in the directory beside it by hand, "
                      "removes what is left"}});
  }
}

}  // namespace bts3::app
