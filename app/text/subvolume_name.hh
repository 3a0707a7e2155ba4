// What a subvolume may be called: it becomes part of keys, of file names, and a directory below the
// target of restore --all. The rule holds for names from the configuration and from the store
// alike.
#pragma once

#include <cstddef>
#include <string_view>

namespace bts3::app {

// A file name's 255, less a snapshot's "__YYYYMMDDTHHMMSSZ__full".
inline constexpr std::size_t name_bytes_max = 255 - 24;

// Journals of `backup --no-s3` are called {state}.{name}__no-s3.journal, all others
// {state}.{name}.journal: the configuration takes no name that ends so.
inline constexpr std::string_view local_journal_suffix = "__no-s3";

// A single file name in UTF-8, without control characters, and none that a restore uses itself.
[[nodiscard]] bool is_subvolume_name(std::string_view name);

}  // namespace bts3::app
