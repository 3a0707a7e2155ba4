#include "app/content/extract_target.hh"

#include "engine/assert.hh"
#include "engine/files.hh"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace bts3::app {

namespace {

using btrfs::index::node;
using btrfs::index::node_time;
using btrfs::index::node_type;
using btrfs::index::xattr_map;
using engine::error;
using engine::result;
using engine::unique_fd;

// openat2(2) takes paths of less than PATH_MAX.
constexpr std::size_t path_piece_max = 4000;
constexpr std::uint32_t set_id_bits = 06000;
constexpr std::string_view capability = "security.capability";
constexpr char access_list[] = "system.posix_acl_access";

std::string reason_of(int problem) {
  return std::strerror(problem);
}

result<unique_fd> open_beneath(int directory, const std::string& path) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  unique_fd fd(static_cast<int>(
      ::syscall(SYS_openat2, directory, path.empty() ? "." : path.c_str(), &how, sizeof how)));
  if (!fd.valid()) {
    return engine::system_error(errno, "opening the directory \"" + path + "\"",
                                errno == ENOSYS ? "Linux 5.6 or newer is needed" : "");
  }
  return fd;
}

// Where a time makes no sense, or would say something else to utimensat(2), it is left alone.
timespec time_of(const node_time& from) {
  timespec made{};
  made.tv_sec = static_cast<time_t>(from.seconds);
  made.tv_nsec =
      from.nanoseconds < 1'000'000'000 ? static_cast<long>(from.nanoseconds) : UTIME_OMIT;
  return made;
}

std::array<timespec, 2> times_of(const node& as) {
  return {time_of(as.accessed), time_of(as.modified)};
}

// A path that leads to what a descriptor has open.
std::string path_of(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

}  // namespace

bool is_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

result<extract_target> extract_target::open(const std::string& path, extract_rights rights) {
  engine::make_last_directory(path);
  auto top = engine::open_directory(path);
  if (!top) {
    error failure = std::move(top.error()).within("the target");
    if (failure.status == ENOENT) {
      failure.remedy = "make the directory that it is to lie in first";
    }
    return failure;
  }
  return extract_target(std::move(*top), path, rights);
}

error extract_target::failed(int problem, const std::string& path, const char* what) const {
  return engine::system_error(problem, _path + "/" + path + ": " + what);
}

void extract_target::leave_out(const std::string& kind, const std::string& path,
                               std::string reason) {
  left_out& of_kind = _left[kind];
  if (of_kind.entries++ == 0) {
    of_kind.first = path;
    of_kind.reason = std::move(reason);
  }
}

std::string extract_target::own_name() {
  return ".btrfs_to_s3-" + std::to_string(::getpid()) + "-" + std::to_string(++_names);
}

result<unique_fd> extract_target::open_directory(std::string_view path) const {
  unique_fd open;
  while (path.size() > path_piece_max) {
    const std::size_t slash = path.rfind('/', path_piece_max);
    BTS3_ASSERT(slash != std::string_view::npos);  // names have 255 bytes at most
    auto next =
        open_beneath(open.valid() ? open.get() : _top.get(), std::string(path.substr(0, slash)));
    if (!next) {
      return next;
    }
    open = std::move(*next);
    path.remove_prefix(slash + 1);
  }
  return open_beneath(open.valid() ? open.get() : _top.get(), std::string(path));
}

result<int> extract_target::parent(const std::string& path, std::string& name) {
  const std::size_t slash = path.rfind('/');
  name = slash == std::string::npos ? path : path.substr(slash + 1);
  BTS3_ASSERT(is_name(name));
  const std::string above = slash == std::string::npos ? "" : path.substr(0, slash);
  if (!_last.valid() || above != _last_parent) {
    auto opened = open_directory(above);
    if (!opened) {
      return std::move(opened.error()).within(_path);
    }
    _last = std::move(*opened);
    _last_parent = above;
  }
  return _last.get();
}

