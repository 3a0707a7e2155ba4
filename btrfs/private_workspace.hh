// The receive_workspace of a filesystem (receive_workspace.hh).
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
// The private directory is {parent of target}/.btrfs_to_s3.{name of target}.
#pragma once

#include "btrfs/receive_workspace.hh"
#include "btrfs/restore_target.hh"
#include "engine/result.hh"
#include "engine/unique_fd.hh"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bts3::btrfs {

// Looks without changing anything, and without the lock: a restore may be under way there. An error
// when the records make no sense.
engine::result<earlier_work> find_earlier_work(const target_report& target);

class private_workspace final : public receive_workspace {
 public:
  // Makes or finds the private directory, locks it against another restore of the same target, and
  // deletes what has no record. The lock is shared with children, so that a receiver that outlives
  // a killed restore is waited for (2 s at most). `anew`: what an interrupted restore left is
  // removed first, readable or not; what is nobody's restore is refused all the same.
  static engine::result<std::unique_ptr<private_workspace>> open(const target_report& target,
                                                                 bool anew = false);

  [[nodiscard]] std::string directory() const override;
  [[nodiscard]] std::string receiving_directory() const override;
  [[nodiscard]] std::vector<std::string> names_before() const override;
  engine::result<receive_command> receiver(bool decompress) override;
  [[nodiscard]] engine::error in_known_paths(engine::error failure) const override;
  [[nodiscard]] const std::vector<link_record>& records() const override { return _records; }
  [[nodiscard]] std::optional<link_record> published() const override;
  engine::result<parent_names> stand_in_for_parent() override;
  engine::result<link_record> identify_received(const std::string& manifest_key) const override;
  engine::result<void> record(const link_record& link) override;
  engine::result<void> delete_unrecorded() override;
  [[nodiscard]] engine::result<subvolume_info> inspect(const link_record& link) const override;
  engine::result<void> publish(const link_record& link) const override;
  engine::result<void> seal(const restored_mark& mark) const override;
  engine::result<void> keep(const link_record& link, const std::string& directory,
                            const std::string& name) const override;
  engine::result<void> remove() override;
  engine::result<void> remove_received() override;
  void close() override;

 private:
  private_workspace() = default;
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
