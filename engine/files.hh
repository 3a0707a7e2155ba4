// Small files and directories, done carefully.
#pragma once

#include "engine/result.hh"
#include "engine/unique_fd.hh"

#include <string>
#include <string_view>

namespace bts3::engine {

// An existing directory, for ioctls, fsync and the *at() calls.
result<unique_fd> open_directory(const std::string& path);

// Replaces the file at `path` (mode 0600) so that a power cut leaves the old content or the new:
// "{path}.new" is written and fsynced, renamed over it, and the directory is fsynced.
result<void> write_durably(const std::string& path, std::string_view text);

}  // namespace bts3::engine
