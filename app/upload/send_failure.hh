// Why `btrfs send` failed, where the kernel names no file.
//
// "send ioctl failed with -5" is a file that cannot be read, "-36" a path that is too long for a
// stream: the snapshot's files are looked through on a thread of its own, in the order in which
// they are sent. A snapshot that has such a file will never be sent while the file stays as it is.
// What was uploaded is worth keeping as long as the source has the same trouble, for a new snapshot
// would have it as well; once the source is well, a new one is made.
#pragma once

#include "app/store/services.hh"
#include "engine/error.hh"
#include "engine/task.hh"

#include <string>

namespace bts3::app {

struct send_failure {
  engine::error failure;   // with the files' names, where they were found
  bool found = false;      // they were
  bool in_source = false;  // and one of them has the same trouble in the source
  // `btrfs send` ended by itself, with an error. One that was killed, or that never began, says
  // nothing against what was sent before.
  bool judged = true;
};

// `last_path`: of the last whole command that was sent; may be empty.
engine::task<send_failure> explain_send_failure(const services& with, engine::error failure,
                                                std::string snapshot, std::string source,
                                                std::string last_path);

}  // namespace bts3::app
