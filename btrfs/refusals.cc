#include "btrfs/refusals.hh"

#include "engine/told_command.hh"
#include "engine/unique_fd.hh"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <utility>

namespace bts3::btrfs {

namespace {

using engine::error;
using engine::shell_word;
using engine::system_error;

// As /proc/swaps writes a name: blanks, tabs, line ends and backslashes in octal.
std::string unescaped(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool code = text[i] == '\\' && i + 3 < text.size();
    plain += code ? static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                      (text[i + 3] - '0'))
                  : text[i];
    i += code ? 3 : 0;
  }
  return plain;
}

}  // namespace

std::vector<std::string> active_swapfiles(const std::string& path, const std::string& list) {
  std::vector<std::string> found;
  struct stat subvolume{};
  std::ifstream file(list);
  std::string line;
  if (::stat(path.c_str(), &subvolume) != 0 || !std::getline(file, line)) {  // the heading
    return found;
  }
  while (std::getline(file, line)) {
    std::string name = unescaped(line.substr(0, line.find_first_of(" \t")));
    struct stat entry{};
    // Each subvolume has a device number of its own.
    if (::stat(name.c_str(), &entry) == 0 && S_ISREG(entry.st_mode) &&
        entry.st_dev == subvolume.st_dev) {
      found.push_back(std::move(name));
    }
  }
  return found;
}

bool is_immutable(const std::string& path) {
  const engine::unique_fd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  int flags = 0;
  return fd.get() >= 0 && ::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) == 0 &&
         (flags & FS_IMMUTABLE_FL) != 0;
}

std::string room_remedy(int err, const std::string& path) {
  if (err == ENOSPC) {
    return "make room: `btrfs filesystem usage " + shell_word(path) +
           "` tells what is full, and where only metadata is, `btrfs balance start -dusage=10 " +
           shell_word(path) + "` helps";
  }
  if (err == EDQUOT) {
    return "`btrfs qgroup show -re " + shell_word(path) +
           "` tells which quota is used up; raise it with `btrfs qgroup limit`";
  }
  return {};
}

error snapshot_refusal(int err, const std::string& what, const std::string& source,
                       const std::string& parent) {
  error failure = system_error(err, what);
  switch (err) {
    case EXDEV:
      failure.why = engine::reason::configuration;
      failure.remedy = "both must be on the same Btrfs filesystem";
      break;
    case ETXTBSY: {
      const std::vector<std::string> files = active_swapfiles(source);
      const std::string name = files.empty() ? "a file in it" : files.front();
      failure.message = what + ": " + name +
                        " is in use as swap, and Btrfs snapshots no subvolume "
                        "with such a file";
      failure.remedy = "`swapoff " + (files.empty() ? std::string("FILE") : shell_word(name)) +
                       "` for the backup, or put the file into a subvolume of its own";
      break;
    }
    case EROFS:
      failure.remedy = "the filesystem of " + parent +
                       " is mounted read-only, or became so after an error: see `dmesg`";
      break;
    case EPERM:
    case EACCES:
      failure.remedy = is_immutable(parent)
                           ? parent + " is immutable: `chattr -i " + shell_word(parent) + "`"
                           : std::string("this needs root");
      break;
    default:
      failure.remedy = room_remedy(err, parent);
      break;
  }
  return failure;
}

error receive_failure(error failure, const std::string& parent) {
  if (failure.why != engine::reason::child_process || !failure.remedy.empty()) {
    return failure;
  }
  for (const int err : {EDQUOT, ENOSPC}) {
    if (failure.message.find(::strerrordesc_np(err)) != std::string::npos) {
      failure.message = (err == EDQUOT ? "a quota at " + parent + " is used up"
                                       : "the filesystem of " + parent + " is full") +
                        ": " + failure.message;
      failure.remedy =
          room_remedy(err, parent) + "; the same command goes on with what was received whole";
      return failure;
    }
  }
  return failure;
}

error deletion_refusal(int err, const std::string& path) {
  error failure = system_error(err, "deleting subvolume " + path);
  const std::string parent = path.substr(0, path.rfind('/'));
  if (err == EROFS) {
    failure.remedy =
        "its filesystem is mounted read-only, or became so after an error: see `dmesg`";
  } else if (err == EPERM || err == EACCES) {
    failure.remedy = "this needs root";
    if (is_immutable(path)) {
      failure.remedy = "it is immutable: `btrfs property set -f " + shell_word(path) +
                       " ro false && chattr -i " + shell_word(path) +
                       "`, and delete it with `btrfs subvolume "
                       "delete`; without +i on the source no later snapshot has it";
    } else if (is_immutable(parent)) {
      failure.remedy = parent + " is immutable: `chattr -i " + shell_word(parent) + "`";
    }
  } else {
    failure.remedy = room_remedy(err, path);
  }
  return failure;
}

}  // namespace bts3::btrfs
