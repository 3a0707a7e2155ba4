#include "engine/age/base64.hh"

#include "engine/assert.hh"

#include <array>
#include <cstdint>

namespace bts3::age {

namespace {

constexpr std::string_view alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t no_digit = 0xff;

consteval std::array<std::uint8_t, 256> make_digits() {
  std::array<std::uint8_t, 256> made{};
  made.fill(no_digit);
  for (std::size_t value = 0; value < alphabet.size(); ++value) {
    made[static_cast<unsigned char>(alphabet[value])] = static_cast<std::uint8_t>(value);
  }
  return made;
}
constexpr std::array<std::uint8_t, 256> digits = make_digits();

// The digits alone; nullopt where the padding is not as it should be.
std::optional<std::string_view> without_padding(std::string_view text, padding how) {
  if (how == padding::filled) {
    if (text.size() % 4 != 0) {
      return std::nullopt;
    }
    for (int removed = 0; removed < 2 && text.ends_with('='); ++removed) {
      text.remove_suffix(1);
    }
  }
  return text.size() % 4 == 1 ? std::nullopt : std::optional(text);
}

// `to` has text.size() * 3 / 4 bytes.
bool decode(std::string_view text, std::span<std::byte> to) {
  BTS3_ASSERT(to.size() == text.size() * 3 / 4);
  std::uint32_t bits = 0;
  unsigned held = 0;
  std::size_t at = 0;
  for (const char digit : text) {
    const std::uint8_t value = digits[static_cast<unsigned char>(digit)];
    if (value == no_digit) {
      return false;
    }
    bits = bits << 6 | value;
    held += 6;
    if (held >= 8) {
      held -= 8;
      to[at++] = static_cast<std::byte>(bits >> held & 0xff);
      bits &= (1U << held) - 1;
    }
  }
  return bits == 0;
}

}  // namespace

std::string base64_encode(std::span<const std::byte> bytes, padding how) {
  std::string text;
  text.reserve(base64_size(bytes.size(), padding::filled));
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t here = bytes.size() - at < 3 ? bytes.size() - at : 3;
    std::uint32_t bits = 0;
    for (std::size_t index = 0; index < 3; ++index) {
      bits = bits << 8 | (index < here ? std::to_integer<std::uint32_t>(bytes[at + index]) : 0);
    }
    for (std::size_t index = 0; index <= here; ++index) {
      text += alphabet[bits >> (18 - 6 * index) & 63];
    }
  }
  if (how == padding::filled) {
    text.append((4 - text.size() % 4) % 4, '=');
  }
  return text;
}

std::string base64_block(std::string_view first_line, std::span<const std::byte> bytes,
                         std::size_t columns, std::string_view last_line) {
  const std::string encoded = base64_encode(bytes, padding::filled);
  std::string made(first_line);
  made += '\n';
  for (std::size_t at = 0; at < encoded.size(); at += columns) {
    made.append(encoded, at, columns);
    made += '\n';
  }
  made += last_line;
  made += '\n';
  return made;
}

std::optional<std::vector<std::byte>> base64_decode(std::string_view text, padding how) {
  const auto only = without_padding(text, how);
  if (!only) {
    return std::nullopt;
  }
  std::vector<std::byte> bytes(only->size() * 3 / 4);
  return decode(*only, bytes) ? std::optional(std::move(bytes)) : std::nullopt;
}

std::optional<engine::secret_string> base64_decode_secret(std::string_view text, padding how) {
  const auto only = without_padding(text, how);
  if (!only) {
    return std::nullopt;
  }
  auto bytes = engine::secret_string::zeroes(only->size() * 3 / 4);
  return decode(*only, bytes.writable()) ? std::optional(std::move(bytes)) : std::nullopt;
}

}  // namespace bts3::age
