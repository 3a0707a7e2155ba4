#include "app/setup/init_offers.hh"

#include "app/config/config.hh"
#include "app/host/whole_file.hh"
#include "app/setup/init_answers.hh"

#include <cstdint>
#include <filesystem>
#include <set>
#include <utility>

namespace bts3::app {

namespace {

constexpr std::size_t offers_max = 20;

}  // namespace

std::vector<offer> find_offers(const btrfs::subvolume_facts& facts) {
  std::vector<offer> found;
  std::set<std::pair<std::string, std::uint64_t>> seen;
  const auto take = [&](const std::string& path, bool proposed) {
    const auto info = facts.inspect(path);
    const auto filesystem = facts.filesystem_id(path);
    if (!info || !filesystem || info->read_only || found.size() == offers_max ||
        !worth_proposing(path) || !seen.emplace(filesystem->text(), info->id).second) {
      return;
    }
    found.push_back({path, proposed});
  };
  const auto mountinfo = read_whole("/proc/self/mountinfo");
  if (!mountinfo || !*mountinfo) {
    return found;
  }
  const std::vector<btrfs_mount> mounts = btrfs_mounts(**mountinfo);
  std::vector<offer> below;
  for (const btrfs_mount& one : mounts) {
    const auto nested = facts.nested(one.mount_point);
    const std::string stem = one.mount_point == "/" ? "/" : one.mount_point + "/";
    // The top level itself is a folder of subvolumes, where it has some.
    const bool folder = one.root == "/" && nested && !nested->empty();
    take(one.mount_point, !folder);
    for (const std::string& name : nested ? *nested : std::vector<std::string>()) {
      below.push_back({stem + name, folder});
    }
  }
  for (const offer& one : below) {
    take(one.path, one.proposed);
  }
  return found;
}

namespace {

// The highest directory above `path` on its filesystem.
std::string top_of_filesystem(const btrfs::subvolume_facts& facts, const std::string& path) {
  const auto filesystem = facts.filesystem_id(path);
  std::filesystem::path top = path;
  while (filesystem && top.has_parent_path() && top != top.parent_path()) {
    const auto above = facts.filesystem_id(top.parent_path().string());
    if (!above || *above != *filesystem) {
      break;
    }
    top = top.parent_path();
  }
  return top.string();
}

}  // namespace

std::string proposed_snapshots(btrfs::host& host, const std::string& subvolume) {
  const std::string usual = config().snapshots.base_dir;
  if (host.snapshots().check(usual, subvolume)) {
    return usual;
  }
  const std::string top = top_of_filesystem(host.subvolumes(), subvolume);
  return (top == "/" ? "" : top) + "/snapshots";
}

}  // namespace bts3::app
