// Bytes as lower-case hexadecimal digits, and back.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace bts3::age {

[[nodiscard]] std::string hex_of(std::span<const std::byte> bytes);
// False, and `to` is unspecified, unless it is two lower-case digits for each byte of `to`.
[[nodiscard]] bool read_hex(std::string_view text, std::span<std::byte> to);

}  // namespace bts3::age
