#include "app/restore/kept_snapshot.hh"

#include "app/host/disk_call.hh"
#include "app/records/kept_copies.hh"
#include "app/restore/restore_verify.hh"
#include "btrfs/host.hh"
#include "btrfs/identity.hh"

#include <sys/stat.h>

#include <functional>
#include <utility>

namespace bts3::app {

using engine::log_level;
using engine::result;
using engine::task;

kept_snapshot::kept_snapshot(const services& with, std::string subvolume, const chain_link& last)
    : _with(with), _subvolume(std::move(subvolume)), _last(last) {}

result<void> kept_snapshot::check_place(const services& with, const btrfs::target_report& target) {
  auto kept = with.host.subvolumes().filesystem_id(with.settings.snapshots.base_dir);
  auto restored = with.host.subvolumes().filesystem_id(target.above);
  if (!kept || !restored || *kept != *restored) {
    return engine::configuration_error(
        "--keep-received: snapshots.base_dir = " + with.settings.snapshots.base_dir +
            " is not on the target's filesystem",
        "create it there, or restore without --keep-received");
  }
  return with.host.receiving().check_mounted_writable(
      with.settings.snapshots.base_dir,
      "--keep-received: snapshots.base_dir = " + with.settings.snapshots.base_dir);
}

std::string kept_snapshot::path() const {
  return _with.settings.snapshots.base_dir + "/" +
         btrfs::snapshot_name(_subvolume, _last.value.created_at.compact(),
                              _last.value.kind == planner::backup_kind::full);
}

result<bool> kept_snapshot::is_there(const std::optional<btrfs::uuid>& received) const {
  const std::string path = this->path();
  struct stat entry{};
  if (::lstat(path.c_str(), &entry) != 0) {
    return false;
  }
  btrfs::recorded_identity recorded = identity_of(_last.value.snapshot);
  if (!recorded.own_uuid) {
    recorded.own_uuid = received;
  }
  recorded.copies = kept_copies(_with.settings.global.state_path, _last.value.snapshot);
  std::string why = "it is no subvolume";
  if (const auto found = _with.host.subvolumes().inspect(path)) {
    const btrfs::identity_finding finding = btrfs::compare_identity(recorded, *found);
    if (finding.matches()) {
      return true;
    }
    why = finding.sentence;
  }
  return engine::configuration_error(
      "--keep-received: " + path + " exists already and is not this backup's: " + why,
      "move it away, or restore without --keep-received");
}

// What the copy is now goes beside the state: the next backup, whose parent it is, sees by that
// whether it was changed. The original, which may be there as well, needs none; without a
// configuration there is no state.
result<void> kept_snapshot::remember() const {
  const auto info = _with.host.subvolumes().inspect(path());
  if (!info) {
    return info.error();
  }
  const std::string& state = _with.settings.global.state_path;
  const bool copy = _last.value.snapshot.uuid && !info->received_uuid.is_null();
  if (!copy || _with.config_path.empty() || !kept_copies(state, _last.value.snapshot).empty()) {
    return engine::ok();
  }
  return remember_kept(state, *info);
}

task<result<void>> kept_snapshot::keep(const btrfs::receive_workspace& workspace) const {
  const btrfs::link_record link = workspace.records().back();
  auto received = workspace.inspect(link);
  if (!received) {
    co_return std::move(received.error());
  }
  const std::string path = this->path();
  auto there = is_there(received->received_uuid);
  if (!there) {
    co_return std::move(there.error());
  }
  result<void> noted = engine::ok();
  std::function<result<void>()> call = [&] {
    const std::string& state = _with.settings.global.state_path;
    if (!*there) {
      if (!kept_copies(state, _last.value.snapshot).empty()) {
        noted = forget_kept(state, received->received_uuid);
      }
      auto kept =
          workspace.keep(link, _with.settings.snapshots.base_dir, path.substr(path.rfind('/') + 1));
      if (!kept) {
        return result<void>(std::move(kept.error()).within("--keep-received: " + path));
      }
    }
    if (noted) {
      noted = remember();
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

}  // namespace bts3::app
