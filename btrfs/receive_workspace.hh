// Where a restore receives, and how what it received becomes the target.
//
// `btrfs receive` works in a private directory on the target's filesystem, reached through a mount
// of the filesystem's top level: in a mount of a subvolume it fails when an older copy of the
// parent lies outside that mount. The mount is in a mount namespace of this process, so that it
// disappears with it, also after a kill, and nobody else sees it. At the end the target becomes a
// writable snapshot of the last received subvolume, whose own read-only property is never touched,
// and the received ones are deleted.
//
// A link counts as received only when `btrfs receive` exited well, the filesystem was synced and a
// record of it was fsynced: after a power cut a received subvolume can carry its UUID and read-only
// flag over empty files. Whatever has no record is deleted and received again.
//
// The private directory is named after the target, so that a rerun finds it:
// {parent of target}/.btrfs_to_s3.{name of target}. A restore that was killed after it had made the
// target leaves both; published() recognises that, and remove() finishes the work. Where several
// targets are restored, remove_received() leaves the records in it until all of them are there: by
// them a rerun knows what it need not restore again.
#pragma once

#include "btrfs/subvolume.hh"
#include "engine/result.hh"
#include "engine/unique_fd.hh"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace bts3::btrfs {

struct target_report {
  std::string parent;                 // directory that will hold the target
  std::string name;                   // the target's own name
  std::uint64_t available_bytes = 0;  // free on its filesystem, as statfs tells
  bool exists = false;                // something has the target's name
  bool interrupted = false;           // the private directory of an earlier restore is there
  [[nodiscard]] std::string path() const;
};

// Refuses, with the remedy: a relative path, a missing parent, a parent that is not on Btrfs, and a
// target that exists, unless an interrupted restore to it left its private directory (then the
// caller has to ask published()). Changes nothing.
engine::result<target_report> check_target(const std::string& target);
// What is said of a target that is there already.
engine::error target_exists(const target_report& target);

// What was received for one link of the chain.
struct link_record {
  std::string manifest_key;
  std::string subvolume;  // its directory's name below the private directory
  std::string own_uuid;
};

// What an earlier restore left for a target.
struct earlier_work {
  std::vector<link_record> links;        // received, recorded and still there
  std::optional<link_record> published;  // as receive_workspace::published()
};
// Looks without changing anything, and without the lock: a restore may be under way there. An error
// when the records make no sense.
engine::result<earlier_work> find_earlier_work(const target_report& target);

class receive_workspace {
 public:
  // Makes or finds the private directory, locks it against another restore of the same target, and
  // deletes what has no record. isolate_mounts() must have been called before. The lock is shared
  // with children, so that a receiver that outlives a killed restore is waited for (2 s at most).
  // `anew`: what an interrupted restore left is removed first, readable or not.
  static engine::result<receive_workspace> open(const target_report& target, bool anew = false);

  // Puts the process into a mount namespace of its own (unshare(2) with CLONE_NEWNS), from whose
  // /proc nothing propagates. Needs CAP_SYS_ADMIN; before any thread starts.
  static engine::result<void> isolate_mounts();

  // For `btrfs receive`.
  [[nodiscard]] std::string directory() const { return _private_path; }
  [[nodiscard]] const std::vector<link_record>& records() const { return _records; }

  // The recorded link whose writable snapshot the existing target is: an earlier restore was ended
  // between making the target and tidying up. Nullopt for anything else at the target's place.
  [[nodiscard]] std::optional<link_record> published() const;
  // The subvolume that appeared since the last record; an error when there is none or several.
  engine::result<link_record> identify_received(const std::string& manifest_key) const;
  // Syncs the filesystem, then makes the record durable.
  engine::result<void> record(const link_record& link);
  // Deletes every subvolume that no record names (a half-received link).
  engine::result<void> delete_unrecorded();
  [[nodiscard]] engine::result<subvolume_info> inspect(const link_record& link) const;

  // A writable snapshot of the recorded link at the target, durable.
  engine::result<void> publish(const link_record& link) const;
  // A read-only snapshot of it in `directory` under `name`, durable.
  engine::result<void> keep(const link_record& link, const std::string& directory,
                            const std::string& name) const;
  // Deletes the received subvolumes, the records and the private directory.
  engine::result<void> remove();
  // Deletes the received subvolumes alone: the records still tell whose work the target is.
  engine::result<void> remove_received();
  // Unmounts, in every case; without records that tell something it removes the private directory
  // first.
  void close();

 private:
  receive_workspace() = default;
  [[nodiscard]] engine::result<std::vector<std::string>> received_names() const;
  engine::result<void> mount_top_level();
  engine::result<void> unlink_records() const;
  engine::result<void> discard();
  [[nodiscard]] std::string target_path() const;  // through the mount
  [[nodiscard]] std::string shown_path() const;   // of the private directory, as people know it
  engine::result<void> load_records();

  target_report _target;
  std::string _mount_point;                  // of the top level
  std::string _private_path;                 // the private directory as seen below the mount
  std::vector<link_record> _records;         // of links that are there
  std::optional<link_record> _last_written;  // the file's last record, there or not any more
  engine::unique_fd _lock;
  bool _mounted = false;
};

}  // namespace bts3::btrfs
