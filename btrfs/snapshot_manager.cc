#include "btrfs/snapshot_manager.hh"

#include "btrfs/refusals.hh"
#include "engine/files.hh"
#include "engine/setting.hh"
#include "engine/told_command.hh"
#include "engine/unique_fd.hh"

#include <dirent.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <tuple>

namespace bts3::btrfs {

namespace {

using engine::error;
using engine::open_directory;
using engine::result;
using engine::setting;
using engine::system_error;
using engine::unique_fd;

constexpr std::size_t time_digits = 16;  // YYYYMMDDTHHMMSSZ

bool is_time(std::string_view text) {
  if (text.size() != time_digits || text[8] != 'T' || text[15] != 'Z') {
    return false;
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i != 8 && i != 15 && (text[i] < '0' || text[i] > '9')) {
      return false;
    }
  }
  return true;
}

std::optional<snapshot> parse_name(const std::string& name) {
  const std::size_t last = name.rfind("__");
  if (last == std::string::npos || last < time_digits + 3) {
    return std::nullopt;
  }
  const std::string kind = name.substr(last + 2);
  const std::string head = name.substr(0, last);
  const std::string time = head.substr(head.size() - time_digits);
  const std::string before = head.substr(0, head.size() - time_digits);
  if ((kind != "full" && kind != "inc") || !is_time(time) || !before.ends_with("__")) {
    return std::nullopt;
  }
  snapshot parsed;
  parsed.name = name;
  parsed.subvolume = before.substr(0, before.size() - 2);
  parsed.time = time;
  parsed.full = kind == "full";
  return parsed;
}

template <std::size_t Size>
bool copy_name(char (&into)[Size], const std::string& name) {
  if (name.size() >= Size || name.empty() || name.find('/') != std::string::npos) {
    return false;
  }
  std::memcpy(into, name.c_str(), name.size() + 1);
  return true;
}

error bad_name(const std::string& name) {
  error failure;
  failure.message = "\"" + name + "\" cannot be a subvolume's name";
  return failure;
}

// The directory that a missing one would be made in, or the first that leads there and exists.
std::string nearest_existing(const std::string& path) {
  std::filesystem::path at(path);
  struct stat entry{};
  while (::lstat(at.c_str(), &entry) != 0 && errno == ENOENT && at.has_relative_path()) {
    at = at.parent_path();
  }
  return at.string();
}

// For messages.
std::string path_of_open(int directory) {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(directory), ignored)
      .string();
}

// Whether both paths lead to one directory.
bool same_directory(const std::string& a, const std::string& b) {
  struct stat first{};
  struct stat second{};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

}  // namespace

std::string snapshot_name(std::string_view subvolume, std::string_view time, bool full) {
  return std::string(subvolume) + "__" + std::string(time) + (full ? "__full" : "__inc");
}

result<void> create_snapshot(const std::string& source, const std::string& parent,
                             const std::string& name, bool read_only) {
  auto from = open_directory(source);
  if (!from) {
    return std::move(from.error());
  }
  auto into = open_directory(parent);
  if (!into) {
    return std::move(into.error());
  }
  return create_snapshot(from->get(), into->get(), name, read_only,
                         source + " at " + parent + "/" + name);
}

result<void> create_snapshot(int source, int parent, const std::string& name, bool read_only,
                             const std::string& shown) {
  btrfs_ioctl_vol_args_v2 arguments{};
  arguments.fd = source;
  arguments.flags = read_only ? BTRFS_SUBVOL_RDONLY : 0;
  if (!copy_name(arguments.name, name)) {
    return bad_name(name);
  }
  if (::ioctl(parent, BTRFS_IOC_SNAP_CREATE_V2, &arguments) < 0) {
    return snapshot_refusal(errno, "snapshot of " + shown, path_of_open(source),
                            path_of_open(parent));
  }
  return engine::ok();
}

result<void> delete_subvolume(const std::string& parent, const std::string& name) {
  struct stat entry{};
  const std::string path = parent + "/" + name;
  if (::lstat(path.c_str(), &entry) != 0) {
    return system_error(errno, path);
  }
  if (!S_ISDIR(entry.st_mode) || !is_subvolume(path)) {
    error failure;
    failure.message = path + " is not a subvolume and was not deleted";
    return failure;
  }
  auto directory = open_directory(parent);
  if (!directory) {
    return std::move(directory.error());
  }
  return delete_subvolume(directory->get(), name, path);
}

