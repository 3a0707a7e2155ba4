// One backup at a time on a host.
//
// An open-file-description lock on a file that is never unlinked and holds the owner's PID as text.
// The kernel drops the lock with the process, so neither a file left by a crash nor a PID that
// another program has by now can block anything, and a live holder always does.
//
// Only runs count. Whoever may read a file may hold a shared lock on it, so the file is for its
// owner alone (0600, narrowed where it was not), is this user's or root's, and has one name; what
// somebody else has put in its place is refused and not touched.
#pragma once

#include "engine/result.hh"
#include "engine/unique_fd.hh"

#include <optional>
#include <string>
#include <utility>

namespace bts3::app {

// Where the lock lay by default until 0.1: there every user may write. A run of an older version
// may still hold it, so it is asked as well where the lock lies at today's default.
inline constexpr char former_lock_path[] = "/var/lock/btrfs_to_s3.lock";

class run_lock {
 public:
  // Reason lock_held, "lock already held by pid N", when another process has it. A missing
  // directory is made. Any other failure, a shared lock that is no run's included, is an error that
  // names the key.
  static engine::result<run_lock> acquire(const std::string& path);
  // The same with the lock of older versions, which is taken too where it is there; empty: none.
  static engine::result<run_lock> acquire_with(const std::string& path, const std::string& former);
  // The PID, as text, of the run that has it now; nullopt when none has. Takes and makes nothing.
  static engine::result<std::optional<std::string>> holder(const std::string& path);

 private:
  explicit run_lock(engine::unique_fd fd) : _fd(std::move(fd)) {}
  engine::unique_fd _fd;
  engine::unique_fd _former;
};

}  // namespace bts3::app
