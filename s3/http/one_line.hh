// What somebody else said, as it may stand in a message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace bts3::s3 {

// Of a text that is quoted.
inline constexpr std::size_t message_bytes_max = 1024;

// The text's beginning: blanks for control characters, and what else a terminal must not see
// spelled out; "..." where it goes on.
std::string one_line(std::string_view text, std::size_t bytes_max = message_bytes_max);

}  // namespace bts3::s3
