// Where `btrfs receive` runs: what a stream can reach.
//
// The commands of a stream name paths, and `btrfs receive` follows symbolic links in them as root:
// a stream may make a link to /etc and then write through it. So the receiver gets a mount
// namespace of its own. In it the subvolume to receive in is mounted alone, every other mount is
// read-only, and `btrfs receive -C` makes that subvolume its root directory: a path leads nowhere
// else, "..", absolute ones and links included. The mount is made of a descriptor, whatever path it
// had, and ends with the receiver; nobody else sees it.
//
// In a chroot whose root is no mount, the mounts outside the subvolume stay as they are; the
// receiver's root directory is the subvolume there, too.
#pragma once

#include "engine/result.hh"
#include "engine/unique_fd.hh"

#include <string>

namespace bts3::btrfs {

class confined_receiver {
 public:
  // For the subvolume that is open as `subvolume`. Needs CAP_SYS_ADMIN.
  static engine::result<confined_receiver> of(int subvolume);

  // Moves the calling thread into the namespace; what it starts from then on is in it. Such a
  // thread is of no other use. Once for each object.
  [[nodiscard]] engine::result<void> enter() const;

  // The subvolume, as seen by whoever is in there: a directory that every /proc has and that nobody
  // needs.
  static constexpr char directory[] = "/proc/driver";

 private:
  explicit confined_receiver(engine::unique_fd tree) : _tree(std::move(tree)) {}
  engine::unique_fd _tree;  // a mount of the subvolume that is not attached yet
};

}  // namespace bts3::btrfs
