#include "btrfs/device_errors.hh"

#include "engine/files.hh"
#include "engine/plain_text.hh"

#include <linux/btrfs.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace bts3::btrfs {

namespace {

using engine::counted;
using engine::result;
using engine::system_error;

}  // namespace

std::string device_errors::text() const {
  std::vector<std::string> refused;
  if (writes > 0) {
    refused.push_back(counted(writes, "write"));
  }
  if (reads > 0) {
    refused.push_back(counted(reads, "read"));
  }
  if (flushes > 0) {
    refused.push_back(counted(flushes, "flush", "flushes"));
  }
  std::string made;
  for (std::size_t i = 0; i < refused.size(); ++i) {
    made += (i == 0 ? "" : i + 1 == refused.size() ? " and " : ", ") + refused[i];
  }
  made += refused.empty() ? "" : " refused";
  if (corruptions > 0) {
    made += (made.empty() ? "" : ", ") + counted(corruptions, "block") + " damaged";
  }
  return (device.empty() ? "device " + std::to_string(id) : device) + ": " + made;
}

result<std::vector<device_errors>> device_errors_of(const std::string& path) {
  auto fd = engine::open_directory(path);
  if (!fd) {
    return std::move(fd.error());
  }
  btrfs_ioctl_fs_info_args info{};
  if (::ioctl(fd->get(), BTRFS_IOC_FS_INFO, &info) != 0) {
    return system_error(errno, path + ": BTRFS_IOC_FS_INFO");
  }
  std::vector<device_errors> found;
  for (std::uint64_t id = 1; id <= info.max_id; ++id) {
    btrfs_ioctl_dev_info_args device{};
    device.devid = id;
    btrfs_ioctl_get_dev_stats stats{};
    stats.devid = id;
    stats.nr_items = BTRFS_DEV_STAT_VALUES_MAX;
    // Ids of devices that were removed lead nowhere.
    if (::ioctl(fd->get(), BTRFS_IOC_DEV_INFO, &device) != 0 ||
        ::ioctl(fd->get(), BTRFS_IOC_GET_DEV_STATS, &stats) != 0) {
      continue;
    }
    device_errors one;
    one.id = id;
    one.device = reinterpret_cast<const char*>(device.path);
    one.writes = stats.values[BTRFS_DEV_STAT_WRITE_ERRS];
    one.reads = stats.values[BTRFS_DEV_STAT_READ_ERRS];
    one.flushes = stats.values[BTRFS_DEV_STAT_FLUSH_ERRS];
    one.corruptions =
        stats.values[BTRFS_DEV_STAT_CORRUPTION_ERRS] + stats.values[BTRFS_DEV_STAT_GENERATION_ERRS];
    found.push_back(one);
  }
  return found;
}

std::vector<device_errors> risen(const std::vector<device_errors>& before,
                                 const std::vector<device_errors>& after) {
  const auto more = [](std::uint64_t then, std::uint64_t now) {
    return now > then ? now - then : 0;  // set back meanwhile: nothing can be said
  };
  std::vector<device_errors> found;
  for (device_errors one : after) {
    const auto same = std::find_if(before.begin(), before.end(),
                                   [&](const device_errors& other) { return other.id == one.id; });
    const device_errors then = same == before.end() ? device_errors() : *same;
    one.writes = more(then.writes, one.writes);
    one.reads = more(then.reads, one.reads);
    one.flushes = more(then.flushes, one.flushes);
    one.corruptions = more(then.corruptions, one.corruptions);
    if (one.any()) {
      found.push_back(one);
    }
  }
  return found;
}

}  // namespace bts3::btrfs
