// The Btrfs of this machine as it is.
#pragma once

#include "btrfs/host.hh"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::btrfs {

// Keeps nothing: any number of them are the same.
class real_host final : public host,
                        private subvolume_facts,
                        private snapshot_shelf,
                        private sending_side,
                        private receiving_side {
 public:
  engine::task<engine::result<capabilities>> detect(engine::reactor& loop) override;
  [[nodiscard]] const subvolume_facts& subvolumes() const override { return *this; }
  [[nodiscard]] snapshot_shelf& snapshots() override { return *this; }
  [[nodiscard]] sending_side& sending() override { return *this; }
  [[nodiscard]] receiving_side& receiving() override { return *this; }

 private:
  engine::result<subvolume_info> inspect(const std::string& path) const override;
  engine::result<subvolume_info> inspect_source(const std::string& path) const override;
  bool is_subvolume(const std::string& path) const override;
  engine::result<uuid> filesystem_id(const std::string& path) const override;
  engine::result<std::vector<std::string>> nested(const std::string& path) const override;
  engine::result<uncarried_report> uncarried(const std::string& path, std::size_t examples_max,
                                             std::uint64_t entries_max) const override;
  std::vector<std::string> swapfiles(const std::string& path) const override;

  engine::result<void> check(const std::string& base, const std::string& source) const override;
  engine::result<bool> make_base(const std::string& base, const std::string& source) override;
  engine::result<uuid> base_filesystem(const std::string& base,
                                       const std::string& source) const override;
  engine::result<snapshot> create(const std::string& base, const std::string& source,
                                  std::string_view subvolume, std::string_view time,
                                  bool full) override;
  engine::result<std::vector<snapshot>> list(const std::string& base,
                                             std::string_view subvolume) const override;
  engine::result<std::vector<std::string>> nested_in(
      const std::string& base, const std::string& source,
      const std::vector<std::string>& others) const override;
  engine::result<void> remove(const std::string& base, const std::string& name) override;
  engine::result<void> remove_any(const std::string& parent, const std::string& name) override;

  engine::result<send_process> start(engine::reactor& loop, const send_options& options) override;
  engine::task<engine::result<size_estimate>> estimate(engine::reactor& loop,
                                                       estimate_request request,
                                                       engine::stop_token stop) override;
  std::vector<unsendable_file> long_paths(const std::string& snapshot,
                                          const std::atomic<bool>& stop) const override;
  std::vector<unsendable_file> unreadable(const std::string& snapshot, const std::string& from,
                                          std::uint64_t bytes_max,
                                          const std::atomic<bool>& stop) const override;
  bool is_unsendable(const std::string& subvolume, const std::string& path,
                     const std::atomic<bool>& stop) const override;

  engine::result<target_report> check_target(const std::string& target) const override;
  engine::result<earlier_work> earlier_work_at(const target_report& target) const override;
  mark_finding find_mark(const std::string& path, const restored_mark& mark) const override;
  engine::result<void> check_mounted_writable(const std::string& path,
                                              const std::string& what) const override;
  engine::result<std::unique_ptr<receive_workspace>> open(const target_report& target,
                                                          bool anew) override;
  engine::result<data_checks> checks_of(const std::string& path) const override;
  engine::result<std::vector<device_errors>> errors_of(const std::string& path) const override;
  engine::result<std::uint64_t> missing_in(encoded_writes& written,
                                           const std::string& path) const override;
  engine::result<compare_report> compare(const std::string& first, const std::string& second,
                                         const compare_options& options) const override;
  engine::result<void> sync(const std::string& path) override;
  engine::result<void> sync_and_clean(const std::string& path) override;
  engine::task<engine::result<void>> wait_for_cleaner(engine::reactor& loop, std::string path,
                                                      engine::stop_token stop) override;
};

}  // namespace bts3::btrfs
