#include "btrfs/receive_workspace.hh"

#include "btrfs/snapshot_manager.hh"
#include "engine/files.hh"

#include <dirent.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>
#include <utility>

namespace bts3::btrfs {

namespace {

using engine::error;
using engine::open_directory;
using engine::result;
using engine::system_error;
using engine::unique_fd;

constexpr char records_name[] = "links";
constexpr char records_new_name[] = "links.new";  // write_durably()'s, before its rename
constexpr char records_version[] = "btrfs_to_s3 links 1";
// How long a receiver whose restore was killed may take to notice: its input has ended by then.
constexpr std::chrono::milliseconds receiver_grace{2'000};
// Where the top level is mounted: a directory that every /proc has and that nobody needs here. In
// our own namespace covering it disturbs nobody, and no temporary directory can be left behind.
constexpr char mount_point[] = "/proc/driver";

error refusal(std::string message, std::string remedy) {
  error failure;
  failure.why = engine::reason::configuration;
  failure.message = std::move(message);
  failure.remedy = std::move(remedy);
  return failure;
}

// Where a restore to `parent`/`name` receives.
std::string private_path(const std::string& parent, const std::string& name) {
  return parent + "/.btrfs_to_s3." + name;
}

// The path of the directory open as `fd` below the filesystem's top level, with a trailing slash;
// empty for the top level itself.
result<std::string> path_from_top_level(int fd) {
  btrfs_ioctl_ino_lookup_args here{};
  here.objectid = BTRFS_FIRST_FREE_OBJECTID;
  if (::ioctl(fd, BTRFS_IOC_INO_LOOKUP, &here) < 0) {
    return system_error(errno, "BTRFS_IOC_INO_LOOKUP", "this needs root");
  }
  struct stat entry{};
  if (::fstat(fd, &entry) != 0) {
    return system_error(errno, "fstat");
  }
  btrfs_ioctl_ino_lookup_args lookup{};
  lookup.treeid = here.treeid;
  lookup.objectid = entry.st_ino;
  if (::ioctl(fd, BTRFS_IOC_INO_LOOKUP, &lookup) < 0) {
    return system_error(errno, "BTRFS_IOC_INO_LOOKUP", "this needs root");
  }
  std::string path = lookup.name;
  // Upwards through the references of each subvolume to its parent.
  std::uint64_t tree = here.treeid;
  while (tree != BTRFS_FS_TREE_OBJECTID) {
    btrfs_ioctl_search_args search{};
    search.key.tree_id = BTRFS_ROOT_TREE_OBJECTID;
    search.key.min_objectid = search.key.max_objectid = tree;
    search.key.min_type = search.key.max_type = BTRFS_ROOT_BACKREF_KEY;
    search.key.max_offset = UINT64_MAX;
    search.key.max_transid = UINT64_MAX;
    search.key.nr_items = 1;
    if (::ioctl(fd, BTRFS_IOC_TREE_SEARCH, &search) < 0) {
      return system_error(errno, "BTRFS_IOC_TREE_SEARCH", "this needs root");
    }
    if (search.key.nr_items == 0) {
      return refusal("the subvolume with id " + std::to_string(tree) + " has been deleted",
                     "name another target");
    }
    btrfs_ioctl_search_header header{};
    std::copy_n(search.buf, sizeof header, reinterpret_cast<char*>(&header));
    btrfs_root_ref reference{};
    std::copy_n(search.buf + sizeof header, sizeof reference, reinterpret_cast<char*>(&reference));
    const std::string name(search.buf + sizeof header + sizeof reference, reference.name_len);
    const std::uint64_t parent = header.offset;
    btrfs_ioctl_ino_lookup_args above{};
    above.treeid = parent;
    above.objectid = reference.dirid;
    if (::ioctl(fd, BTRFS_IOC_INO_LOOKUP, &above) < 0) {
      return system_error(errno, "BTRFS_IOC_INO_LOOKUP", "this needs root");
    }
    path = above.name + name + "/" + path;
    tree = parent;
  }
  return path;
}

// Any block device of the filesystem that is mounted at `path`.
result<std::string> device_of(const std::string& path) {
  auto fd = open_directory(path);
  if (!fd) {
    return std::move(fd.error());
  }
  btrfs_ioctl_fs_info_args info{};
  if (::ioctl(fd->get(), BTRFS_IOC_FS_INFO, &info) < 0) {
    return system_error(errno, path + ": BTRFS_IOC_FS_INFO");
  }
  for (std::uint64_t id = 1; id <= info.max_id; ++id) {
    btrfs_ioctl_dev_info_args device{};
    device.devid = id;
    if (::ioctl(fd->get(), BTRFS_IOC_DEV_INFO, &device) == 0 && device.path[0] != '\0') {
      return std::string(reinterpret_cast<const char*>(device.path));
    }
  }
  return refusal("no block device found for the filesystem of " + path, "is it mounted?");
}

bool lock_within(int fd, std::chrono::milliseconds limit) {
  constexpr std::chrono::milliseconds step{20};
  for (auto waited = std::chrono::milliseconds(0);; waited += step) {
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) {
      return true;
    }
    if (errno != EWOULDBLOCK || waited >= limit) {
      return false;
    }
    std::this_thread::sleep_for(step);
  }
}

struct loaded_records {
  std::vector<link_record> there;           // of links that are there
  std::optional<link_record> last_written;  // the file's last record, there or not any more
};

// The records in the private directory at `directory`, which people know as `shown`.
result<loaded_records> read_records(const std::string& directory, const std::string& shown) {
  loaded_records loaded;
  std::ifstream file(directory + "/" + records_name);
  if (!file) {
    return loaded;
  }
  std::string line;
  if (!std::getline(file, line) || line != records_version) {
    return refusal(shown + "/" + records_name + " is not a list of links",
                   "run the restore again with --discard");
  }
  // Three lines for each link; written whole or not at all.
  link_record link;
  bool there = true;
  while (std::getline(file, link.manifest_key) && std::getline(file, link.subvolume) &&
         std::getline(file, link.own_uuid)) {
    loaded.last_written = link;
    auto info = inspect_subvolume(directory + "/" + link.subvolume);
    // The first that is missing and its successors have to be received again.
    there = there && info && info->own_uuid.text() == link.own_uuid;
    if (there) {
      loaded.there.push_back(link);
    }
  }
  return loaded;
}

// Whether the target at `path` was made of what that record is of.
bool is_published(const std::string& path, const std::optional<link_record>& record) {
  if (!record || !is_subvolume(path)) {
    return false;
  }
  const auto info = inspect_subvolume(path);
  // UUIDs are never used twice: what has this parent is a snapshot of what was received.
  return info && !info->read_only && info->parent_uuid.text() == record->own_uuid;
}

}  // namespace

std::string target_report::path() const {
  return (parent == "/" ? "" : parent) + "/" + name;
}

error target_exists(const target_report& target) {
  return refusal("target " + target.path() + " exists already",
                 "name one that does not exist; nothing is ever restored over existing data");
}

result<target_report> check_target(const std::string& target) {
  std::string path = target;
  while (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  if (!path.starts_with('/')) {
    return refusal("target \"" + target + "\" is not an absolute path", "begin it with /");
  }
  struct stat entry{};
  const std::size_t slash = path.rfind('/');
  target_report report;
  report.parent = slash == 0 ? "/" : path.substr(0, slash);
  report.name = path.substr(slash + 1);
  if (report.name.empty() || report.name == "." || report.name == "..") {
    return refusal("target \"" + target + "\" names no new directory",
                   "name one that does not exist yet");
  }
  report.exists = ::lstat(path.c_str(), &entry) == 0;
  report.interrupted = ::lstat(private_path(report.parent, report.name).c_str(), &entry) == 0;
  if (report.exists && !report.interrupted) {
    return target_exists(report);
  }
  if (::stat(report.parent.c_str(), &entry) != 0 || !S_ISDIR(entry.st_mode)) {
    return refusal("the target's parent directory " + report.parent + " does not exist",
                   "create it first: mkdir -p " + report.parent);
  }
  struct statfs info{};
  if (::statfs(report.parent.c_str(), &info) != 0) {
    return system_error(errno, report.parent);
  }
  if (static_cast<unsigned long>(info.f_type) != BTRFS_SUPER_MAGIC) {
    return refusal("the target's parent directory " + report.parent + " is not on Btrfs",
                   "`btrfs receive` needs a Btrfs filesystem: make one (mkfs.btrfs) and mount it");
  }
  report.available_bytes =
      static_cast<std::uint64_t>(info.f_bavail) * static_cast<std::uint64_t>(info.f_bsize);
  return report;
}

result<earlier_work> find_earlier_work(const target_report& target) {
  const std::string directory = private_path(target.parent, target.name);
  auto loaded = read_records(directory, directory);
  if (!loaded) {
    return std::move(loaded.error());
  }
  earlier_work found;
  found.links = std::move(loaded->there);
  if (is_published(target.path(), loaded->last_written)) {
    found.published = std::move(loaded->last_written);
  }
  return found;
}

result<void> receive_workspace::isolate_mounts() {
  if (::unshare(CLONE_NEWNS) != 0) {
    return system_error(errno, "making a private mount namespace", "a restore needs root");
  }
  // The one place that is mounted on lies below /proc, which is a mount point everywhere; "/" is
  // none in a chroot, and a restore may well run in one.
  if (::mount(nullptr, "/proc", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return system_error(errno, "making the mounts below /proc private");
  }
  return engine::ok();
}

result<void> receive_workspace::mount_top_level() {
  auto parent = open_directory(_target.parent);
  if (!parent) {
    return std::move(parent.error());
  }
  auto below = path_from_top_level(parent->get());
  if (!below) {
    return std::move(below.error());
  }
  auto device = device_of(_target.parent);
  if (!device) {
    return std::move(device.error());
  }
  _mount_point = mount_point;
  if (::mount(device->c_str(), _mount_point.c_str(), "btrfs", MS_NOATIME | MS_NOSUID | MS_NODEV,
              "subvolid=5") != 0) {
    return system_error(errno, "mounting the top level of " + *device);
  }
  _mounted = true;
  _private_path = _mount_point + "/" + *below + ".btrfs_to_s3." + _target.name;
  return engine::ok();
}

result<receive_workspace> receive_workspace::open(const target_report& target, bool anew) {
  receive_workspace made;
  made._target = target;
  if (auto mounted = made.mount_top_level(); !mounted) {
    return std::move(mounted.error());
  }
  const auto fail = [&](error failure) {
    made.close();
    return failure;
  };
  if (::mkdir(made._private_path.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail(system_error(errno, "making the private directory beside " + target.name));
  }
  auto directory = open_directory(made._private_path);
  if (!directory) {
    return fail(std::move(directory.error()));
  }
  made._lock = std::move(*directory);
  // Inherited by `btrfs receive`: one that a killed restore left behind holds the lock until it has
  // noticed the end of its input, and must not write beside its successor.
  if (::fcntl(made._lock.get(), F_SETFD, 0) != 0) {
    return fail(system_error(errno, "fcntl"));
  }
  if (!lock_within(made._lock.get(), receiver_grace)) {
    error failure = system_error(
        errno, "another restore to " + target.parent + "/" + target.name + " is running");
    failure.why = engine::reason::lock_held;
    failure.what_now = engine::disposition::fail;
    made._lock.reset();
    // Not ours to remove.
    (void)::umount2(made._mount_point.c_str(), MNT_DETACH);
    made._mounted = false;
    return failure;
  }
  struct stat entry{};
  made._target.exists = ::lstat(made.target_path().c_str(), &entry) == 0;
  if (anew) {
    if (auto discarded = made.discard(); !discarded) {
      return fail(std::move(discarded.error()));
    }
    return made;
  }
  if (auto loaded = made.load_records(); !loaded) {
    return fail(std::move(loaded.error()));
  }
  if (auto cleaned = made.delete_unrecorded(); !cleaned) {
    return fail(std::move(cleaned.error()));
  }
  return made;
}

result<void> receive_workspace::load_records() {
  auto loaded = read_records(_private_path, shown_path());
  if (!loaded) {
    return std::move(loaded.error());
  }
  _records = std::move(loaded->there);
  _last_written = std::move(loaded->last_written);
  return engine::ok();
}

std::string receive_workspace::target_path() const {
  // Beside the private directory, through the same mount.
  return _private_path.substr(0, _private_path.rfind('/') + 1) + _target.name;
}

std::optional<link_record> receive_workspace::published() const {
  return is_published(target_path(), _last_written) ? _last_written : std::nullopt;
}

result<void> receive_workspace::discard() {
  _records.clear();
  // Should something stay, the records stay too: they tell whose it is.
  if (auto deleted = delete_unrecorded(); !deleted) {
    return deleted;
  }
  _last_written.reset();
  return unlink_records();
}

result<void> receive_workspace::unlink_records() const {
  for (const char* name : {records_new_name, records_name}) {
    if (::unlink((_private_path + "/" + name).c_str()) != 0 && errno != ENOENT) {
      return system_error(errno, "removing the records of " + shown_path());
    }
  }
  return engine::ok();
}

std::string receive_workspace::shown_path() const {
  return private_path(_target.parent, _target.name);
}

result<std::vector<std::string>> receive_workspace::received_names() const {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(_private_path.c_str()),
                                                      &::closedir);
  if (!directory) {
    return system_error(errno, _private_path);
  }
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != ".." && is_subvolume(_private_path + "/" + name)) {
      names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

result<link_record> receive_workspace::identify_received(const std::string& manifest_key) const {
  auto names = received_names();
  if (!names) {
    return std::move(names.error());
  }
  std::vector<std::string> fresh;
  for (const std::string& name : *names) {
    if (std::none_of(_records.begin(), _records.end(),
                     [&](const link_record& link) { return link.subvolume == name; })) {
      fresh.push_back(name);
    }
  }
  if (fresh.size() != 1) {
    error failure;
    failure.why = engine::reason::child_process;
    failure.message = "`btrfs receive` made " + std::to_string(fresh.size()) +
                      " subvolumes where one was expected";
    return failure;
  }
  link_record link;
  link.manifest_key = manifest_key;
  link.subvolume = fresh.front();
  auto info = inspect(link);
  if (!info) {
    return std::move(info.error());
  }
  if (!info->read_only || info->received_uuid.is_null()) {
    error failure;
    failure.why = engine::reason::child_process;
    failure.message = "`btrfs receive` left " + link.subvolume + " unfinished";
    return failure;
  }
  link.own_uuid = info->own_uuid.text();
  return link;
}

result<void> receive_workspace::record(const link_record& link) {
  if (::syncfs(_lock.get()) != 0) {
    return system_error(errno, "syncing the target's filesystem");
  }
  std::ostringstream text;
  text << records_version << '\n';
  for (const link_record& one : _records) {
    text << one.manifest_key << '\n' << one.subvolume << '\n' << one.own_uuid << '\n';
  }
  text << link.manifest_key << '\n' << link.subvolume << '\n' << link.own_uuid << '\n';
  if (auto written = engine::write_durably(_private_path + "/" + records_name, text.str());
      !written) {
    return written;
  }
  _records.push_back(link);
  _last_written = link;
  return engine::ok();
}

result<void> receive_workspace::delete_unrecorded() {
  auto names = received_names();
  if (!names) {
    return std::move(names.error());
  }
  for (const std::string& name : *names) {
    if (std::any_of(_records.begin(), _records.end(),
                    [&](const link_record& link) { return link.subvolume == name; })) {
      continue;
    }
    if (auto deleted = delete_subvolume(_private_path, name); !deleted) {
      return deleted;
    }
  }
  return engine::ok();
}

result<subvolume_info> receive_workspace::inspect(const link_record& link) const {
  return inspect_subvolume(_private_path + "/" + link.subvolume);
}

result<void> receive_workspace::publish(const link_record& link) const {
  const std::string source = _private_path + "/" + link.subvolume;
  // Through the same mount: the target's parent.
  const std::string parent = _private_path.substr(0, _private_path.rfind('/'));
  if (auto made = create_snapshot(source, parent, _target.name, false); !made) {
    return made;
  }
  return sync_filesystem(_private_path);
}

result<void> receive_workspace::keep(const link_record& link, const std::string& directory,
                                     const std::string& name) const {
  auto fd = open_directory(directory);
  if (!fd) {
    return std::move(fd.error());
  }
  auto below = path_from_top_level(fd->get());
  if (!below) {
    return std::move(below.error());
  }
  const std::string parent = _mount_point + "/" + *below;
  if (auto made = create_snapshot(_private_path + "/" + link.subvolume, parent, name, true);
      !made) {
    return made;
  }
  return sync_filesystem(_private_path);
}

result<void> receive_workspace::remove() {
  // After a kill the target may not have reached the disk yet, and what it was made of goes now.
  if (auto synced = sync_filesystem(_private_path); !synced) {
    return synced;
  }
  // The records go last: until then they tell whose work the target is.
  if (auto discarded = discard(); !discarded) {
    return discarded;
  }
  if (::rmdir(_private_path.c_str()) != 0) {
    return system_error(errno, "removing " + shown_path());
  }
  _lock.reset();
  return engine::ok();
}

result<void> receive_workspace::remove_received() {
  if (auto synced = sync_filesystem(_private_path); !synced) {
    return synced;
  }
  _records.clear();
  return delete_unrecorded();
}

void receive_workspace::close() {
  if (!_mounted) {
    return;
  }
  if (_lock.valid() && _records.empty() && !published()) {
    // Records of what is not there any more are of no use. Fails, harmlessly, when something is
    // in the directory.
    (void)unlink_records();
    (void)::rmdir(_private_path.c_str());
  }
  _lock.reset();
  (void)::umount2(_mount_point.c_str(), MNT_DETACH);
  _mounted = false;
}

}  // namespace bts3::btrfs
