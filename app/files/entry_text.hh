// How paths of a backup are shown: names that a terminal would obey are spelled out, owners are the
// numbers of the host that was backed up.
#pragma once

#include "btrfs/index/node.hh"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace bts3::app {

struct shown_entry {
  std::string path;
  btrfs::index::node at;
};

// "file", "directory", "symlink", ...
[[nodiscard]] const char* word_of(btrfs::index::node_type type);
// "drwxr-xr-x".
[[nodiscard]] std::string mode_text(const btrfs::index::node& at);
// "2026-01-02 03:04", local; seconds since 1970 where no calendar has it.
[[nodiscard]] std::string local_minute(const btrfs::index::node_time& when);
// "2026-01-02T03:04:05.123456789Z"; empty where no calendar has it.
[[nodiscard]] std::string rfc3339(const btrfs::index::node_time& when);

// A line each, as ls -l has it, columns below one another.
[[nodiscard]] std::string long_lines(const std::vector<shown_entry>& entries);
// The path alone, on a line.
[[nodiscard]] std::string short_line(const std::string& path);

// A member "path", and where that is no UTF-8 "path_base64" with its bytes.
void put_path(nlohmann::ordered_json& into, const std::string& name, const std::string& path);
[[nodiscard]] nlohmann::ordered_json entry_json(const std::string& path,
                                                const btrfs::index::node& at);

}  // namespace bts3::app
