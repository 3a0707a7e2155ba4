#include "btrfs/restore_target.hh"

#include "btrfs/restored_mark.hh"
#include "btrfs/subvolume.hh"
#include "engine/told_command.hh"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

namespace bts3::btrfs {

using engine::configuration_error;
using engine::error;
using engine::result;
using engine::system_error;

namespace {

// `parent`, or, where that is missing, the directory that exists and leads there. Empty where it
// cannot be made unseen: something else has its name, or a user who is not root may write to that
// directory, and choose where what is made comes to lie.
std::string place_above(const std::string& parent) {
  struct stat entry{};
  if (::stat(parent.c_str(), &entry) == 0) {
    return S_ISDIR(entry.st_mode) ? parent : "";
  }
  std::filesystem::path at(parent);
  while (::lstat(at.c_str(), &entry) != 0 && errno == ENOENT && at.has_relative_path()) {
    at = at.parent_path();
  }
  const bool ours = ::lstat(at.c_str(), &entry) == 0 && S_ISDIR(entry.st_mode) &&
                    entry.st_uid == ::geteuid() && (entry.st_mode & (S_IWGRP | S_IWOTH)) == 0;
  return ours ? at.string() : "";
}

}  // namespace

std::string target_report::private_name() const {
  return ".btrfs_to_s3." + name;
}

std::string target_report::private_path() const {
  return (parent == "/" ? "" : parent) + "/" + private_name();
}

std::string target_report::path() const {
  return (parent == "/" ? "" : parent) + "/" + name;
}

error target_exists(const target_report& target) {
  return configuration_error(
      "target " + target.path() + " exists already",
      "name one that does not exist; nothing is ever restored over existing data");
}

result<void> check_mounted_writable(const std::string& path, const std::string& what) {
  struct statvfs mount{};
  if (::statvfs(path.c_str(), &mount) != 0) {
    return system_error(errno, path);
  }
  if ((mount.f_flag & ST_RDONLY) != 0) {
    return configuration_error(
        what + " is mounted read-only",
        "mount it writable (mount -o remount,rw) if that is what you want, or name "
        "another place");
  }
  return engine::ok();
}

result<target_report> check_target(const std::string& target) {
  std::string path = target;
  while (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  if (!path.starts_with('/')) {
    return configuration_error("target \"" + target + "\" is not an absolute path",
                               "begin it with /");
  }
  struct stat entry{};
  const std::size_t slash = path.rfind('/');
  target_report report;
  report.parent = slash == 0 ? "/" : path.substr(0, slash);
  report.name = path.substr(slash + 1);
  if (report.name.empty() || report.name == "." || report.name == "..") {
    return configuration_error("target \"" + target + "\" names no new directory",
                               "name one that does not exist yet");
  }
  report.exists = ::lstat(path.c_str(), &entry) == 0;
  report.interrupted = ::lstat(report.private_path().c_str(), &entry) == 0;
  if (report.exists) {
    const auto there = inspect_subvolume(path);
    report.may_be_finished = there && may_be_marked(*there);
  }
  if (report.exists && !report.interrupted && !report.may_be_finished) {
    return target_exists(report);
  }
  report.above = place_above(report.parent);
  if (report.above.empty()) {
    return configuration_error("the target's parent directory " + report.parent + " does not exist",
                               "create it first: mkdir -p " + engine::shell_word(report.parent));
  }
  struct statfs info{};
  if (::statfs(report.above.c_str(), &info) != 0) {
    return system_error(errno, report.above);
  }
  if (static_cast<unsigned long>(info.f_type) != BTRFS_SUPER_MAGIC) {
    return configuration_error(
        "the target's parent directory " + report.parent + " is not on Btrfs",
        "`btrfs receive` needs a Btrfs filesystem: make one (mkfs.btrfs) and mount it");
  }
  if (auto writable =
          check_mounted_writable(report.above, "the target's parent directory " + report.parent);
      !writable) {
    return std::move(writable.error());
  }
  report.available_bytes =
      static_cast<std::uint64_t>(info.f_bavail) * static_cast<std::uint64_t>(info.f_bsize);
  return report;
}

result<void> make_parent(const target_report& target) {
  if (target.above.empty() || target.above == target.parent) {
    return engine::ok();
  }
  std::error_code code;
  std::filesystem::create_directories(target.parent, code);
  if (code) {
    return system_error(code.value(), "making the target's parent directory " + target.parent);
  }
  return engine::ok();
}

}  // namespace bts3::btrfs
