#include "engine/age/hex.hh"

namespace bts3::age {

namespace {

constexpr std::string_view digits = "0123456789abcdef";

}  // namespace

std::string hex_of(std::span<const std::byte> bytes) {
  std::string made;
  made.reserve(2 * bytes.size());
  for (const std::byte one : bytes) {
    made += digits[std::to_integer<unsigned>(one) >> 4U];
    made += digits[std::to_integer<unsigned>(one) & 15U];
  }
  return made;
}

bool read_hex(std::string_view text, std::span<std::byte> to) {
  if (text.size() != 2 * to.size()) {
    return false;
  }
  for (std::size_t index = 0; index < to.size(); ++index) {
    const std::size_t high = digits.find(text[2 * index]);
    const std::size_t low = digits.find(text[2 * index + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) {
      return false;
    }
    to[index] = static_cast<std::byte>(high << 4U | low);
  }
  return true;
}

}  // namespace bts3::age
