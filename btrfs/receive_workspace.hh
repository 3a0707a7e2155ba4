// Where a restore receives, and how what it received becomes the target.
//
// `btrfs receive` works in a private directory beside the target. At the end the target becomes a
// writable snapshot of the last received subvolume, whose own read-only property is never touched,
// and the received ones are deleted.
//
// The directory above may be one that others can write to. So the private directory is opened
// without following a link, has to be ours and closed to everybody else, and is reached by its
// descriptor from then on, as are its content and the target's parent: what has been renamed or
// replaced meanwhile is not met again. Whatever else has its name is refused and left alone.
//
// It is a subvolume, with the records in it and a second one, in which is received: a stream can
// reach that one alone (confined_receiver.hh), and the records go together with the directory, in
// one step. Older versions made an ordinary directory and received in it; that is continued.
//
// `btrfs receive` builds an incremental on the first subvolume of the filesystem that claims the
// parent's received UUID, and anybody may claim one. So the link before it gets a stand-in, a
// snapshot with a received UUID that nobody knows, and the stream is made to name that
// (stream_rewriter.hh): older copies of the parent are in nobody's way.
//
// A link counts as received only when `btrfs receive` exited well, the filesystem was synced and a
// record of it was fsynced: after a power cut a received subvolume can carry its UUID and read-only
// flag over empty files. Whatever has no record is deleted and received again.
//
// The private directory is named after the target, so that a rerun finds it:
// {parent of target}/.btrfs_to_s3.{name of target}. A restore that was killed after it had made the
// target leaves both; published() recognises that, and remove() finishes the work. Where several
// targets are restored, remove_received() leaves the records in it until all of them are there: by
// them a rerun knows what it need not restore again. Before records go, seal() has marked the
// target (restored_mark.hh), which is known by that afterwards.
//
// All that waits for a disk or for the lock (open, receiver, stand_in_for_parent, record, publish,
// keep, seal, delete_unrecorded, remove, remove_received, close) may be called on another thread
// than the rest, as long as nothing else of it is called meanwhile.
#pragma once

#include "btrfs/confined_receiver.hh"
#include "btrfs/link_records.hh"
#include "btrfs/restore_target.hh"
#include "btrfs/restored_mark.hh"
#include "btrfs/subvolume.hh"
#include "engine/result.hh"
#include "engine/unique_fd.hh"

#include <optional>
#include <string>
#include <vector>

namespace bts3::btrfs {

// What an earlier restore left for a target.
struct earlier_work {
  std::vector<link_record> links;        // received, recorded and still there
  std::optional<link_record> published;  // as receive_workspace::published()
};
// Looks without changing anything, and without the lock: a restore may be under way there. An error
// when the records make no sense.
engine::result<earlier_work> find_earlier_work(const target_report& target);

// The parent of the next link, as its stream knows it and as it has to be named instead.
struct parent_names {
  uuid in_stream;
  uuid stand_in;
};

class receive_workspace {
 public:
  // Makes or finds the private directory, locks it against another restore of the same target, and
  // deletes what has no record. The lock is shared with children, so that a receiver that outlives
  // a killed restore is waited for (2 s at most). `anew`: what an interrupted restore left is
  // removed first, readable or not; what is nobody's restore is refused all the same.
  static engine::result<receive_workspace> open(const target_report& target, bool anew = false);

  // The private directory, for this process alone.
  [[nodiscard]] std::string directory() const;
  // The place below it in which subvolumes appear, and the names there that were there before.
  [[nodiscard]] std::string receiving_directory() const;
  [[nodiscard]] std::vector<std::string> names_before() const;
  // Held by whoever works in it; for the receiver, which may outlive a restore that is killed.
  [[nodiscard]] int lock_descriptor() const { return _place.get(); }
  // The same place for one `btrfs receive`.
  engine::result<confined_receiver> receiver();
  // An error with the paths that people know instead of those that a process of ours sees; with
  // what helps where a receiver ended for want of room.
  [[nodiscard]] engine::error in_known_paths(engine::error failure) const;

  [[nodiscard]] const std::vector<link_record>& records() const { return _records; }

  // The recorded link whose writable snapshot the existing target is: an earlier restore was ended
  // between making the target and tidying up. Nullopt for anything else at the target's place.
  [[nodiscard]] std::optional<link_record> published() const;
  // Before a link is received onto the last recorded one.
  engine::result<parent_names> stand_in_for_parent();
  // The subvolume that appeared since the last record; an error when there is none or several.
  // Reason integrity when it was not made of the stand-in, or, without one, of anything.
  engine::result<link_record> identify_received(const std::string& manifest_key) const;
  // Syncs the filesystem, then makes the record durable.
  engine::result<void> record(const link_record& link);
  // Deletes every subvolume that no record names (a half-received link).
  engine::result<void> delete_unrecorded();
  [[nodiscard]] engine::result<subvolume_info> inspect(const link_record& link) const;

  // A writable snapshot of the recorded link at the target, durable. An error also when the target
  // is not found under its path afterwards.
  engine::result<void> publish(const link_record& link) const;
  // Marks the target that is there as what the last recorded link makes it, durably; nothing where
  // that is not published().
  engine::result<void> seal(const restored_mark& mark) const;
  // A read-only snapshot of it in `directory` under `name`, durable.
  engine::result<void> keep(const link_record& link, const std::string& directory,
                            const std::string& name) const;
  // Deletes the received subvolumes and then, in one step, the private directory with its records.
  engine::result<void> remove();
  // Deletes the received subvolumes alone: the records still tell whose work the target is.
  engine::result<void> remove_received();
  // Without records that tell something it removes the private directory.
  void close();

 private:
  receive_workspace() = default;
  [[nodiscard]] engine::result<std::vector<std::string>> received_names() const;
  [[nodiscard]] bool recorded(const std::string& subvolume) const;
  [[nodiscard]] engine::result<engine::unique_fd> open_link(const link_record& link) const;
  engine::result<void> find_place();
  engine::result<void> lock();
  engine::result<void> delete_received(const std::string& path) const;
  engine::result<void> open_receiving(bool make);
  engine::result<void> discard();
  engine::result<void> remove_place();
  [[nodiscard]] std::string shown_path() const;  // of the private directory, as people know it
  engine::result<void> load_records();

  target_report _target;
  engine::unique_fd _parent;                 // of the target
  engine::unique_fd _place;                  // the private directory; holds the lock
  engine::unique_fd _receiving;              // the subvolume below it, once there is one
  std::vector<link_record> _records;         // of links that are there
  std::optional<link_record> _last_written;  // the file's last record, there or not any more
  std::optional<uuid> _stand_in;             // its own UUID
};

}  // namespace bts3::btrfs
