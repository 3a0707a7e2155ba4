// A file with keys, and whether its mode is one that such a file may have: as ssh judges.
#pragma once

#include "engine/error.hh"
#include "engine/result.hh"
#include "engine/secret_string.hh"

#include <cstddef>
#include <optional>
#include <string>

namespace bts3::app {

// Five hundred keys with comments have less than a tenth of it.
inline constexpr std::size_t key_file_bytes_max = 1024 * 1024;

struct key_file {
  engine::secret_string text;  // whole; nothing else in memory has a copy of it
  // Why it holds no secret: it is the caller's own and its group or others may read it, or it is
  // anybody's and others may.
  std::optional<engine::error> exposed;
  // Why it is not to be trusted: its group or others may write to it.
  std::optional<engine::error> alterable;
};

// Errors name the file. Only regular files: a FIFO would be waited for, and a device has no end.
// Blocks.
[[nodiscard]] engine::result<key_file> read_key_file(const std::string& path);

// The text of one that must be a secret, or that must not be anybody's to alter.
[[nodiscard]] engine::result<engine::secret_string> read_secret_file(const std::string& path);
[[nodiscard]] engine::result<engine::secret_string> read_trusted_file(const std::string& path);

// A file that is made here, mode 0600, on the disk when this returns. What has that name already is
// left alone: an error of errno EEXIST. Nothing is left of a file that could not be written whole.
[[nodiscard]] engine::result<void> write_new_secret(const std::string& path,
                                                    const engine::secret_string& text);

}  // namespace bts3::app
