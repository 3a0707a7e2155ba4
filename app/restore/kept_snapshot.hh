// --keep-received: a read-only snapshot of what was received stays in snapshots.base_dir, so that
// the next backup of the subvolume is an incremental on it.
#pragma once

#include "app/store/chain_reader.hh"
#include "app/store/services.hh"
#include "btrfs/receive_workspace.hh"
#include "btrfs/subvolume.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <optional>
#include <string>

namespace bts3::app {

class kept_snapshot {
 public:
  // Of `last`, the backup that is restored. References must outlive it.
  kept_snapshot(const services& with, std::string subvolume, const chain_link& last);

  // Refuses (reason configuration) a snapshots.base_dir that is not on the target's filesystem, or
  // that cannot be written to.
  static engine::result<void> check_place(const services& with, const btrfs::target_report& target);

  [[nodiscard]] std::string path() const;

  // Whether it is there already, kept by an earlier attempt or never lost; something else under its
  // name is refused (reason configuration). `received`: what has been received, once it has; absent
  // before, when a backup without a recorded UUID is known by nothing.
  [[nodiscard]] engine::result<bool> is_there(const std::optional<btrfs::uuid>& received) const;

  // Makes it, unless it is there, of the last link, which has been received; and remembers beside
  // the state what it is, where the next backup needs that to know it. What cannot be remembered is
  // a warning.
  engine::task<engine::result<void>> keep(const btrfs::receive_workspace& workspace) const;

 private:
  [[nodiscard]] engine::result<void> remember() const;

  const services& _with;
  std::string _subvolume;
  const chain_link& _last;
};

}  // namespace bts3::app