result<std::string> extract_target::obstacle(const std::string& path, bool directory) {
  std::string name;
  const auto in = parent(path, name);
  if (!in) {
    // Nothing can be in the way in a directory that is still to be made; what keeps it from being
    // made is found where it is asked for itself.
    return std::string();
  }
  struct stat found{};
  if (::fstatat(*in, name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT ? result<std::string>(std::string())
                           : failed(errno, path, "looking whether it is there");
  }
  if (S_ISDIR(found.st_mode)) {
    return std::string(directory ? "" : "a directory is there");
  }
  if (directory) {
    return std::string("something that is no directory is there");
  }
  return std::string(_rights.overwrite ? "" : "it is there already");
}

result<bool> extract_target::make_directory(const std::string& path) {
  std::string name;
  const auto in = parent(path, name);
  if (!in) {
    return in.error();
  }
  if (::mkdirat(*in, name.c_str(), 0700) == 0) {
    return true;
  }
  const int problem = errno;
  struct stat found{};
  if (problem == EEXIST && ::fstatat(*in, name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISDIR(found.st_mode)) {
    return false;
  }
  return failed(problem, path, "making the directory");
}

result<unfinished_file> extract_target::begin_file(const std::string& path, std::uint64_t bytes) {
  std::string name;
  const auto in = parent(path, name);
  if (!in) {
    return in.error();
  }
  unfinished_file made;
  made.directory.reset(::fcntl(*in, F_DUPFD_CLOEXEC, 0));
  if (!made.directory.valid()) {
    return failed(errno, path, "opening its directory once more");
  }
  // Gone when a run is killed. It can get a name later only by way of /proc.
  if (::access("/proc/self/fd", X_OK) == 0) {
    made.file.reset(::openat(*in, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600));
  }
  if (!made.file.valid()) {
    made.name = own_name();
    made.file.reset(::openat(*in, made.name.c_str(),
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  }
  if (!made.file.valid()) {
    return failed(errno, path, "making the file");
  }
  if (bytes > 0 && ::ftruncate(made.file.get(), static_cast<off_t>(bytes)) != 0) {
    const int problem = errno;
    give_up(std::move(made));
    return failed(problem, path, "setting the file's size");
  }
  return made;
}

result<void> extract_target::write(const unfinished_file& to, std::uint64_t offset,
                                   std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count =
        ::pwrite(to.file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return engine::system_error(count < 0 ? errno : EIO, "writing a file of the target");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return engine::ok();
}

void extract_target::give_up(unfinished_file file) {
  if (!file.name.empty()) {
    ::unlinkat(file.directory.get(), file.name.c_str(), 0);
  }
}

// Whether it is whose it was.
bool extract_target::own(int file, const std::string& path, const node& as) {
  struct stat now{};
  if (::fstatat(file, "", &now, AT_EMPTY_PATH) == 0 && now.st_uid == as.uid &&
      now.st_gid == as.gid) {
    return true;
  }
  if (!_rights.owners) {
    leave_out("owner", path, "not asked for, or not allowed without root's rights");
    return false;
  }
  if (::fchownat(file, "", as.uid, as.gid, AT_EMPTY_PATH) == 0) {
    return true;
  }
  leave_out("owner", path, reason_of(errno));
  return false;
}

std::uint32_t extract_target::mode_for(const std::string& path, const node& as, bool owned) {
  std::uint32_t mode = as.mode & 07777;
  if ((mode & set_id_bits) != 0 && (!_rights.set_id || !owned)) {
    mode &= ~set_id_bits;
    leave_out("setuid or setgid bit", path,
              _rights.set_id ? "its owner could not be set" : "not asked for (--setuid)");
  }
  return mode;
}

// `at` leads to it, where no symbolic link is followed at its end; or `file` is it, if not -1.
void extract_target::set_xattrs(const std::string& at, int file, const std::string& path,
                                const xattr_map& xattrs) {
  // What a default list of the directory gave it would let others in.
  if (file >= 0 && !xattrs.contains(access_list)) {
    ::fremovexattr(file, access_list);
  }
  for (const auto& [name, value] : xattrs) {
    // "btrfs.compression" is a property that Btrfs keeps with a file, and means nothing elsewhere.
    const bool known = name.starts_with("user.") || name.starts_with("security.") ||
                       name.starts_with("trusted.") || name.starts_with("btrfs.") ||
                       name.starts_with("system.posix_acl_");
    const std::string kind =
        name.starts_with("system.posix_acl_")
            ? std::string("access-control list")
            : "extended attribute " + name.substr(0, std::min(name.find('.'), name.size())) + ".*";
    if (!known || name.find('\0') != std::string::npos) {
      leave_out("extended attribute of an unknown kind", path, name);
      continue;
    }
    if (name == capability && !_rights.set_id) {
      leave_out("file capability", path, "not asked for (--setuid)");
      continue;
    }
    const int done = file >= 0
                         ? ::fsetxattr(file, name.c_str(), value.data(), value.size(), 0)
                         : ::lsetxattr(at.c_str(), name.c_str(), value.data(), value.size(), 0);
    if (done != 0) {
      leave_out(kind, path, name + ": " + reason_of(errno));
    }
  }
}

result<void> extract_target::put_in_place(int directory, const std::string& ours,
                                          const std::string& name, const std::string& path) {
  if (_rights.overwrite) {
    if (::renameat(directory, ours.c_str(), directory, name.c_str()) == 0) {
      ::unlinkat(directory, ours.c_str(), 0);  // it is still there where both were one file
      return engine::ok();
    }
  } else {
    if (::renameat2(directory, ours.c_str(), directory, name.c_str(), RENAME_NOREPLACE) == 0) {
      return engine::ok();
    }
    // A filesystem that does not know how.
    if (errno == EINVAL && ::linkat(directory, ours.c_str(), directory, name.c_str(), 0) == 0) {
      ::unlinkat(directory, ours.c_str(), 0);
      return engine::ok();
    }
  }
  const int problem = errno;
  ::unlinkat(directory, ours.c_str(), 0);
  return failed(problem, path, "giving it its name");
}

result<void> extract_target::give_name(const unfinished_file& file, const std::string& name,
                                       const std::string& path) {
  const int directory = file.directory.get();
  if (!file.name.empty()) {
    return put_in_place(directory, file.name, name, path);
  }
  const std::string opened = path_of(file.file.get());
  if (::linkat(AT_FDCWD, opened.c_str(), directory, name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
    return engine::ok();
  }
  // A link replaces nothing.
  if (errno == EEXIST && _rights.overwrite) {
    const std::string ours = own_name();
    if (::linkat(AT_FDCWD, opened.c_str(), directory, ours.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      return put_in_place(directory, ours, name, path);
    }
  }
  return failed(errno, path, "giving it its name");
}

result<void> extract_target::finish_file(unfinished_file file, const std::string& path,
                                         const node& as, const xattr_map& xattrs) {
  const int fd = file.file.get();
  const bool owned = own(fd, path, as);
  set_xattrs("", fd, path, xattrs);
  if (::fchmod(fd, mode_for(path, as, owned)) != 0) {
    leave_out("mode", path, reason_of(errno));
  }
  const auto times = times_of(as);
  if (::futimens(fd, times.data()) != 0) {
    leave_out("time", path, reason_of(errno));
  }
  const std::size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  return give_name(file, name, path);
}

result<bool> extract_target::make_special(const std::string& path, const node& as,
                                          const xattr_map& xattrs) {
  std::string name;
  const auto in = parent(path, name);
  if (!in) {
    return in.error();
  }
  const bool device = as.type == node_type::character_device || as.type == node_type::block_device;
  if (device && !_rights.devices) {
    leave_out("device file", path, "only root may make them");
    return false;
  }
  const std::string ours = own_name();
  const bool link = as.type == node_type::symlink;
  const int made =
      link ? ::symlinkat(as.target.c_str(), *in, ours.c_str())
           : ::mknodat(*in, ours.c_str(), type_bits(as.type) | 0600, static_cast<dev_t>(as.rdev));
  if (made != 0) {
    if (errno == EPERM || errno == EOPNOTSUPP || errno == EACCES) {
      leave_out(device ? "device file"
                : link ? "symbolic link"
                       : "fifo or socket",
                path, reason_of(errno));
      return false;
    }
    return failed(errno, path, "making it");
  }
  const unique_fd fd(::openat(*in, ours.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) {
    const int problem = errno;
    ::unlinkat(*in, ours.c_str(), 0);
    return failed(problem, path, "opening it");
  }
  const bool owned = own(fd.get(), path, as);
  set_xattrs(path_of(*in) + "/" + ours, -1, path, xattrs);
  if (!link && ::chmod(path_of(fd.get()).c_str(), mode_for(path, as, owned)) != 0) {
    leave_out("mode", path, reason_of(errno));
  }
  const auto times = times_of(as);
  if (::utimensat(*in, ours.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0) {
    leave_out("time", path, reason_of(errno));
  }
  auto placed = put_in_place(*in, ours, name, path);
  if (!placed) {
    return std::move(placed.error());
  }
  return true;
}

result<void> extract_target::link(const std::string& existing, const std::string& path) {
  std::string old_name;
  const auto from = parent(existing, old_name);
  if (!from) {
    return from.error();
  }
  const unique_fd old_directory(::fcntl(*from, F_DUPFD_CLOEXEC, 0));
  std::string name;
  const auto in = parent(path, name);
  if (!in) {
    return in.error();
  }
  const std::string ours = own_name();
  if (::linkat(old_directory.get(), old_name.c_str(), *in, ours.c_str(), 0) != 0) {
    return failed(errno, path, "linking it");
  }
  return put_in_place(*in, ours, name, path);
}

result<void> extract_target::finish_directory(const std::string& path, const node& as,
                                              const xattr_map& xattrs) {
  auto opened = open_directory(path);
  if (!opened) {
    return std::move(opened.error()).within(_path);
  }
  const int fd = opened->get();
  const bool owned = own(fd, path, as);
  set_xattrs("", fd, path, xattrs);
  if (::fchmod(fd, mode_for(path, as, owned)) != 0) {
    leave_out("mode", path, reason_of(errno));
  }
  const auto times = times_of(as);
  if (::futimens(fd, times.data()) != 0) {
    leave_out("time", path, reason_of(errno));
  }
  _last.reset();  // it may not be ours any more
  return engine::ok();
}

result<void> extract_target::sync() {
  if (::syncfs(_top.get()) != 0) {
    return engine::system_error(errno, "writing " + _path + " to its disk");
  }
  return engine::ok();
}

}  // namespace bts3::app
