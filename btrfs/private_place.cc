#include "btrfs/private_place.hh"

#include "btrfs/subvolume.hh"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <sstream>
#include <utility>

namespace bts3::btrfs {

using engine::configuration_error;
using engine::error;
using engine::result;
using engine::system_error;
using engine::unique_fd;

error planted(const target_report& target, const std::string& what) {
  return configuration_error(
      target.private_path() + " is no directory that an interrupted restore left: " + what,
      "others can write to " + target.parent +
          ": look at what they put there and remove it, or name a target in a directory "
          "that only root can write to");
}

namespace {

// Refused unless it is ours and nobody else can look or write into it.
result<void> check_ours(int place, const target_report& target) {
  struct stat entry{};
  if (::fstat(place, &entry) != 0) {
    return system_error(errno, target.private_path());
  }
  if (entry.st_uid != ::geteuid()) {
    return planted(target, "it belongs to user " + std::to_string(entry.st_uid));
  }
  if ((entry.st_mode & 077) != 0) {
    std::ostringstream mode;
    mode << std::oct << (entry.st_mode & 07777);
    return planted(target, "it is open to others (mode " + mode.str() + ")");
  }
  return engine::ok();
}

}  // namespace

result<std::optional<unique_fd>> open_place(int parent, const target_report& target) {
  auto place = open_beneath(parent, target.private_name(), target.private_path());
  if (!place) {
    switch (place.error().status) {
      case ENOENT:
        return std::nullopt;
      case ELOOP:
        return planted(target, "it is a symbolic link");
      case ENOTDIR:
        return planted(target, "it is no directory");
      case EXDEV:
        return planted(target, "something is mounted there");
      default:
        return std::move(place.error());
    }
  }
  if (auto ours = check_ours(place->get(), target); !ours) {
    return std::move(ours.error());
  }
  return std::move(*place);
}

bool has_entry(int directory, const std::string& name, int fd) {
  struct stat there{};
  struct stat here{};
  return ::fstatat(directory, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
         ::fstat(fd, &here) == 0 && there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

result<std::vector<std::string>> entries_of(int directory, const std::string& shown) {
  const int again = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> reading(again < 0 ? nullptr : ::fdopendir(again),
                                                    &::closedir);
  if (!reading) {
    return system_error(errno, shown);
  }
  std::vector<std::string> names;
  errno = 0;
  for (; const dirent* entry = ::readdir(reading.get()); errno = 0) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") {
      names.push_back(name);
    }
  }
  if (errno != 0) {
    return system_error(errno, shown);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace bts3::btrfs
