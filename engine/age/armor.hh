// The text forms of sealed files and signatures: strict PEM (RFC 7468 section 3, figure 3).
#pragma once

#include "engine/result.hh"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::age {

// Of what is read: whatever is armored is small here.
inline constexpr std::size_t armored_bytes_max = 4 * 1024 * 1024;

// Whether it begins like an armored age file, white space aside.
[[nodiscard]] bool is_armored(std::string_view text);

// With lines of 64 columns, each with a line feed.
[[nodiscard]] std::string armor(std::span<const std::byte> file);

// The binary file. fault::armor unless it is exactly what armor() makes of one, but for CRLF
// instead of LF and white space before and behind.
[[nodiscard]] engine::result<std::vector<std::byte>> unarmor(std::string_view text);

}  // namespace bts3::age
