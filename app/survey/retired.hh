// Subvolumes that are configured no more: their backups are in the bucket still, and their
// snapshots on this host.
#pragma once

#include "app/config/config.hh"
#include "app/store/services.hh"
#include "btrfs/snapshot_manager.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "s3/verbs/object_store.hh"

#include <string>
#include <vector>

namespace bts3::app {

// The configured subvolumes that `names` names, all when it is empty, and for a name that is not
// configured an entry without a path: whether the bucket has it is not known yet. A name that no
// subvolume can have is an error (reason configuration).
engine::result<std::vector<subvolume_config>> select_also_retired(
    const config& settings, const std::vector<std::string>& names);

// `chosen` as the bucket bears it out: an error (reason configuration) for the first that is not
// configured and that the bucket has nothing of. Where nothing is chosen and nothing configured
// (--from), all that are in the bucket; an error where there is none.
engine::task<engine::result<std::vector<subvolume_config>>> chosen_in_bucket(
    const services& with, s3::object_store& store, std::vector<subvolume_config> chosen);

// Snapshots in snapshots.base_dir of subvolumes that this state's runs backed up and that are
// configured no more, oldest first: no backup to come needs one. Without those that a journal
// names, which the next backup settles, and without all of subvolumes that the state does not know:
// they are another configuration's.
engine::result<std::vector<btrfs::snapshot>> retired_snapshots(const services& with);

}  // namespace bts3::app
