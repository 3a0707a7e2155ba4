// The directory that a filesystem is shown at: whether it can be, what is mounted there, and taking
// that away again. All of it may wait for a disk, or for whoever else's filesystem is there.
#pragma once

#include "engine/result.hh"

#include <sys/types.h>

#include <optional>
#include <string>

namespace bts3::app {

// What of the host mounting needs; tests have others.
struct mount_tools {
  std::string device = "/dev/fuse";
  std::string helper = "fusermount3";  // for everybody but root
  std::string settings = "/etc/fuse.conf";
  std::string mounts = "/proc/self/mountinfo";
  std::string path;  // $PATH, where the helper is looked for
};

// `directory` without symbolic links. Reason configuration where nothing can be mounted there, with
// what to do about it: it is missing, no directory, not empty, a mount that was left behind, not
// this user's; and where `user` cannot mount at all, or not for others.
[[nodiscard]] engine::result<std::string> usable_mount_point(const mount_tools& tools,
                                                             const std::string& directory,
                                                             uid_t user, bool allow_other);

// The device of the uppermost mount at `path` ("0:57"); nullopt: there is none.
[[nodiscard]] std::optional<std::string> mounted_at(const mount_tools& tools,
                                                    const std::string& path);

enum class unmounted {
  now,
  already,  // by somebody else
  later,    // it is in use: gone from `path`, and there for those who have something open
};
// Takes the mount of that device from `path`. Errors: nothing could.
[[nodiscard]] engine::result<unmounted> take_away(const mount_tools& tools, const std::string& path,
                                                  const std::string& device);

}  // namespace bts3::app
