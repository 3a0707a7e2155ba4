// The kernel's cleaner, which frees what deleted subvolumes held: waiting for it.
#pragma once

#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <string>
#include <vector>

namespace bts3::btrfs {

// The command line, argv[0] being "btrfs", that ends when the filesystem that `path` is on has
// freed what deleted subvolumes held.
std::vector<std::string> cleaning_arguments(const std::string& path);

// Runs it, or what stands in for it: an error, quoting its stderr, unless it exited with status 0.
// A stop ends it (SIGTERM, then SIGKILL after 5 s), and gives `cancelled`.
engine::task<engine::result<void>> wait_for_cleaner(engine::reactor& loop,
                                                    std::vector<std::string> argv,
                                                    engine::stop_token stop);

}  // namespace bts3::btrfs
