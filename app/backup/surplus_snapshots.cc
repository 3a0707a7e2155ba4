#include "app/backup/surplus_snapshots.hh"

#include "btrfs/host.hh"
#include "engine/offload.hh"
#include "planner/keys.hh"
#include "planner/retention.hh"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>
#include <vector>

namespace bts3::app {

using engine::log_level;
using engine::result;
using engine::task;

namespace {

// What is known of each.
std::vector<planner::local_snapshot> known_of(const backup_common& common,
                                              const subvolume_view& view,
                                              const std::vector<btrfs::snapshot>& snapshots,
                                              const std::string& newest) {
  std::vector<std::string> of_pruned;
  const auto& remembered = common.memory.known().subvolumes;
  if (const auto entry = remembered.find(view.which.name); entry != remembered.end()) {
    of_pruned = entry->second.pruned_snapshots;
  }
  const planner::key_layout keys(common.with.settings.s3.prefix, view.which.name);
  std::set<std::string> of_chain;
  for (const link_summary& link : view.chain) {
    of_chain.insert(link.snapshot_name);
  }
  const auto pruned = [&of_pruned](const btrfs::snapshot& one) {
    return std::any_of(of_pruned.begin(), of_pruned.end(), [&](const std::string& known) {
      return known == one.info.own_uuid.text() || known == one.name;
    });
  };
  std::vector<planner::local_snapshot> all;
  for (const btrfs::snapshot& one : snapshots) {
    planner::local_snapshot entry;
    entry.name = one.name;
    entry.made_in = one.info.made_in;
    const auto kind = one.full ? planner::backup_kind::full : planner::backup_kind::incremental;
    const auto when = planner::timestamp::parse(one.time);
    entry.needed = one.name == newest;
    entry.published = entry.needed || of_chain.contains(one.name) || pruned(one) ||
                      (when && view.objects.contains(keys.manifest(kind, *when))) ||
                      view.left_by_earlier_tool(one);
    all.push_back(std::move(entry));
  }
  return all;
}

// Those of the earlier tool that stay: its chain, by which they are recognised, may be gone from
// the next run's view.
std::vector<std::string> kept_of_earlier_tool(const subvolume_view& view,
                                              const std::vector<btrfs::snapshot>& snapshots,
                                              const std::vector<std::string>& removed) {
  std::vector<std::string> all;
  for (const btrfs::snapshot& one : snapshots) {
    const bool stays = std::find(removed.begin(), removed.end(), one.name) == removed.end();
    if (stays && view.left_by_earlier_tool(one)) {
      all.push_back(one.info.own_uuid.text());
    }
  }
  return all;
}

}  // namespace

task<void> remove_surplus_snapshots(backup_common& common, const subvolume_view& view,
                                    std::string newest) {
  const services& with = common.with;
  auto snapshots = with.host.snapshots().list(with.settings.snapshots.base_dir, view.which.name);
  if (!snapshots) {
    with.log.write(log_level::warning, "backup", "snapshots_not_listed",
                   {{"error", snapshots.error().text()}});
    co_return;
  }
  const planner::snapshot_verdict verdict = planner::judge_snapshots(
      known_of(common, view, *snapshots, newest), with.settings.snapshots.retain);
  auto kept = kept_of_earlier_tool(view, *snapshots, verdict.remove);
  auto noting = common.memory.note_published(view.which.name, std::move(kept));
  co_await std::move(noting);
  for (const std::string& name : verdict.unexplained) {
    with.log.write(log_level::warning, "backup", "snapshot_without_backup",
                   {{"path", with.settings.snapshots.base_dir + "/" + name},
                    {"remedy", "delete it if nobody needs it"}});
  }
  for (const std::string& name : verdict.remove) {
    std::function<result<void>()> call = [&with, name] {
      return with.host.snapshots().remove(with.settings.snapshots.base_dir, name);
    };
    auto removing = engine::offload(with.loop, std::move(call));
    auto removed = co_await std::move(removing);
    if (removed) {
      with.log.write(log_level::info, "backup", "snapshot_removed",
                     {{"path", with.settings.snapshots.base_dir + "/" + name}});
    } else {
      with.log.write(log_level::warning, "backup", "snapshot_left",
                     {{"path", with.settings.snapshots.base_dir + "/" + name},
                      {"error", removed.error().text()}});
    }
  }
}

}  // namespace bts3::app
