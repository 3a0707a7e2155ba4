// Where a restore receives on a played disk.
#pragma once

#include "btrfs/receive_workspace.hh"
#include "btrfs/restore_target.hh"
#include "tests/support/played_host.hh"

#include <optional>
#include <string>
#include <vector>

namespace bts3::testing {

class played_workspace final : public btrfs::receive_workspace {
 public:
  // Locks it until close() or its end; whoever has made sure that nobody else has it locked.
  played_workspace(played_host& disk, btrfs::target_report target);
  ~played_workspace() override;

  [[nodiscard]] std::string directory() const override;
  [[nodiscard]] std::string receiving_directory() const override;
  [[nodiscard]] std::vector<std::string> names_before() const override;
  engine::result<btrfs::receive_command> receiver(bool decompress) override;
  [[nodiscard]] engine::error in_known_paths(engine::error failure) const override;
  [[nodiscard]] const std::vector<btrfs::link_record>& records() const override { return _records; }
  [[nodiscard]] std::optional<btrfs::link_record> published() const override;
  engine::result<btrfs::parent_names> stand_in_for_parent() override;
  engine::result<btrfs::link_record> identify_received(
      const std::string& manifest_key) const override;
  engine::result<void> record(const btrfs::link_record& link) override;
  engine::result<void> delete_unrecorded() override;
  [[nodiscard]] engine::result<btrfs::subvolume_info> inspect(
      const btrfs::link_record& link) const override;
  engine::result<void> publish(const btrfs::link_record& link) const override;
  engine::result<void> seal(const btrfs::restored_mark& mark) const override;
  engine::result<void> keep(const btrfs::link_record& link, const std::string& directory,
                            const std::string& name) const override;
  engine::result<void> remove() override;
  engine::result<void> remove_received() override;
  void close() override;

  // What --discard is about.
  void discard();

 private:
  [[nodiscard]] std::string path_of(const btrfs::link_record& link) const;
  [[nodiscard]] bool is_recorded(const std::string& subvolume) const;
  void save();

  played_host& _disk;
  btrfs::target_report _target;
  std::vector<btrfs::link_record> _records;
  std::optional<btrfs::link_record> _last_written;
  std::optional<btrfs::uuid> _stand_in;
  bool _open = true;
};

}  // namespace bts3::testing
