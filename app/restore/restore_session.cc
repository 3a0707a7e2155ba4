#include "app/restore/restore_session.hh"

#include "app/host/disk_call.hh"
#include "app/restore/earlier_restore.hh"
#include "app/restore/freed_space.hh"
#include "app/restore/kept_snapshot.hh"
#include "app/restore/restore_planning.hh"
#include "app/restore/workspace_calls.hh"
#include "app/survey/chosen_backup.hh"
#include "app/survey/receive_refusal.hh"
#include "app/text/output.hh"
#include "btrfs/host.hh"
#include "engine/told_command.hh"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

std::vector<std::string> keys_of(const restore_plan& plan) {
  std::vector<std::string> keys;
  for (const planned_link& one : plan.links) {
    keys.push_back(one.link.key);
  }
  return keys;
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

// All sessions of several hold what they found at the same time.
void drop_parts(std::vector<chain_link>& chain) {
  for (chain_link& link : chain) {
    for (planner::chunk_record& chunk : link.value.chunks) {
      chunk.drop_parts();
    }
  }
}

}  // namespace

restore_session::restore_session(const services& with, store_connection& connection,
                                 restore_request request, identity_source& identities,
                                 restore_totals& totals)
    : _with(with),
      _connection(connection),
      _request(std::move(request)),
      _identities(identities),
      _totals(totals) {}

task<result<std::vector<chain_link>>> restore_session::find_backup() {
  auto finding = find_chain(_with, _connection.store(), _request.wanted);
  co_return co_await std::move(finding);
}

// Of every sealed link: a chain that cannot be opened as a whole is not begun.
task<result<void>> restore_session::open_keys(const std::vector<chain_link>& chain) {
  for (const chain_link& link : chain) {
    if (!link.value.encryption || _keys.contains(link.key)) {
      continue;
    }
    auto opening = open_backup_key(_with, _connection.store(), link, _identities);
    auto key = co_await std::move(opening);
    if (!key) {
      co_return std::move(key.error());
    }
    _keys.emplace(link.key, std::move(*key));
  }
  co_return engine::ok();
}

// What --keep-received asks for must not meet something else; before anything was received.
result<void> restore_session::check_kept(const chain_link& last) const {
  if (_request.keep_received) {
    const auto there = kept_snapshot(_with, _request.wanted.subvolume, last).is_there({});
    if (!there) {
      return there.error();
    }
  }
  return engine::ok();
}

void restore_session::print_plan(const restore_plan& plan) const {
  if (_request.json) {
    print_json(plan_json(plan));
  } else {
    print_text(plan_text(plan));
  }
}

task<result<exit_status>> restore_session::run() {
  _found.reset();
  auto target = _with.host.receiving().check_target(_request.target);
  if (!target) {
    co_return std::move(target.error());
  }
  if (target->exists && _request.dry_run && !_request.one_of_all) {
    co_return btrfs::target_exists(*target);
  }
  if (_request.keep_received) {
    if (auto allowed = kept_snapshot::check_place(_with, *target); !allowed) {
      co_return std::move(allowed.error());
    }
  }
  auto finding = find_backup();
  auto chain = co_await std::move(finding);
  if (!chain) {
    co_return std::move(chain.error());
  }
  if (!_request.json && !_request.dry_run) {
    print_formatted("%s: restoring %s\n", _request.wanted.subvolume.c_str(),
                    chosen_text(chain->back()).c_str());
    flush_output();
  }
  if (_request.dry_run && _request.one_of_all) {
    const auto seen = outlook_of(*target, *chain);
    _seen = seen ? std::optional(*seen) : std::nullopt;
  }
  if (target->exists) {
    earlier_restore earlier(_with, _request, *target, chain->back());
    if (_request.dry_run) {
      auto showing = earlier.show();
      co_return co_await std::move(showing);
    }
    auto finishing = earlier.finish();
    co_return co_await std::move(finishing);
  }
  if (!_request.dry_run) {
    auto opening = open_keys(*chain);
    auto opened = co_await std::move(opening);
    if (!opened) {
      co_return std::move(opened.error());
    }
  }
  _mark = mark_of(chain->back());
  // Without a recorded UUID, what an earlier attempt kept is known only by what it received.
  if (identity_of(chain->back().value.snapshot).own_uuid || !target->interrupted) {
    if (auto kept = check_kept(chain->back()); !kept) {
      co_return std::move(kept.error());
    }
  }
  auto planning = plan_restore(_with, _connection.store(), _request, *target, std::move(*chain));
  auto plan = co_await std::move(planning);
  if (!plan) {
    co_return std::move(plan.error());
  }
  if (_request.dry_run) {
    print_plan(*plan);
    co_return exit_status::done;
  }
  for (planned_link& planned : plan->links) {
    const auto key = _keys.find(planned.link.key);
    planned.key = key == _keys.end() ? nullptr : key->second;
  }
  auto restoring = carry_out(*target, std::move(*plan));
  co_return co_await std::move(restoring);
}

