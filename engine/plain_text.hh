// Text that somebody else wrote (a store, a manifest, a file, the environment), made fit to be
// shown: the last gate before a terminal or a log.
//
// Dangerous is what a terminal obeys or what changes the order in which it shows things: control
// characters (C0, DEL, C1), marks and overrides of writing direction (U+061C, U+200E, U+200F,
// U+202A to U+202E, U+2066 to U+2069), line and paragraph separators (U+2028, U+2029), and bytes
// that are no UTF-8, among which the 8-bit forms of C1 hide.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bts3::engine {

// Nothing of the above, and all of it UTF-8.
[[nodiscard]] bool is_plain(std::string_view text);
[[nodiscard]] bool is_utf8(std::string_view text);

// One line: dangerous bytes as \x1b, dangerous characters as \u202e.
[[nodiscard]] std::string printable(std::string_view text);
// The same of a text of several lines: line feeds stay.
[[nodiscard]] std::string printable_lines(std::string_view text);
// One line of a document in JSON, or all of it: the same value, without dangerous characters.
[[nodiscard]] std::string printable_json(std::string_view json);

// "1 object", "2 objects"; `several` where an s does not do: "2 retries".
[[nodiscard]] std::string counted(std::uint64_t count, std::string_view one,
                                  std::string_view several = {});

}  // namespace bts3::engine
