// What a subvolume may be called: it becomes part of keys, of file names, and a directory below the
// target of restore --all. The rule holds for names from the configuration and from the store
// alike.
#pragma once

#include <cstddef>
#include <string_view>

namespace bts3::app {

// A file name's 255, less a snapshot's "__YYYYMMDDTHHMMSSZ__full".
inline constexpr std::size_t name_bytes_max = 255 - 24;

// A single file name in UTF-8, without control characters, and none that a restore uses itself. In
// the configuration there is one rule more: no "__", which snapshots' names need.
[[nodiscard]] bool is_subvolume_name(std::string_view name);

}  // namespace bts3::app
