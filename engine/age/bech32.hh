// Bech32 (BIP 173, the checksum constant 1; not Bech32m), in which age writes keys: a part that
// people read, "1", the bytes in groups of five bits, and a checksum of six characters. Without
// BIP 173's limit of 90 characters, as C2SP age.md says; bounded all the same.
#pragma once

#include "engine/secret_string.hh"

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bts3::age {

// A recipient of ML-KEM-768, which is recognised to be refused, has some two thousand.
inline constexpr std::size_t bech32_characters_max = 8192;

struct bech32_text {
  std::string prefix;          // as it was written: all upper case or all lower case
  engine::secret_string data;  // maybe a key, so always treated as one
};

// All upper case where `prefix` is. The prefix is of one case and has 1 to 83 characters from '!'
// to '~'; that is asserted.
[[nodiscard]] engine::secret_string bech32_encode(std::string_view prefix,
                                                  std::span<const std::byte> data);

// Nullopt when it is none: mixed case, foreign characters, a wrong checksum, left-over bits.
[[nodiscard]] std::optional<bech32_text> bech32_decode(std::string_view text);

}  // namespace bts3::age
