// Btrfs played by plain directories (btrfs::host): for tests of whole jobs, without root and
// without a mount.
//
// A snapshot is a directory with one file, the stream that its sender will print. Senders and
// receivers are real children with real pipes, exit statuses and stderr: shells instead of `btrfs`.
// Identities are kept here, as the kernel keeps them: names prove nothing. A received subvolume is
// a directory, too, with the stream that its receiver took.
//
// What one knows outlives the jobs, as a disk does. Calls may come from two threads.
#pragma once

#include "btrfs/host.hh"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::testing {

class played_host final : public btrfs::host,
                          private btrfs::subvolume_facts,
                          private btrfs::snapshot_shelf,
                          private btrfs::sending_side,
                          private btrfs::receiving_side {
 public:
  played_host() = default;
  played_host(const played_host&) = delete;
  played_host& operator=(const played_host&) = delete;

  // A writable subvolume at `path`, whose directory is made.
  void add_subvolume(const std::string& path);

  // Of senders: what they print of any snapshot made from now on.
  std::string stream;
  // The same of snapshots of these sources, instead.
  std::map<std::string, std::string> streams_of_sources;
  // How they end, from now on: a shell command after the stream was printed ("exit 1").
  std::string afterwards;
  // Bytes of the stream that are printed; the rest is left out.
  std::size_t printed_max = SIZE_MAX;
  // What the next ones print instead, one each, in this order; then they print theirs again.
  std::deque<std::string> instead;
  // Whether the stream of one that has a parent names it, and is so 32 bytes longer; without, it is
  // a full's, which nobody looks at who does not restore.
  bool names_parents = false;
  // What a sender prints that is asked for names and sizes alone; empty: the snapshot's stream.
  std::string description;
  // How often that was asked for; it is none of `sends`.
  std::size_t described = 0;
  // Started so far, and the number of the first that cannot be, as where no more processes may run.
  std::size_t sends = 0;
  std::size_t refused_from = SIZE_MAX;

  // Subvolumes in each, by paths relative to it.
  std::vector<std::string> nested_in_each;

  // Of receivers: the shell commands that the next ones are, one each; then they take their stream.
  // "$0" is the file into which a stream is taken.
  std::deque<std::string> receivers;
  // Started so far, with --force-decompress or not.
  std::vector<bool> decompressing;
  // Encoded writes of the next links that are not to be found on the disk.
  std::deque<std::uint64_t> missing;
  // How what was received differs from its source, where it does.
  std::optional<std::string> difference;
  // Free at every target.
  std::uint64_t available_bytes = std::uint64_t{1} << 40;
  // The shell command that waits for the cleaner, and the paths of whose filesystems it was waited
  // for.
  std::string cleaner = "exit 0";
  std::vector<std::string> cleaned;
  // Targets that were written to since they were made.
  std::set<std::string> written_to;

  // Rewrites what an existing snapshot will send: as after a defragmentation.
  void change_stream_of(const std::string& path, const std::string& made);
  // What the snapshot with that UUID was made to send, also when it is gone by now.
  [[nodiscard]] std::string stream_of(const std::string& uuid) const;
  // Paths of the snapshots that exist.
  [[nodiscard]] std::vector<std::string> snapshot_paths() const;

  // What the disk holds: subvolumes by path, what each sends by UUID, and beside targets what was
  // received for them.
  std::map<std::string, btrfs::subvolume_info> known;
  std::map<std::string, std::string> streams;
  struct private_place {
    std::vector<btrfs::link_record> links;
    std::optional<btrfs::link_record> last_written;
    bool locked = false;
  };
  std::map<std::string, private_place> places;        // by their paths
  std::map<std::string, btrfs::restored_mark> marks;  // by target
  std::uint64_t transactions = 100;

  engine::task<engine::result<btrfs::capabilities>> detect(engine::reactor& loop) override;
  [[nodiscard]] const btrfs::subvolume_facts& subvolumes() const override { return *this; }
  [[nodiscard]] btrfs::snapshot_shelf& snapshots() override { return *this; }
  [[nodiscard]] btrfs::sending_side& sending() override { return *this; }
  [[nodiscard]] btrfs::receiving_side& receiving() override { return *this; }

 private:
  friend class played_workspace;

  engine::result<btrfs::subvolume_info> inspect(const std::string& path) const override;
  engine::result<btrfs::subvolume_info> inspect_source(const std::string& path) const override;
  bool is_subvolume(const std::string& path) const override;
  engine::result<btrfs::uuid> filesystem_id(const std::string& path) const override;
  engine::result<std::vector<std::string>> nested(const std::string& path) const override;
  engine::result<btrfs::uncarried_report> uncarried(const std::string& path,
                                                    std::size_t examples_max,
                                                    std::uint64_t entries_max) const override;
  std::vector<std::string> swapfiles(const std::string& path) const override;

  engine::result<void> check(const std::string& base, const std::string& source) const override;
  engine::result<bool> make_base(const std::string& base, const std::string& source) override;
  engine::result<btrfs::uuid> base_filesystem(const std::string& base,
                                              const std::string& source) const override;
  engine::result<btrfs::snapshot> create(const std::string& base, const std::string& source,
                                         std::string_view subvolume, std::string_view time,
                                         bool full) override;
  engine::result<std::vector<btrfs::snapshot>> list(const std::string& base,
                                                    std::string_view subvolume) const override;
  engine::result<std::vector<std::string>> nested_in(
      const std::string& base, const std::string& source,
      const std::vector<std::string>& others) const override;
  engine::result<void> remove(const std::string& base, const std::string& name) override;
  engine::result<void> remove_any(const std::string& parent, const std::string& name) override;

  engine::result<btrfs::send_process> start(engine::reactor& loop,
                                            const btrfs::send_options& options) override;
  engine::task<engine::result<btrfs::size_estimate>> estimate(engine::reactor& loop,
                                                              btrfs::estimate_request request,
                                                              engine::stop_token stop) override;
  std::vector<btrfs::unsendable_file> long_paths(const std::string& snapshot,
                                                 const std::atomic<bool>& stop) const override;
  std::vector<btrfs::unsendable_file> unreadable(const std::string& snapshot,
                                                 const std::string& from, std::uint64_t bytes_max,
                                                 const std::atomic<bool>& stop) const override;
  bool is_unsendable(const std::string& subvolume, const std::string& path,
                     const std::atomic<bool>& stop) const override;

  engine::result<btrfs::target_report> check_target(const std::string& target) const override;
  engine::result<btrfs::earlier_work> earlier_work_at(
      const btrfs::target_report& target) const override;
  btrfs::mark_finding find_mark(const std::string& path,
                                const btrfs::restored_mark& mark) const override;
  engine::result<void> check_mounted_writable(const std::string& path,
                                              const std::string& what) const override;
  engine::result<std::unique_ptr<btrfs::receive_workspace>> open(const btrfs::target_report& target,
                                                                 bool anew) override;
  engine::result<btrfs::data_checks> checks_of(const std::string& path) const override;
  engine::result<std::vector<btrfs::device_errors>> errors_of(
      const std::string& path) const override;
  engine::result<std::uint64_t> missing_in(btrfs::encoded_writes& written,
                                           const std::string& path) const override;
  engine::result<btrfs::compare_report> compare(
      const std::string& first, const std::string& second,
      const btrfs::compare_options& options) const override;
  engine::result<void> sync(const std::string& path) override;
  engine::result<void> sync_and_clean(const std::string& path) override;
  engine::task<engine::result<void>> wait_for_cleaner(engine::reactor& loop, std::string path,
                                                      engine::stop_token stop) override;

  // Makes the subvolume at `path` of the one that is known at `of`.
  void add_snapshot(const std::string& of, const std::string& path, bool read_only);
  void erase(const std::string& path);
  [[nodiscard]] bool is_published(const std::string& target,
                                  const std::optional<btrfs::link_record>& record) const;

  mutable std::recursive_mutex _mutex;
  mutable std::size_t _looked_for = 0;  // of `missing`
};

// A send stream of exactly `bytes`, at least 74: WRITEs whose content `seed` chooses, END.
std::string send_stream(std::size_t bytes, unsigned seed = 1);

}  // namespace bts3::testing