task<result<void>> restore_session::forget() {
  auto forgetting = earlier_restore::forget(_with, _request.target);
  co_return co_await std::move(forgetting);
}

result<restore_outlook> restore_session::outlook_of(const btrfs::target_report& target,
                                                    const std::vector<chain_link>& chain) const {
  restore_outlook outlook;
  outlook.available_bytes = target.available_bytes;
  if (target.exists) {
    return outlook;
  }
  outlook.interrupted = target.interrupted;
  std::size_t received = 0;
  if (target.interrupted && !_request.discard) {
    const auto earlier = _with.host.receiving().earlier_work_at(target);
    if (!earlier) {
      return earlier.error();
    }
    received = earlier->links.size();
  }
  for (std::size_t i = received; i < chain.size(); ++i) {
    outlook.bytes += chain[i].value.total_bytes;
  }
  return outlook;
}

task<result<restore_outlook>> restore_session::look_ahead() {
  auto target = _with.host.receiving().check_target(_request.target);
  if (!target) {
    co_return std::move(target.error());
  }
  finding found;
  found.target = *target;
  if (!target->exists) {
    auto looking = find_backup();
    auto chain = co_await std::move(looking);
    if (!chain) {
      co_return std::move(chain.error());
    }
    found.chain = std::move(*chain);
    drop_parts(found.chain);
  }
  auto outlook = outlook_of(found.target, found.chain);
  if (outlook && waits_for_thaw()) {
    _found = std::move(found);
  }
  co_return outlook;
}

task<result<void>> restore_session::request_thaw() {
  std::optional<finding> found = std::exchange(_found, std::nullopt);
  if (!found) {
    auto target = _with.host.receiving().check_target(_request.target);
    if (!target) {
      co_return std::move(target.error());
    }
    found.emplace();
    found->target = *target;
  }
  if (found->target.exists || found->target.interrupted) {
    co_return engine::ok();
  }
  if (_request.keep_received) {
    if (auto allowed = kept_snapshot::check_place(_with, found->target); !allowed) {
      co_return allowed;
    }
  }
  if (found->chain.empty()) {
    auto looking = find_backup();
    auto chain = co_await std::move(looking);
    if (!chain) {
      co_return std::move(chain.error());
    }
    found->chain = std::move(*chain);
  }
  auto opening = open_keys(found->chain);
  auto opened = co_await std::move(opening);
  if (!opened) {
    co_return opened;
  }
  if (auto kept = check_kept(found->chain.back()); !kept) {
    co_return kept;
  }
  auto planning =
      plan_restore(_with, _connection.store(), _request, found->target, std::move(found->chain));
  auto plan = co_await std::move(planning);
  if (!plan) {
    co_return std::move(plan.error());
  }
  if (auto able = check_protocol(*plan); !able) {
    co_return able;
  }
  if (auto enough = check_space(*plan, plan->bytes()); !enough && !_request.no_space_check) {
    co_return enough;
  }
  thaw_policy policy = _request.thaw;
  policy.timeout = std::chrono::seconds(0);
  chain_thaw thaw(_with, _connection.store(), _request.wanted.subvolume, plan->chunks_from(0),
                  policy);
  auto thawing = thaw.make_readable(_with.stop);
  auto thawed = co_await std::move(thawing);
  if (!thawed && thawed.error().why == reason::not_thawed) {
    co_return engine::ok();
  }
  co_return thawed;
}

task<result<exit_status>> restore_session::carry_out(const btrfs::target_report& target,
                                                     restore_plan plan) {
  if (auto able = check_protocol(plan); !able) {
    co_return std::move(able.error());
  }
  auto preparing = prepare_workspace(target, plan);
  auto workspace = co_await std::move(preparing);
  if (!workspace) {
    co_return std::move(workspace.error());
  }
  restore_outcome outcome;
  outcome.links_kept = (*workspace)->records().size();
  auto receiving = receive(plan, **workspace);
  auto received = co_await std::move(receiving);
  if (!received) {
    _totals.add(_did);
    auto leaving = leave_for_the_next_run(plan, **workspace, std::move(received.error()));
    error failure = co_await std::move(leaving);
    co_return failure;
  }
  auto closing = close_workspace(_with.loop, **workspace);
  co_await std::move(closing);
  ++_did.restored;
  _totals.add(_did);
  outcome.did = _did;
  outcome.content_verified = _content_verified;
  report_restored(_with, _request, plan, outcome);
  co_return exit_status::done;
}

