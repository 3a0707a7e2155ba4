#include "btrfs/confined_receiver.hh"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

namespace bts3::btrfs {

namespace {

using engine::result;
using engine::system_error;
using engine::unique_fd;

// mount_setattr(2), open_tree(2), move_mount(2): Linux 5.12, and newer than some C libraries, whose
// header and the kernel's exclude each other.
struct mount_attributes {
  std::uint64_t set = 0;
  std::uint64_t clear = 0;
  std::uint64_t propagation = 0;
  std::uint64_t user_namespace = 0;
};
constexpr std::uint64_t attribute_read_only = 0x1;
constexpr std::uint64_t attribute_no_setuid = 0x2;
constexpr std::uint64_t attribute_no_devices = 0x4;
constexpr std::uint64_t attribute_no_access_times = 0x10;
constexpr std::uint64_t access_time_attributes = 0x70;  // of which one is set
constexpr unsigned clone_tree = 0x1;
constexpr unsigned from_descriptor = 0x4;  // MOVE_MOUNT_F_EMPTY_PATH
constexpr int whole_tree = 0x8000;         // AT_RECURSIVE

int set_attributes(int directory, const char* path, int flags, std::uint64_t set) {
  mount_attributes attributes;
  attributes.set = set;
  attributes.clear = (set & attribute_no_access_times) != 0 ? access_time_attributes : 0;
  return static_cast<int>(
      ::syscall(SYS_mount_setattr, directory, path, flags, &attributes, sizeof attributes));
}

}  // namespace

result<confined_receiver> confined_receiver::of(int subvolume) {
  unique_fd tree(static_cast<int>(
      ::syscall(SYS_open_tree, subvolume, "", AT_EMPTY_PATH | O_CLOEXEC | clone_tree)));
  if (!tree.valid()) {
    return system_error(errno, "open_tree", "a restore needs root, and Linux 5.12 or newer");
  }
  if (set_attributes(tree.get(), "", AT_EMPTY_PATH,
                     attribute_no_setuid | attribute_no_devices | attribute_no_access_times) != 0) {
    return system_error(errno, "mount_setattr", "a restore needs Linux 5.12 or newer");
  }
  return confined_receiver(std::move(tree));
}

result<void> confined_receiver::enter() const {
  if (::unshare(CLONE_NEWNS) != 0) {
    return system_error(errno, "making a private mount namespace", "a restore needs root");
  }
  // What is mounted from here on lies below /proc, which is a mount everywhere.
  if (::mount(nullptr, "/proc", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return system_error(errno, "making the mounts below /proc private");
  }
  // "/" is no mount in a chroot (EINVAL), and a restore may well run in one.
  if (set_attributes(AT_FDCWD, "/", whole_tree, attribute_read_only) != 0 && errno != EINVAL) {
    return system_error(errno, "making all mounts read-only for `btrfs receive`");
  }
  if (::syscall(SYS_move_mount, _tree.get(), "", AT_FDCWD, directory, from_descriptor) != 0) {
    return system_error(errno, "mounting the place to receive in");
  }
  return engine::ok();
}

}  // namespace bts3::btrfs
