#include "btrfs/real_host.hh"

#include "btrfs/cleaner.hh"
#include "btrfs/private_workspace.hh"
#include "btrfs/refusals.hh"

#include <utility>

namespace bts3::btrfs {

using engine::result;
using engine::task;

task<result<capabilities>> real_host::detect(engine::reactor& loop) {
  return detect_capabilities(loop);
}

result<subvolume_info> real_host::inspect(const std::string& path) const {
  return inspect_subvolume(path);
}

result<subvolume_info> real_host::inspect_source(const std::string& path) const {
  return btrfs::inspect_source(path);
}

bool real_host::is_subvolume(const std::string& path) const {
  return btrfs::is_subvolume(path);
}

result<uuid> real_host::filesystem_id(const std::string& path) const {
  return btrfs::filesystem_id(path);
}

result<std::vector<std::string>> real_host::nested(const std::string& path) const {
  return nested_subvolumes(path);
}

result<uncarried_report> real_host::uncarried(const std::string& path, std::size_t examples_max,
                                              std::uint64_t entries_max) const {
  return find_uncarried(path, examples_max, entries_max);
}

std::vector<std::string> real_host::swapfiles(const std::string& path) const {
  return active_swapfiles(path);
}

result<void> real_host::check(const std::string& base, const std::string& source) const {
  return snapshot_manager(base).check(source);
}

result<bool> real_host::make_base(const std::string& base, const std::string& source) {
  return snapshot_manager(base).make_base(source);
}

result<uuid> real_host::base_filesystem(const std::string& base, const std::string& source) const {
  return snapshot_manager(base).base_filesystem(source);
}

result<snapshot> real_host::create(const std::string& base, const std::string& source,
                                   std::string_view subvolume, std::string_view time, bool full) {
  return snapshot_manager(base).create(source, subvolume, time, full);
}

result<std::vector<snapshot>> real_host::list(const std::string& base,
                                              std::string_view subvolume) const {
  return snapshot_manager(base).list(subvolume);
}

result<std::vector<std::string>> real_host::nested_in(
    const std::string& base, const std::string& source,
    const std::vector<std::string>& others) const {
  return snapshot_manager(base).nested_in(source, others);
}

result<void> real_host::remove(const std::string& base, const std::string& name) {
  return snapshot_manager(base).remove(name);
}

result<void> real_host::remove_any(const std::string& parent, const std::string& name) {
  return delete_subvolume(parent, name);
}

result<send_process> real_host::start(engine::reactor& loop, const send_options& options) {
  return send_process::start(loop, send_arguments(options));
}

task<result<size_estimate>> real_host::estimate(engine::reactor& loop, estimate_request request,
                                                engine::stop_token stop) {
  return estimate_stream(loop, std::move(request), std::move(stop));
}

std::vector<unsendable_file> real_host::long_paths(const std::string& snapshot,
                                                   const std::atomic<bool>& stop) const {
  return find_long_paths(snapshot, stop);
}

std::vector<unsendable_file> real_host::unreadable(const std::string& snapshot,
                                                   const std::string& from, std::uint64_t bytes_max,
                                                   const std::atomic<bool>& stop) const {
  return find_unreadable(snapshot, from, bytes_max, stop);
}

bool real_host::is_unsendable(const std::string& subvolume, const std::string& path,
                              const std::atomic<bool>& stop) const {
  return btrfs::is_unsendable(subvolume, path, stop);
}

result<target_report> real_host::check_target(const std::string& target) const {
  return btrfs::check_target(target);
}

result<earlier_work> real_host::earlier_work_at(const target_report& target) const {
  return find_earlier_work(target);
}

mark_finding real_host::find_mark(const std::string& path, const restored_mark& mark) const {
  return btrfs::find_mark(path, mark);
}

result<void> real_host::check_mounted_writable(const std::string& path,
                                               const std::string& what) const {
  return btrfs::check_mounted_writable(path, what);
}

result<std::unique_ptr<receive_workspace>> real_host::open(const target_report& target, bool anew) {
  auto opened = private_workspace::open(target, anew);
  if (!opened) {
    return std::move(opened.error());
  }
  return std::unique_ptr<receive_workspace>(std::move(*opened));
}

result<data_checks> real_host::checks_of(const std::string& path) const {
  return data_checks_of(path);
}

result<std::vector<device_errors>> real_host::errors_of(const std::string& path) const {
  return device_errors_of(path);
}

result<std::uint64_t> real_host::missing_in(encoded_writes& written,
                                            const std::string& path) const {
  return written.missing_in(path);
}

result<compare_report> real_host::compare(const std::string& first, const std::string& second,
                                          const compare_options& options) const {
  return compare_trees(first, second, options);
}

result<void> real_host::sync(const std::string& path) {
  return sync_filesystem(path);
}

result<void> real_host::sync_and_clean(const std::string& path) {
  return btrfs::sync_and_clean(path);
}

task<result<void>> real_host::wait_for_cleaner(engine::reactor& loop, std::string path,
                                               engine::stop_token stop) {
  return btrfs::wait_for_cleaner(loop, cleaning_arguments(path), std::move(stop));
}

}  // namespace bts3::btrfs
