// One backup at a time on a host.
//
// An open-file-description lock on a file that is never unlinked and holds the owner's PID as text.
// The kernel drops the lock with the process, so neither a file left by a crash nor a PID that
// another program has by now can block anything, and a live holder always does.
#pragma once

#include "engine/result.hh"
#include "engine/unique_fd.hh"

#include <optional>
#include <string>

namespace bts3::app {

class run_lock {
 public:
  // Reason lock_held, "lock already held by pid N", when another process has it. A missing
  // directory is made.
  static engine::result<run_lock> acquire(const std::string& path);
  // The PID, as text, of whoever has it now; nullopt when nobody has. Takes and makes nothing.
  static engine::result<std::optional<std::string>> holder(const std::string& path);

 private:
  explicit run_lock(engine::unique_fd fd) : _fd(std::move(fd)) {}
  engine::unique_fd _fd;
};

}  // namespace bts3::app
