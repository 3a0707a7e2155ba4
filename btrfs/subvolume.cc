#include "btrfs/subvolume.hh"

#include "engine/files.hh"
#include "engine/told_command.hh"
#include "engine/wording.hh"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

namespace bts3::btrfs {

namespace {

using engine::error;
using engine::open_directory;
using engine::result;
using engine::setting;
using engine::system_error;
using engine::unique_fd;
using engine::wording;

error not_usable(const std::string& message, wording remedy) {
  return engine::configuration_error(message, std::move(remedy));
}

result<void> check_on_btrfs(int directory, const std::string& shown) {
  struct statfs info{};
  if (::fstatfs(directory, &info) != 0) {
    return system_error(errno, shown);
  }
  if (static_cast<unsigned long>(info.f_type) != BTRFS_SUPER_MAGIC) {
    return not_usable(
        shown + " is not on a Btrfs filesystem",
        "name a directory on Btrfs (`stat -f -c %T " + engine::shell_word(shown) + "` tells)");
  }
  return engine::ok();
}

result<unique_fd> open_on_btrfs(const std::string& path) {
  auto fd = open_directory(path);
  if (!fd) {
    error failure = std::move(fd.error());
    failure.remedy =
        "check that it is there, its filesystem mounted, and this user allowed to read it";
    return failure;
  }
  if (auto fine = check_on_btrfs(fd->get(), path); !fine) {
    return std::move(fine.error());
  }
  return fd;
}

// The path without what would make the kernel follow a link at its end: slashes, and dots.
std::string without_tail(std::string path) {
  while (path.size() > 1 && (path.ends_with('/') || path.ends_with("/."))) {
    path.pop_back();
  }
  return path;
}

error is_a_link(const std::string& path) {
  char real[PATH_MAX];
  const std::string to = ::realpath(path.c_str(), real) != nullptr ? real : "nothing";
  const std::string name = path.substr(path.rfind('/') + 1);
  return not_usable(path + " is a symbolic link, to " + to +
                        ": what is behind it may become something else at any time",
                    "name the subvolume itself, {name = \"" + name + "\", path = \"" + to +
                        "\"} in " + wording(setting::subvolumes) + ", so that its backups go on");
}

// The path of a subvolume within the one that `fd` is the root of, by its reference there.
result<std::string> path_of(int fd, std::uint64_t directory, std::uint64_t tree) {
  btrfs_ioctl_ino_lookup_args lookup{};
  lookup.objectid = directory;
  if (::ioctl(fd, BTRFS_IOC_INO_LOOKUP, &lookup) < 0) {
    const int err = errno;
    return system_error(err, "BTRFS_IOC_INO_LOOKUP", err == EPERM ? "this needs root" : "");
  }
  // The reference has no name: the subvolume itself does.
  btrfs_ioctl_ino_lookup_user_args user{};
  user.dirid = directory;
  user.treeid = tree;
  if (::ioctl(fd, BTRFS_IOC_INO_LOOKUP_USER, &user) < 0) {
    return system_error(errno, "BTRFS_IOC_INO_LOOKUP_USER");
  }
  return std::string(lookup.name) + user.name;  // the first ends in a slash, or is empty
}

}  // namespace

uuid::uuid(const std::uint8_t (&raw)[16]) {
  std::copy(std::begin(raw), std::end(raw), _bytes.begin());
}

bool uuid::is_null() const {
  return std::all_of(_bytes.begin(), _bytes.end(), [](std::uint8_t b) { return b == 0; });
}

std::string uuid::text() const {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < _bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) {
      out += '-';
    }
    out += digits[_bytes[i] >> 4];
    out += digits[_bytes[i] & 0xf];
  }
  return out;
}

std::optional<uuid> uuid::parse(std::string_view text) {
  if (text.size() != 36) {
    return std::nullopt;
  }
  uuid parsed;
  std::size_t digit = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (c != '-') {
        return std::nullopt;
      }
      continue;
    }
    int value = 0;
    if (c >= '0' && c <= '9') {
      value = c - '0';
    } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
      value = (c | 0x20) - 'a' + 10;
    } else {
      return std::nullopt;
    }
    std::uint8_t& byte = parsed._bytes[digit / 2];
    byte = static_cast<std::uint8_t>(byte << 4 | value);
    ++digit;
  }
  return parsed;
}

bool is_subvolume(const std::string& path) {
  struct stat entry{};
  struct statfs info{};
  return ::stat(path.c_str(), &entry) == 0 && S_ISDIR(entry.st_mode) &&
         entry.st_ino == BTRFS_FIRST_FREE_OBJECTID && ::statfs(path.c_str(), &info) == 0 &&
         static_cast<unsigned long>(info.f_type) == BTRFS_SUPER_MAGIC;
}

