#include "btrfs/content_compare.hh"

#include "engine/unique_fd.hh"

#include <dirent.h>
#include <fcntl.h>
#include <linux/btrfs_tree.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <queue>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::btrfs {

namespace {

using engine::result;
using engine::system_error;
using engine::unique_fd;

constexpr std::size_t buffer_bytes = 1 << 20;
// Paths handed to one system call; longer ones are walked in steps. Below PATH_MAX (4096), with
// room for the last name.
constexpr std::size_t step_bytes = 3500;

using directory_stream = std::unique_ptr<DIR, int (*)(DIR*)>;

// FNV-1a (RFC draft "The FNV Non-Cryptographic Hash Algorithm"), then a mixing step, as paths that
// differ in their last letters alone would otherwise lie close together.
std::uint64_t hash_of(std::string_view path) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : path) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  }
  hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdU;  // MurmurHash3's finaliser
  return hash ^ hash >> 33;
}

std::string in_quotes(const std::string& path) {
  return path.empty() ? std::string("the root directory") : "\"" + path + "\"";
}

std::string octal(mode_t mode) {
  char text[16];
  std::snprintf(text, sizeof text, "%04o", static_cast<unsigned>(mode & 07777));
  return text;
}

const char* type_name(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "a file";
    case S_IFDIR:
      return "a directory";
    case S_IFLNK:
      return "a symbolic link";
    case S_IFIFO:
      return "a named pipe";
    case S_IFSOCK:
      return "a socket";
    case S_IFCHR:
      return "a character device";
    case S_IFBLK:
      return "a block device";
    default:
      return "of an unknown type";
  }
}

std::string time_text(const struct stat& entry) {
  char text[48];
  std::snprintf(text, sizeof text, "%lld.%09ld", static_cast<long long>(entry.st_mtim.tv_sec),
                entry.st_mtim.tv_nsec);
  return text;
}

