// The Btrfs of this machine, as those see it who decide what to do with it: what subvolumes are,
// snapshots, sending, receiving. Whoever is tested without a filesystem gets a played one.
//
// real_host.hh passes everything on to the functions of this folder, whose headers are the
// contracts: errors, what blocks, what needs root. What is computed from bytes or values alone
// (streams, identities, UUIDs) is no part of it.
//
// Facts, snapshots and what a search of files does may be used by a thread beside the event loop.
#pragma once

#include "btrfs/content_compare.hh"
#include "btrfs/device_errors.hh"
#include "btrfs/encoded_writes.hh"
#include "btrfs/processes.hh"
#include "btrfs/receive_workspace.hh"
#include "btrfs/restore_target.hh"
#include "btrfs/restored_mark.hh"
#include "btrfs/size_estimate.hh"
#include "btrfs/snapshot_manager.hh"
#include "btrfs/subvolume.hh"
#include "btrfs/uncarried.hh"
#include "btrfs/unsendable.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::btrfs {

// What lies at a path. Changes nothing.
class subvolume_facts {
 public:
  // As inspect_subvolume(), inspect_source(), is_subvolume(), filesystem_id() and
  // nested_subvolumes().
  [[nodiscard]] virtual engine::result<subvolume_info> inspect(const std::string& path) const = 0;
  [[nodiscard]] virtual engine::result<subvolume_info> inspect_source(
      const std::string& path) const = 0;
  [[nodiscard]] virtual bool is_subvolume(const std::string& path) const = 0;
  [[nodiscard]] virtual engine::result<uuid> filesystem_id(const std::string& path) const = 0;
  [[nodiscard]] virtual engine::result<std::vector<std::string>> nested(
      const std::string& path) const = 0;
  // As find_uncarried() and active_swapfiles().
  [[nodiscard]] virtual engine::result<uncarried_report> uncarried(
      const std::string& path, std::size_t examples_max, std::uint64_t entries_max) const = 0;
  [[nodiscard]] virtual std::vector<std::string> swapfiles(const std::string& path) const = 0;

 protected:
  ~subvolume_facts() = default;
};

// Read-only snapshots in the directory `base`: as snapshot_manager.
class snapshot_shelf {
 public:
  [[nodiscard]] virtual engine::result<void> check(const std::string& base,
                                                   const std::string& source) const = 0;
  [[nodiscard]] virtual engine::result<bool> make_base(const std::string& base,
                                                       const std::string& source) = 0;
  [[nodiscard]] virtual engine::result<uuid> base_filesystem(const std::string& base,
                                                             const std::string& source) const = 0;
  virtual engine::result<snapshot> create(const std::string& base, const std::string& source,
                                          std::string_view subvolume, std::string_view time,
                                          bool full) = 0;
  [[nodiscard]] virtual engine::result<std::vector<snapshot>> list(
      const std::string& base, std::string_view subvolume) const = 0;
  [[nodiscard]] virtual engine::result<std::vector<std::string>> nested_in(
      const std::string& base, const std::string& source,
      const std::vector<std::string>& others) const = 0;
  virtual engine::result<void> remove(const std::string& base, const std::string& name) = 0;
  // As delete_subvolume().
  virtual engine::result<void> remove_any(const std::string& parent, const std::string& name) = 0;

 protected:
  ~snapshot_shelf() = default;
};

// Streams on their way out.
class sending_side {
 public:
  // A running `btrfs send`.
  virtual engine::result<send_process> start(engine::reactor& loop,
                                             const send_options& options) = 0;
  // As estimate_stream().
  virtual engine::task<engine::result<size_estimate>> estimate(engine::reactor& loop,
                                                               estimate_request request,
                                                               engine::stop_token stop) = 0;
  // As find_long_paths(), find_unreadable() and is_unsendable().
  virtual std::vector<unsendable_file> long_paths(const std::string& snapshot,
                                                  const std::atomic<bool>& stop) const = 0;
  virtual std::vector<unsendable_file> unreadable(const std::string& snapshot,
                                                  const std::string& from, std::uint64_t bytes_max,
                                                  const std::atomic<bool>& stop) const = 0;
  virtual bool is_unsendable(const std::string& subvolume, const std::string& path,
                             const std::atomic<bool>& stop) const = 0;

 protected:
  ~sending_side() = default;
};

// Streams on their way back, and what becomes of them.
class receiving_side {
 public:
  // As check_target(), find_earlier_work(), find_mark() and check_mounted_writable().
  [[nodiscard]] virtual engine::result<target_report> check_target(
      const std::string& target) const = 0;
  [[nodiscard]] virtual engine::result<earlier_work> earlier_work_at(
      const target_report& target) const = 0;
  [[nodiscard]] virtual mark_finding find_mark(const std::string& path,
                                               const restored_mark& mark) const = 0;
  [[nodiscard]] virtual engine::result<void> check_mounted_writable(
      const std::string& path, const std::string& what) const = 0;
  // As private_workspace::open(). Blocks.
  virtual engine::result<std::unique_ptr<receive_workspace>> open(const target_report& target,
                                                                  bool anew) = 0;
  // As data_checks_of(), device_errors_of(), encoded_writes::missing_in() and compare_trees().
  [[nodiscard]] virtual engine::result<data_checks> checks_of(const std::string& path) const = 0;
  [[nodiscard]] virtual engine::result<std::vector<device_errors>> errors_of(
      const std::string& path) const = 0;
  virtual engine::result<std::uint64_t> missing_in(encoded_writes& written,
                                                   const std::string& path) const = 0;
  virtual engine::result<compare_report> compare(const std::string& first,
                                                 const std::string& second,
                                                 const compare_options& options) const = 0;
  // As sync_filesystem() and sync_and_clean().
  virtual engine::result<void> sync(const std::string& path) = 0;
  virtual engine::result<void> sync_and_clean(const std::string& path) = 0;
  // As wait_for_cleaner(), of the filesystem that `path` is on.
  virtual engine::task<engine::result<void>> wait_for_cleaner(engine::reactor& loop,
                                                              std::string path,
                                                              engine::stop_token stop) = 0;

 protected:
  ~receiving_side() = default;
};

class host {
 public:
  // As detect_capabilities().
  virtual engine::task<engine::result<capabilities>> detect(engine::reactor& loop) = 0;
  [[nodiscard]] virtual const subvolume_facts& subvolumes() const = 0;
  [[nodiscard]] virtual snapshot_shelf& snapshots() = 0;
  [[nodiscard]] virtual sending_side& sending() = 0;
  [[nodiscard]] virtual receiving_side& receiving() = 0;

 protected:
  ~host() = default;
};

}  // namespace bts3::btrfs