bool is_subvolume(int directory) {
  struct stat entry{};
  struct statfs info{};
  return ::fstat(directory, &entry) == 0 && S_ISDIR(entry.st_mode) &&
         entry.st_ino == BTRFS_FIRST_FREE_OBJECTID && ::fstatfs(directory, &info) == 0 &&
         static_cast<unsigned long>(info.f_type) == BTRFS_SUPER_MAGIC;
}

result<unique_fd> open_beneath(int directory, const std::string& path, const std::string& shown) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  unique_fd fd(static_cast<int>(::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how)));
  if (!fd.valid()) {
    return system_error(errno, shown);
  }
  return fd;
}

result<unique_fd> open_source(const std::string& path) {
  const std::string plain = without_tail(path);
  unique_fd fd(::open(plain.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (fd.valid()) {
    return fd;
  }
  const int err = errno;
  struct stat entry{};
  if (::lstat(plain.c_str(), &entry) == 0 && S_ISLNK(entry.st_mode)) {
    return is_a_link(plain);
  }
  return system_error(
      err, path,
      "check that it is there, its filesystem mounted, and this user allowed to read it");
}

result<subvolume_info> inspect_source(const std::string& path) {
  auto fd = open_source(path);
  if (!fd) {
    return std::move(fd.error());
  }
  return inspect_subvolume(fd->get(), path);
}

result<subvolume_info> inspect_subvolume(const std::string& path) {
  auto fd = open_on_btrfs(path);
  if (!fd) {
    return std::move(fd.error());
  }
  return inspect_subvolume(fd->get(), path);
}

result<subvolume_info> inspect_subvolume(int directory, const std::string& path) {
  if (auto fine = check_on_btrfs(directory, path); !fine) {
    return std::move(fine.error());
  }
  if (!is_subvolume(directory)) {
    return not_usable(path + " is an ordinary directory, not a Btrfs subvolume",
                      "name a subvolume (`btrfs subvolume list` shows them), or turn the directory "
                      "into one: `btrfs subvolume create` beside it, then move its content");
  }
  btrfs_ioctl_get_subvol_info_args raw{};
  // Returns 1, not 0, for a subvolume below the top level on some kernels (seen on 6.18).
  if (::ioctl(directory, BTRFS_IOC_GET_SUBVOL_INFO, &raw) < 0) {
    return system_error(errno, path + ": BTRFS_IOC_GET_SUBVOL_INFO");
  }
  subvolume_info info;
  info.id = raw.treeid;
  info.name = raw.name;
  info.own_uuid = uuid(raw.uuid);
  info.parent_uuid = uuid(raw.parent_uuid);
  info.received_uuid = uuid(raw.received_uuid);
  info.generation = raw.generation;
  info.ctransid = raw.ctransid;
  info.made_in = raw.otransid;
  info.sent_ctransid = raw.stransid;
  info.received_in = raw.rtransid;
  info.received_at = static_cast<std::int64_t>(raw.rtime.sec);
  info.received_at_nanoseconds = raw.rtime.nsec;
  info.made_at = static_cast<std::int64_t>(raw.otime.sec);
  info.changed_at = static_cast<std::int64_t>(raw.ctime.sec);
  info.read_only = (raw.flags & BTRFS_ROOT_SUBVOL_RDONLY) != 0;
  return info;
}

result<uuid> filesystem_id(const std::string& path) {
  auto fd = open_on_btrfs(path);
  if (!fd) {
    return std::move(fd.error());
  }
  btrfs_ioctl_fs_info_args raw{};
  if (::ioctl(fd->get(), BTRFS_IOC_FS_INFO, &raw) < 0) {
    return system_error(errno, path + ": BTRFS_IOC_FS_INFO");
  }
  return uuid(raw.fsid);
}

result<std::vector<std::string>> nested_subvolumes(const std::string& path) {
  auto fd = open_directory(path);
  if (!fd) {
    return std::move(fd.error());
  }
  return nested_subvolumes(fd->get(), path);
}

result<std::vector<std::string>> nested_subvolumes(int directory, const std::string& path) {
  std::vector<std::string> names;
  btrfs_ioctl_get_subvol_rootref_args refs{};
  for (;;) {
    // EOVERFLOW: 255 were returned and there are more; min_treeid has moved on by itself.
    const int code = ::ioctl(directory, BTRFS_IOC_GET_SUBVOL_ROOTREF, &refs);
    if (code < 0 && errno != EOVERFLOW) {
      return system_error(errno, path + ": BTRFS_IOC_GET_SUBVOL_ROOTREF");
    }
    for (unsigned i = 0; i < refs.num_items; ++i) {
      auto name = path_of(directory, refs.rootref[i].dirid, refs.rootref[i].treeid);
      if (name) {
        names.push_back(std::move(*name));
      } else if (name.error().what_now != engine::disposition::not_found) {
        return std::move(name.error()).within(path);
      }
    }
    if (code >= 0) {
      break;
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace bts3::btrfs
