// Small files and directories, done carefully.
#pragma once

#include "engine/result.hh"
#include "engine/unique_fd.hh"

#include <sys/types.h>

#include <string>
#include <string_view>

namespace bts3::engine {

// An existing directory, for ioctls, fsync and the *at() calls.
result<unique_fd> open_directory(const std::string& path);

// Makes the last directory of `path`, for its owner alone; whether it was missing and is there now.
// Not more of the path: what is missing further up may be a disk that is not mounted, and another
// one would be filled in its place.
bool make_last_directory(const std::string& path);

// Replaces the file at `path` (mode 0600, or `mode` whatever the umask says) so that a power cut
// leaves the old content or the new: "{path}.new" is written and fsynced, renamed over it, and the
// directory is fsynced. Whatever had that name before, a link or a FIFO of somebody else's
// included, is removed and never opened; nothing is left under it after a failure.
result<void> write_durably(const std::string& path, std::string_view text, mode_t mode = 0600);

}  // namespace bts3::engine
