// Base 64 (RFC 4648 section 4), canonical: what decodes also encodes to the same text.
#pragma once

#include "engine/secret_string.hh"

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::age {

// With `=` up to a multiple of four characters, or without any (age's headers).
enum class padding { none, filled };

[[nodiscard]] constexpr std::size_t base64_size(std::size_t bytes, padding how) {
  return how == padding::filled ? (bytes + 2) / 3 * 4 : (bytes * 4 + 2) / 3;
}

[[nodiscard]] std::string base64_encode(std::span<const std::byte> bytes, padding how);
// Filled, in lines of `columns` with a line feed each, between two lines that say what it is.
[[nodiscard]] std::string base64_block(std::string_view first_line,
                                       std::span<const std::byte> bytes, std::size_t columns,
                                       std::string_view last_line);

// Nullopt for anything else than the one text of some bytes: other characters, white space, wrong
// length or padding, bits that are left over and not zero (RFC 4648 section 3.5).
[[nodiscard]] std::optional<std::vector<std::byte>> base64_decode(std::string_view text,
                                                                  padding how);
// The same for what nobody may find in memory afterwards.
[[nodiscard]] std::optional<engine::secret_string> base64_decode_secret(std::string_view text,
                                                                        padding how);

}  // namespace bts3::age
