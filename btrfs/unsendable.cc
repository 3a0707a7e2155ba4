#include "btrfs/unsendable.hh"

#include "engine/unique_fd.hh"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace bts3::btrfs {

namespace {

constexpr std::size_t long_paths_max = 100;
constexpr std::size_t read_bytes = std::size_t{1} << 20;

struct entry {
  std::uint64_t inode = 0;
  std::string path;
};

// Called with each path below `root`, in no order, and what it is; what lies in other subvolumes
// and below paths that no system call takes is left out.
using visitor = std::function<void(const std::string& path, const struct stat* what)>;

void walk(const std::string& root, const std::atomic<bool>& stop, const visitor& visit) {
  const engine::unique_fd top(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat of_top{};
  if (!top.valid() || ::fstat(top.get(), &of_top) != 0) {
    return;
  }
  std::vector<std::string> directories = {""};
  while (!directories.empty() && !stop.load()) {
    const std::string below = std::move(directories.back());
    directories.pop_back();
    const int fd = ::openat(top.get(), below.empty() ? "." : below.c_str(),
                            O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(fd < 0 ? nullptr : ::fdopendir(fd),
                                                        &::closedir);
    while (const dirent* one = directory ? ::readdir(directory.get()) : nullptr) {
      const std::string name = one->d_name;
      if (name == "." || name == "..") {
        continue;
      }
      const std::string path = below.empty() ? name : below + "/" + name;
      struct stat what{};
      const bool known = path.size() <= sent_path_bytes_max &&
                         ::fstatat(top.get(), path.c_str(), &what, AT_SYMLINK_NOFOLLOW) == 0;
      visit(path, known ? &what : nullptr);
      if (known && S_ISDIR(what.st_mode) && what.st_dev == of_top.st_dev) {
        directories.push_back(path);
      }
    }
  }
}

// Why the file cannot be read; nullopt: it can, as far as was read.
std::optional<std::string> reading_problem(int top, const std::string& path,
                                           std::uint64_t& bytes_left,
                                           const std::atomic<bool>& stop) {
  const engine::unique_fd file(
      ::openat(top, path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  struct stat what{};
  if (!file.valid() || ::fstat(file.get(), &what) != 0 || !S_ISREG(what.st_mode)) {
    return std::nullopt;
  }
  std::vector<char> piece(read_bytes);
  for (off_t at = 0; bytes_left > 0 && !stop.load();) {
    const ssize_t got = ::pread(file.get(), piece.data(), piece.size(), at);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return std::string(std::strerror(errno)) + " at byte " + std::to_string(at);
    }
    if (got == 0) {
      break;
    }
    at += got;
    bytes_left -= std::min<std::uint64_t>(bytes_left, static_cast<std::uint64_t>(got));
  }
  (void)::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  return std::nullopt;
}

}  // namespace

std::vector<unsendable_file> find_long_paths(const std::string& snapshot,
                                             const std::atomic<bool>& stop) {
  std::vector<unsendable_file> found;
  walk(snapshot, stop, [&](const std::string& path, const struct stat*) {
    if (path.size() > sent_path_bytes_max && found.size() < long_paths_max) {
      found.push_back({0, path, "its path has " + std::to_string(path.size()) + " bytes"});
    }
  });
  return found;
}

std::vector<unsendable_file> find_unreadable(const std::string& snapshot, const std::string& from,
                                             std::uint64_t bytes_max,
                                             const std::atomic<bool>& stop) {
  const engine::unique_fd top(::open(snapshot.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!top.valid()) {
    return {};
  }
  struct stat last{};
  std::uint64_t first_inode = 0;
  if (!from.empty() && ::fstatat(top.get(), from.c_str(), &last, AT_SYMLINK_NOFOLLOW) == 0) {
    first_inode = last.st_ino;
  }
  std::vector<entry> files;
  walk(snapshot, stop, [&](const std::string& path, const struct stat* what) {
    if (what != nullptr && S_ISREG(what->st_mode) && what->st_ino >= first_inode) {
      files.push_back({what->st_ino, path});
    }
  });
  std::sort(files.begin(), files.end(),
            [](const entry& a, const entry& b) { return a.inode < b.inode; });
  for (const entry& one : files) {
    if (auto problem = reading_problem(top.get(), one.path, bytes_max, stop)) {
      return {{one.inode, one.path, std::move(*problem)}};
    }
    if (bytes_max == 0 || stop.load()) {
      break;
    }
  }
  return {};
}

bool is_unsendable(const std::string& subvolume, const std::string& path,
                   const std::atomic<bool>& stop) {
  if (path.size() > sent_path_bytes_max) {
    const auto found = find_long_paths(subvolume, stop);
    return std::any_of(found.begin(), found.end(),
                       [&](const unsendable_file& one) { return one.path == path; });
  }
  const engine::unique_fd top(::open(subvolume.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::uint64_t bytes = UINT64_MAX;
  return top.valid() && reading_problem(top.get(), path, bytes, stop).has_value();
}

}  // namespace bts3::btrfs
