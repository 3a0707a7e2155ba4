// Where a restore receives, and how what it received becomes the target: what a restore asks of it.
// private_workspace.hh is how that is done on Btrfs.
//
// A private directory beside the target holds what is received, a subvolume for each link of the
// chain, and the records of the links that are received and on the disk. At the end the target
// becomes a writable snapshot of the last one, whose own read-only property is never touched, and
// what was received goes.
//
// A link counts as received only once it is recorded. Whatever has no record is deleted and
// received again. The directory is named after the target, so that a rerun finds it; a restore that
// was killed after it had made the target leaves both: published() recognises that, and remove()
// finishes the work. Where several targets are restored, remove_received() leaves the records until
// all of them are there: by them a rerun knows what it need not restore again. Before records go,
// seal() has marked the target (restored_mark.hh), which is known by that afterwards.
//
// All that waits for a disk or for the lock (receiver, stand_in_for_parent, record, publish, keep,
// seal, delete_unrecorded, remove, remove_received, close) may be called on another thread than the
// rest, as long as nothing else of it is called meanwhile.
#pragma once

#include "btrfs/link_records.hh"
#include "btrfs/processes.hh"
#include "btrfs/restored_mark.hh"
#include "btrfs/subvolume.hh"
#include "engine/result.hh"

#include <optional>
#include <string>
#include <vector>

namespace bts3::btrfs {

// What an earlier restore left for a target.
struct earlier_work {
  std::vector<link_record> links;        // received, recorded and still there
  std::optional<link_record> published;  // as receive_workspace::published()
};

// The parent of the next link, as its stream knows it and as it has to be named instead.
struct parent_names {
  uuid in_stream;
  uuid stand_in;
};

class receive_workspace {
 public:
  receive_workspace() = default;
  virtual ~receive_workspace() = default;
  receive_workspace(const receive_workspace&) = delete;
  receive_workspace& operator=(const receive_workspace&) = delete;

  // The private directory, for this process alone.
  [[nodiscard]] virtual std::string directory() const = 0;
  // The place below it in which subvolumes appear, and the names there that were there before.
  [[nodiscard]] virtual std::string receiving_directory() const = 0;
  [[nodiscard]] virtual std::vector<std::string> names_before() const = 0;
  // How one `btrfs receive` into that place is started. It holds the lock: it may outlive a restore
  // that is killed. `decompress`: what comes compressed is written as ordinary data.
  virtual engine::result<receive_command> receiver(bool decompress) = 0;
  // An error with the paths that people know instead of those that a process of ours sees; with
  // what helps where a receiver ended for want of room.
  [[nodiscard]] virtual engine::error in_known_paths(engine::error failure) const = 0;

  [[nodiscard]] virtual const std::vector<link_record>& records() const = 0;

  // The recorded link whose writable snapshot the existing target is: an earlier restore was ended
  // between making the target and tidying up. Nullopt for anything else at the target's place.
  [[nodiscard]] virtual std::optional<link_record> published() const = 0;
  // Before a link is received onto the last recorded one.
  virtual engine::result<parent_names> stand_in_for_parent() = 0;
  // The subvolume that appeared since the last record; an error when there is none or several.
  // Reason integrity when it was not made of the stand-in, or, without one, of anything.
  virtual engine::result<link_record> identify_received(const std::string& manifest_key) const = 0;
  // Syncs the filesystem, then makes the record durable.
  virtual engine::result<void> record(const link_record& link) = 0;
  // Deletes every subvolume that no record names (a half-received link).
  virtual engine::result<void> delete_unrecorded() = 0;
  [[nodiscard]] virtual engine::result<subvolume_info> inspect(const link_record& link) const = 0;

  // A writable snapshot of the recorded link at the target, durable. An error also when the target
  // is not found under its path afterwards.
  virtual engine::result<void> publish(const link_record& link) const = 0;
  // Marks the target that is there as what the last recorded link makes it, durably; nothing where
  // that is not published().
  virtual engine::result<void> seal(const restored_mark& mark) const = 0;
  // A read-only snapshot of it in `directory` under `name`, durable.
  virtual engine::result<void> keep(const link_record& link, const std::string& directory,
                                    const std::string& name) const = 0;
  // Deletes the received subvolumes and then, in one step, the private directory with its records.
  virtual engine::result<void> remove() = 0;
  // Deletes the received subvolumes alone: the records still tell whose work the target is.
  virtual engine::result<void> remove_received() = 0;
  // Without records that tell something it removes the private directory.
  virtual void close() = 0;
};

}  // namespace bts3::btrfs