// Opens `path` below `root`, however long it is.
result<unique_fd> open_below(int root, const std::string& path, int flags) {
  unique_fd here(::openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  std::string_view rest = path;
  while (here.valid() && rest.size() > step_bytes) {
    const std::size_t slash = rest.rfind('/', step_bytes);
    const std::string step(rest.substr(0, slash));
    here = unique_fd(::openat(here.get(), step.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    rest.remove_prefix(slash + 1);
  }
  if (here.valid()) {
    const std::string last = rest.empty() ? "." : std::string(rest);
    here = unique_fd(::openat(here.get(), last.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
  }
  if (!here.valid()) {
    return system_error(errno, path.empty() ? "." : path);
  }
  return here;
}

// Attributes of entry `name` of the directory open as `directory`, links not followed.
result<std::map<std::string, std::string>> attributes_of(int directory, const std::string& name) {
  const std::string path = "/proc/self/fd/" + std::to_string(directory) + "/" + name;
  std::map<std::string, std::string> found;
  // Most entries have none.
  const ssize_t size = ::llistxattr(path.c_str(), nullptr, 0);
  if (size == 0 || (size < 0 && errno == ENOTSUP)) {
    return found;
  }
  std::vector<char> names(XATTR_LIST_MAX);
  const ssize_t listed = ::llistxattr(path.c_str(), names.data(), names.size());
  if (size < 0 || listed < 0) {
    return system_error(errno, "attributes of " + name);
  }
  std::vector<char> value(XATTR_SIZE_MAX);
  for (const char* at = names.data(); at < names.data() + listed; at += std::strlen(at) + 1) {
    const ssize_t got = ::lgetxattr(path.c_str(), at, value.data(), value.size());
    if (got < 0) {
      return system_error(errno, std::string("attribute ") + at + " of " + name);
    }
    found.emplace(at, std::string(value.data(), static_cast<std::size_t>(got)));
  }
  return found;
}

result<std::string> link_target(int directory, const std::string& name) {
  std::string target(PATH_MAX, '\0');
  const ssize_t size = ::readlinkat(directory, name.c_str(), target.data(), target.size());
  if (size < 0) {
    return system_error(errno, "reading link " + name);
  }
  target.resize(static_cast<std::size_t>(size));
  return target;
}

class comparison {
 public:
  comparison(unique_fd first, unique_fd second, const compare_options& options)
      : _first(std::move(first)), _second(std::move(second)), _options(options) {}

  result<compare_report> run();

 private:
  struct side {
    int directory;
    struct stat entry;
  };
  result<void> visit(const std::string& path);
  result<void> visit_entry(const std::string& path, const std::string& name, int first, int second);
  result<void> find_extra(const std::string& path, int first, DIR* second);
  result<void> compare_metadata(const std::string& path, const std::string& name, const side& first,
                                const side& second);
  result<void> compare_attributes(const std::string& path, const std::string& name, int first,
                                  int second);
  result<void> take_file(std::string path);
  result<void> compare_content(const std::string& path);
  result<bool> equal_from(int first, int second, std::uint64_t offset, std::uint64_t size);

  [[nodiscard]] bool found() const { return _report.difference.has_value(); }
  result<void> check_stop() const {
    if (_options.stop != nullptr && _options.stop->load(std::memory_order_relaxed)) {
      return engine::cancelled_error();
    }
    return engine::ok();
  }
  void differ(const std::string& path, const std::string& what, const std::string& here,
              const std::string& there) {
    if (here != there && !found()) {
      _report.difference = in_quotes(path) + ": " + what + " is " + here + " in " +
                           _options.first_name + " and " + there + " in " + _options.second_name;
    }
  }
  void only_in(const std::string& path, const std::string& tree) {
    _report.difference = in_quotes(path) + " is only in " + tree;
  }

  unique_fd _first;
  unique_fd _second;
  const compare_options& _options;
  compare_report _report;
  std::vector<std::string> _to_visit;
  std::priority_queue<std::pair<std::uint64_t, std::string>> _sample;  // the highest hash on top
  std::vector<std::byte> _here;
  std::vector<std::byte> _there;
};

result<compare_report> comparison::run() {
  side first{_first.get(), {}};
  side second{_second.get(), {}};
  if (::fstat(first.directory, &first.entry) != 0 ||
      ::fstat(second.directory, &second.entry) != 0) {
    return system_error(errno, "fstat");
  }
  if (auto compared = compare_metadata("", ".", first, second); !compared) {
    return std::move(compared.error());
  }
  _to_visit.emplace_back();
  while (!_to_visit.empty() && !found()) {
    const std::string path = std::move(_to_visit.back());
    _to_visit.pop_back();
    if (auto visited = visit(path); !visited) {
      return std::move(visited.error());
    }
  }
  std::vector<std::string> sample;
  for (; !_sample.empty(); _sample.pop()) {
    sample.push_back(_sample.top().second);
  }
  std::sort(sample.begin(), sample.end());
  for (const std::string& path : sample) {
    if (found()) {
      break;
    }
    if (auto compared = compare_content(path); !compared) {
      return std::move(compared.error());
    }
  }
  return std::move(_report);
}

result<void> comparison::visit(const std::string& path) {
  std::vector<directory_stream> streams;
  for (const int root : {_first.get(), _second.get()}) {
    auto fd = open_below(root, path, O_RDONLY | O_DIRECTORY);
    if (!fd) {
      return std::move(fd.error());
    }
    directory_stream stream(::fdopendir(fd->get()), &::closedir);
    if (!stream) {
      return system_error(errno, path);
    }
    (void)fd->release();
    streams.push_back(std::move(stream));
  }
  const int first = ::dirfd(streams[0].get());
  const int second = ::dirfd(streams[1].get());
  errno = 0;
  while (const dirent* entry = ::readdir(streams[0].get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") {
      if (auto visited = visit_entry(path, name, first, second); !visited || found()) {
        return visited;
      }
    }
    errno = 0;
  }
  if (errno != 0) {
    return system_error(errno, "reading directory " + path);
  }
  return find_extra(path, first, streams[1].get());
}

result<void> comparison::find_extra(const std::string& path, int first, DIR* second) {
  errno = 0;
  while (const dirent* entry = ::readdir(second)) {
    const std::string name = entry->d_name;
    struct stat there{};
    if (name != "." && name != ".." &&
        ::fstatat(first, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno != ENOENT) {
        return system_error(errno, name);
      }
      only_in(path.empty() ? name : path + "/" + name, _options.second_name);
      return engine::ok();
    }
    errno = 0;
  }
  if (errno != 0) {
    return system_error(errno, "reading directory " + path);
  }
  return engine::ok();
}

result<void> comparison::visit_entry(const std::string& path, const std::string& name, int first,
                                     int second) {
  if (auto going = check_stop(); !going) {
    return going;
  }
  const std::string below = path.empty() ? name : path + "/" + name;
  side here{first, {}};
  side there{second, {}};
  if (::fstatat(first, name.c_str(), &here.entry, AT_SYMLINK_NOFOLLOW) != 0) {
    return system_error(errno, below);
  }
  if (S_ISDIR(here.entry.st_mode) && here.entry.st_ino == BTRFS_EMPTY_SUBVOL_DIR_OBJECTID) {
    return engine::ok();
  }
  if (::fstatat(second, name.c_str(), &there.entry, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno != ENOENT) {
      return system_error(errno, below);
    }
    only_in(below, _options.first_name);
    return engine::ok();
  }
  ++_report.entries;
  if (auto compared = compare_metadata(below, name, here, there); !compared || found()) {
    return compared;
  }
  if (S_ISDIR(here.entry.st_mode)) {
    _to_visit.push_back(below);
  } else if (S_ISREG(here.entry.st_mode)) {
    ++_report.files;
    return take_file(below);
  }
  return engine::ok();
}

result<void> comparison::compare_metadata(const std::string& path, const std::string& name,
                                          const side& first, const side& second) {
  const struct stat& here = first.entry;
  const struct stat& there = second.entry;
  differ(path, "it", type_name(here.st_mode), type_name(there.st_mode));
  if (found()) {
    return engine::ok();
  }
  differ(path, "mode", octal(here.st_mode), octal(there.st_mode));
  differ(path, "owner", std::to_string(here.st_uid), std::to_string(there.st_uid));
  differ(path, "group", std::to_string(here.st_gid), std::to_string(there.st_gid));
  if (!S_ISDIR(here.st_mode)) {
    differ(path, "size", std::to_string(here.st_size), std::to_string(there.st_size));
    differ(path, "number of links", std::to_string(here.st_nlink), std::to_string(there.st_nlink));
  }
  if (S_ISCHR(here.st_mode) || S_ISBLK(here.st_mode)) {
    const auto device = [](const struct stat& entry) {
      return std::to_string(major(entry.st_rdev)) + ":" + std::to_string(minor(entry.st_rdev));
    };
    differ(path, "device", device(here), device(there));
  }
  if (!path.empty()) {
    differ(path, "modification time", time_text(here), time_text(there));
  }
  if (S_ISLNK(here.st_mode)) {
    auto left = link_target(first.directory, name);
    auto right = link_target(second.directory, name);
    if (!left || !right) {
      return !left ? std::move(left.error()) : std::move(right.error());
    }
    differ(path, "link target", in_quotes(*left), in_quotes(*right));
  }
  return found() ? engine::ok() : compare_attributes(path, name, first.directory, second.directory);
}

result<void> comparison::compare_attributes(const std::string& path, const std::string& name,
                                            int first, int second) {
  auto here = attributes_of(first, name);
  auto there = attributes_of(second, name);
  if (!here || !there) {
    return !here ? std::move(here.error()) : std::move(there.error());
  }
  for (const auto* names : {&*here, &*there}) {
    for (const auto& [attribute, value] : *names) {
      const bool left = here->contains(attribute);
      const bool right = there->contains(attribute);
      if (left != right) {
        differ(path, "attribute " + attribute, left ? "present" : "absent",
               right ? "present" : "absent");
      } else if (here->at(attribute) != there->at(attribute) && !found()) {
        _report.difference = in_quotes(path) + ": the values of attribute " + attribute + " differ";
      }
    }
  }
  return engine::ok();
}

result<void> comparison::take_file(std::string path) {
  if (_options.files_max == std::numeric_limits<std::uint64_t>::max()) {
    return compare_content(path);
  }
  const std::uint64_t hash = hash_of(path);
  if (_sample.size() < _options.files_max) {
    _sample.emplace(hash, std::move(path));
  } else if (!_sample.empty() && hash < _sample.top().first) {
    _sample.pop();
    _sample.emplace(hash, std::move(path));
  }
  return engine::ok();
}

// Where the file has its next data at or behind `offset`: holes are equal on both sides.
std::uint64_t next_data(int fd, std::uint64_t offset, std::uint64_t size) {
  const off_t at = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  if (at >= 0) {
    return static_cast<std::uint64_t>(at);
  }
  return errno == ENXIO ? size : offset;
}

result<std::size_t> read_fully(int fd, std::uint64_t offset, std::vector<std::byte>& into) {
  std::size_t filled = 0;
  while (filled < into.size()) {
    const ssize_t count = ::pread(fd, into.data() + filled, into.size() - filled,
                                  static_cast<off_t>(offset + filled));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return system_error(errno, "reading");
    }
    if (count == 0) {
      break;
    }
    filled += static_cast<std::size_t>(count);
  }
  return filled;
}

result<bool> comparison::equal_from(int first, int second, std::uint64_t offset,
                                    std::uint64_t size) {
  const std::size_t length = std::min<std::uint64_t>(buffer_bytes, size - offset);
  _here.resize(length);
  _there.resize(length);
  auto left = read_fully(first, offset, _here);
  auto right = read_fully(second, offset, _there);
  if (!left || !right) {
    return !left ? std::move(left.error()) : std::move(right.error());
  }
  if (_options.bytes != nullptr) {
    _options.bytes->fetch_add(length, std::memory_order_relaxed);
  }
  _report.bytes_compared += length;
  return *left == length && *right == length &&
         std::memcmp(_here.data(), _there.data(), length) == 0;
}

result<void> comparison::compare_content(const std::string& path) {
  auto first = open_below(_first.get(), path, O_RDONLY);
  auto second = open_below(_second.get(), path, O_RDONLY);
  if (!first || !second) {
    return !first ? std::move(first.error()) : std::move(second.error());
  }
  struct stat entry{};
  if (::fstat(first->get(), &entry) != 0) {
    return system_error(errno, path);
  }
  ++_report.files_compared;
  const auto size = static_cast<std::uint64_t>(entry.st_size);
  for (std::uint64_t offset = 0; offset < size;) {
    if (auto going = check_stop(); !going) {
      return going;
    }
    offset =
        std::min(next_data(first->get(), offset, size), next_data(second->get(), offset, size));
    if (offset >= size) {
      break;
    }
    auto equal = equal_from(first->get(), second->get(), offset, size);
    if (!equal) {
      return std::move(equal.error()).within(path);
    }
    if (!*equal) {
      const auto at = std::mismatch(_here.begin(), _here.end(), _there.begin()).first;
      _report.difference = in_quotes(path) + ": the contents differ, first at byte " +
                           std::to_string(offset + static_cast<std::uint64_t>(at - _here.begin()));
      return engine::ok();
    }
    offset += std::min<std::uint64_t>(buffer_bytes, size - offset);
  }
  return engine::ok();
}

}  // namespace

result<compare_report> compare_trees(const std::string& first, const std::string& second,
                                     const compare_options& options) {
  std::vector<unique_fd> roots;
  for (const std::string& path : {first, second}) {
    unique_fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid()) {
      return system_error(errno, path);
    }
    roots.push_back(std::move(fd));
  }
  return comparison(std::move(roots[0]), std::move(roots[1]), options).run();
}

}  // namespace bts3::btrfs