result<void> delete_subvolume(int parent, const std::string& name, const std::string& shown) {
  btrfs_ioctl_vol_args arguments{};
  if (!copy_name(arguments.name, name)) {
    return bad_name(name);
  }
  if (::ioctl(parent, BTRFS_IOC_SNAP_DESTROY, &arguments) < 0) {
    return deletion_refusal(errno, shown);
  }
  return engine::ok();
}

result<void> create_subvolume(int parent, const std::string& name, const std::string& shown) {
  btrfs_ioctl_vol_args arguments{};
  if (!copy_name(arguments.name, name)) {
    return bad_name(name);
  }
  const mode_t before = ::umask(077);
  const int code = ::ioctl(parent, BTRFS_IOC_SUBVOL_CREATE, &arguments);
  const int err = errno;
  ::umask(before);
  if (code < 0) {
    return system_error(err, "creating subvolume " + shown,
                        err == EPERM || err == EACCES ? "this needs root" : "");
  }
  return engine::ok();
}

result<void> make_read_only(int directory, const std::string& shown) {
  std::uint64_t flags = BTRFS_SUBVOL_RDONLY;
  if (::ioctl(directory, BTRFS_IOC_SUBVOL_SETFLAGS, &flags) < 0) {
    return system_error(errno, "making " + shown + " read-only");
  }
  return engine::ok();
}

result<void> set_received_uuid(int directory, const uuid& of, const std::string& shown) {
  btrfs_ioctl_received_subvol_args arguments{};
  of.copy_to(arguments.uuid);
  if (::ioctl(directory, BTRFS_IOC_SET_RECEIVED_SUBVOL, &arguments) < 0) {
    return system_error(errno, shown + ": BTRFS_IOC_SET_RECEIVED_SUBVOL");
  }
  return engine::ok();
}

result<void> sync_and_clean(const std::string& path) {
  auto fd = open_directory(path);
  if (!fd) {
    return std::move(fd.error());
  }
  if (::ioctl(fd->get(), BTRFS_IOC_SYNC) < 0) {
    return system_error(errno, path + ": BTRFS_IOC_SYNC");
  }
  return engine::ok();
}

result<void> sync_filesystem(const std::string& path) {
  auto fd = open_directory(path);
  if (!fd) {
    return std::move(fd.error());
  }
  if (::syncfs(fd->get()) != 0) {
    return system_error(errno, "syncing the filesystem of " + path);
  }
  return engine::ok();
}

result<uuid> snapshot_manager::base_filesystem(const std::string& source) const {
  auto here = filesystem_id(_base);
  if (here) {
    return here;
  }
  error failure = std::move(here.error());
  failure.why = engine::reason::configuration;
  if (failure.what_now == engine::disposition::not_found) {
    const auto above = filesystem_id(nearest_existing(_base));
    const auto there = filesystem_id(source);
    if (above && there && *above == *there) {
      return *above;
    }
    failure.remedy =
        "create it (`mkdir -p " + engine::shell_word(_base) + "`) on the filesystem of " + source;
  }
  return std::move(failure).within(name_of(setting::snapshot_directory));
}

result<bool> snapshot_manager::make_base(const std::string& source) const {
  struct stat entry{};
  if (::lstat(_base.c_str(), &entry) == 0 || errno != ENOENT) {
    return false;  // whatever is there, check() judges it
  }
  if (auto usable = check(source); !usable) {
    return std::move(usable.error());
  }
  const mode_t before = ::umask(077);
  std::error_code code;
  std::filesystem::create_directories(_base, code);
  ::umask(before);
  if (code) {
    error failure = system_error(code.value(), "making " + _base);
    failure.remedy =
        "create it (`mkdir -p " + engine::shell_word(_base) + "`) on the filesystem of " + source;
    return std::move(failure).within(name_of(setting::snapshot_directory));
  }
  return true;
}

result<void> snapshot_manager::check(const std::string& source) const {
  if (auto info = inspect_source(source); !info) {
    return std::move(info.error());
  }
  auto there = filesystem_id(source);
  if (!there) {
    return std::move(there.error());
  }
  auto here = base_filesystem(source);
  if (!here) {
    return std::move(here.error());
  }
  if (*here != *there) {
    return engine::configuration_error(
        std::string(name_of(setting::snapshot_directory)) + " = " + _base +
            " is on another filesystem than " + source,
        "a snapshot cannot cross filesystems: name a directory on the same one");
  }
  return engine::ok();
}