// Opens it, and refuses what cannot be received in it.
task<result<std::unique_ptr<btrfs::receive_workspace>>> restore_session::prepare_workspace(
    btrfs::target_report target, const restore_plan& plan) {
  auto opening = open_workspace(_with, target, _request.discard);
  auto workspace = co_await std::move(opening);
  if (!workspace) {
    co_return std::move(workspace.error());
  }
  if (_request.discard && target.interrupted) {
    auto waiting = wait_for_freed_space(_with, target.parent);
    co_await std::move(waiting);
  }
  if (_request.one_of_all && !is_of_chain(plan, (*workspace)->records())) {
    // Of a generation before: what all are restored to has moved on since.
    _with.log.write(log_level::warning, "restore", "interrupted_restore_dropped",
                    {{"target", plan.target},
                     {"manifest", (*workspace)->records().back().manifest_key},
                     {"reason", "a backup of another chain is restored now"}});
    auto closing = close_workspace(_with.loop, **workspace);
    co_await std::move(closing);
    auto reopening = open_workspace(_with, target, true);
    workspace = co_await std::move(reopening);
    if (!workspace) {
      co_return std::move(workspace.error());
    }
  }
  if (auto fit = check_before_receiving(target, plan, **workspace); !fit) {
    auto closing = close_workspace(_with.loop, **workspace);
    co_await std::move(closing);
    co_return std::move(fit.error());
  }
  co_return workspace;
}

// What an earlier attempt received must be of this chain, and the rest must fit.
result<void> restore_session::check_before_receiving(
    const btrfs::target_report& target, const restore_plan& plan,
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
  for (std::size_t i = 0; _request.verify != verify_mode::none && i < records.size(); ++i) {
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
  if (_request.no_space_check || target.interrupted) {
    _with.log.write(log_level::warning, "restore", "space_may_not_suffice",
                    {{"reason", enough.error().message}});
    return engine::ok();
  }
  return enough;
}

// From what is archived to the target.
task<result<void>> restore_session::receive(restore_plan& plan,
                                            btrfs::receive_workspace& workspace) {
  // Nothing is asked for, and paid, before everything that could be refused was checked; and
  // nothing for links that an earlier attempt has received.
  chain_thaw thaw(_with, _connection.store(), _request.wanted.subvolume,
                  plan.chunks_from(workspace.records().size()), _request.thaw);
  auto thawing = thaw.make_readable(_with.stop);
  auto received = co_await std::move(thawing);
  if (received) {
    chain_receiver receiver(_with, _connection, _request, _here, _did);
    auto receiving = receiver.receive(plan, workspace, thaw);
    received = co_await std::move(receiving);
  }
  _did.thaw_wait += thaw.waited();
  if (received) {
    auto verifying = verify(plan, workspace);
    received = co_await std::move(verifying);
  }
  if (received) {
    auto making = make_target(plan.links.back().link, workspace);
    received = co_await std::move(making);
  }
  if (received) {
    auto remembering = remember_received(_with, _request.wanted.subvolume, keys_of(plan));
    co_await std::move(remembering);
  }
  co_return received;
}

// Recorded links stay for the next attempt; half of one is worth nothing.
task<error> restore_session::leave_for_the_next_run(const restore_plan& plan,
                                                    btrfs::receive_workspace& workspace,
                                                    error failure) {
  auto cleaning = clean_workspace(_with.loop, workspace);
  auto cleaned = co_await std::move(cleaning);
  if (!cleaned) {
    _with.log.write(log_level::warning, "restore", "received_subvolume_left",
                    {{"error", workspace.in_known_paths(cleaned.error()).text()}});
  }
  failure = workspace.in_known_paths(std::move(failure));
  auto closing = close_workspace(_with.loop, workspace);
  co_await std::move(closing);
  if (auto left = _with.host.receiving().check_target(plan.target); left && left->interrupted) {
    _with.log.write(
        log_level::warning, "restore", "restore_kept_for_the_next_run",
        {{"directory", (left->parent == "/" ? "" : left->parent) + "/.btrfs_to_s3." + left->name},
         {"remedy", "run the same command again: it goes on there; --discard deletes it"}});
  }
  co_return failure;
}

task<result<void>> restore_session::verify(const restore_plan& plan,
                                           const btrfs::receive_workspace& workspace) {
  if (_request.verify == verify_mode::none) {
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
      verify_content(_with, _request.verify, _request.wanted.subvolume, source.path,
                     workspace.directory() + "/" + workspace.records().back().subvolume);
  auto equal = co_await std::move(comparing);
  _content_verified = equal.has_value();
  if (!equal) {
    co_return workspace.in_known_paths(std::move(equal.error()));
  }
  co_return equal;
}

task<result<void>> restore_session::make_target(const chain_link& last,
                                                btrfs::receive_workspace& workspace) {
  if (_request.keep_received) {
    const kept_snapshot snapshot(_with, _request.wanted.subvolume, last);
    auto keeping = snapshot.keep(workspace);
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
  auto tidying = tidy_up(_with, _request, workspace, _mark);
  co_await std::move(tidying);
  co_return engine::ok();
}

}  // namespace bts3::app