result<snapshot> snapshot_manager::create(const std::string& source, std::string_view subvolume,
                                          std::string_view time, bool full) const {
  const std::string name = snapshot_name(subvolume, time, full);
  auto made = parse_name(name);
  if (!made) {
    return bad_name(name);
  }
  made->path = path_of(name);
  // Opened once: what is looked at is what the snapshot is of.
  auto from = open_source(source);
  if (!from) {
    return std::move(from.error());
  }
  auto origin = inspect_subvolume(from->get(), source);
  if (!origin) {
    return std::move(origin.error());
  }
  auto base = open_directory(_base);
  if (!base) {
    return std::move(base.error()).within(name_of(setting::snapshot_directory));
  }
  // A read-only snapshot keeps its source's received UUID, which would then stand for all snapshots
  // of this source alike, here and in their streams; a writable one has none.
  const bool received = !origin->received_uuid.is_null();
  if (auto done = create_snapshot(from->get(), base->get(), name, !received,
                                  source + " at " + _base + "/" + name);
      !done) {
    return std::move(done.error());
  }
  // From here on there is a snapshot, which nobody would know of.
  const auto undo = [&](error failure) {
    if (auto gone = delete_subvolume(_base, name); !gone) {
      failure.message += "; " + gone.error().text();
    }
    return failure;
  };
  if (received) {
    auto writable = open_directory(made->path);
    auto done = writable ? make_read_only(writable->get(), made->path)
                         : result<void>(std::move(writable.error()));
    if (!done) {
      return undo(std::move(done.error()));
    }
  }
  // Its identity goes into manifest and state: a power cut must not take the snapshot back.
  if (auto synced = sync_filesystem(_base); !synced) {
    return undo(std::move(synced.error()));
  }
  auto info = inspect_subvolume(made->path);
  if (!info) {
    return undo(std::move(info.error()));
  }
  made->info = std::move(*info);
  return std::move(*made);
}

result<std::vector<snapshot>> snapshot_manager::list(std::string_view subvolume) const {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(_base.c_str()), &::closedir);
  if (!directory && errno == ENOENT) {
    return std::vector<snapshot>();
  }
  if (!directory) {
    return system_error(errno, std::string(name_of(setting::snapshot_directory)) + " " + _base);
  }
  std::vector<snapshot> found;
  errno = 0;
  for (; const dirent* entry = ::readdir(directory.get()); errno = 0) {
    auto parsed = parse_name(entry->d_name);
    if (!parsed || parsed->subvolume != subvolume || entry->d_type == DT_LNK) {
      continue;
    }
    parsed->path = path_of(parsed->name);
    if (!is_subvolume(parsed->path)) {
      continue;  // an ordinary directory of that name is somebody else's
    }
    auto info = inspect_subvolume(parsed->path);
    if (!info) {
      return std::move(info.error());
    }
    parsed->info = std::move(*info);
    found.push_back(std::move(*parsed));
  }
  if (errno != 0) {
    return system_error(errno, std::string(name_of(setting::snapshot_directory)) + " " + _base);
  }
  std::sort(found.begin(), found.end(), [](const snapshot& a, const snapshot& b) {
    return std::tie(a.time, a.name) < std::tie(b.time, b.name);
  });
  return found;
}

result<std::vector<std::string>> snapshot_manager::nested_in(
    const std::string& source, const std::vector<std::string>& others) const {
  auto nested = nested_subvolumes(source);
  if (!nested) {
    return std::move(nested.error());
  }
  std::erase_if(*nested, [&](const std::string& path) {
    const std::string whole = source + "/" + path;
    const std::size_t slash = whole.rfind('/');
    const bool ours =
        parse_name(whole.substr(slash + 1)) && same_directory(whole.substr(0, slash), _base);
    return ours || std::any_of(others.begin(), others.end(), [&](const std::string& other) {
             return same_directory(whole, other);
           });
  });
  return nested;
}

result<void> snapshot_manager::remove(const std::string& name) const {
  if (!parse_name(name)) {
    return bad_name(name);
  }
  return delete_subvolume(_base, name);
}

}  // namespace bts3::btrfs
