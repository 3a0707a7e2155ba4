#include "engine/age/bech32.hh"

#include "engine/assert.hh"

#include <array>
#include <cstdint>

namespace bts3::age {

namespace {

constexpr std::string_view alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
constexpr std::size_t checksum_characters = 6;
constexpr std::size_t prefix_characters_max = 83;  // BIP 173

constexpr bool is_upper(char one) {
  return one >= 'A' && one <= 'Z';
}
constexpr bool is_lower(char one) {
  return one >= 'a' && one <= 'z';
}
constexpr char lower(char one) {
  return is_upper(one) ? static_cast<char>(one - 'A' + 'a') : one;
}
constexpr char upper(char one) {
  return is_lower(one) ? static_cast<char>(one - 'a' + 'A') : one;
}

// BIP 173's checksum, fed five bits at a time.
class checksum {
 public:
  explicit checksum(std::string_view prefix) {
    for (const char one : prefix) {
      add(static_cast<unsigned char>(lower(one)) >> 5U);
    }
    add(0);
    for (const char one : prefix) {
      add(static_cast<unsigned char>(lower(one)) & 31U);
    }
  }
  void add(unsigned value) {
    constexpr std::array<std::uint32_t, 5> generator{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd,
                                                     0x2a1462b3};
    const std::uint32_t top = _state >> 25;
    _state = (_state & 0x1ffffff) << 5 ^ value;
    for (std::size_t bit = 0; bit < generator.size(); ++bit) {
      _state ^= (top >> bit & 1) != 0 ? generator.at(bit) : 0;
    }
  }
  [[nodiscard]] std::uint32_t state() const { return _state; }

 private:
  std::uint32_t _state = 1;
};

// Whether the text has letters of one case only, and nothing that BIP 173 forbids.
bool is_of_one_case(std::string_view text) {
  bool has_upper = false;
  bool has_lower = false;
  for (const char one : text) {
    if (one < '!' || one > '~') {
      return false;
    }
    has_upper |= is_upper(one);
    has_lower |= is_lower(one);
  }
  return !(has_upper && has_lower);
}

// The value of a character, or 32.
std::size_t value_of(char one) {
  const std::size_t found = alphabet.find(lower(one));
  return found == std::string_view::npos ? alphabet.size() : found;
}

}  // namespace

engine::secret_string bech32_encode(std::string_view prefix, std::span<const std::byte> data) {
  BTS3_ASSERT(!prefix.empty() && prefix.size() <= prefix_characters_max && is_of_one_case(prefix));
  const std::size_t groups = (data.size() * 8 + 4) / 5;
  auto text = engine::secret_string::zeroes(prefix.size() + 1 + groups + checksum_characters);
  const std::span<std::byte> to = text.writable();
  const bool capitals = is_upper(prefix.front());
  std::size_t at = 0;
  const auto put = [&](char one) {
    to[at++] = static_cast<std::byte>(capitals ? upper(one) : one);
  };
  for (const char one : prefix) {
    put(one);
  }
  put('1');
  checksum sum(prefix);
  const auto put_value = [&](unsigned value) {
    sum.add(value);
    put(alphabet[value]);
  };
  unsigned bits = 0;
  unsigned held = 0;
  for (const std::byte one : data) {
    bits = (bits << 8 | std::to_integer<unsigned>(one)) & 0xfff;
    for (held += 8; held >= 5;) {
      held -= 5;
      put_value(bits >> held & 31);
    }
  }
  if (held > 0) {
    put_value(bits << (5 - held) & 31);
  }
  for (std::size_t index = 0; index < checksum_characters; ++index) {
    sum.add(0);
  }
  const std::uint32_t state = sum.state() ^ 1;
  for (std::size_t index = 0; index < checksum_characters; ++index) {
    put(alphabet[state >> (5 * (checksum_characters - 1 - index)) & 31]);
  }
  BTS3_ASSERT(at == to.size());
  return text;
}

std::optional<bech32_text> bech32_decode(std::string_view text) {
  const std::size_t separator = text.rfind('1');
  if (text.size() > bech32_characters_max || !is_of_one_case(text) ||
      separator == std::string_view::npos || separator == 0 || separator > prefix_characters_max ||
      text.size() - separator - 1 < checksum_characters) {
    return std::nullopt;
  }
  bech32_text found;
  const std::string_view prefix = text.substr(0, separator);
  checksum sum(prefix);
  const std::string_view values = text.substr(separator + 1);
  const std::size_t groups = values.size() - checksum_characters;
  found.data = engine::secret_string::zeroes(groups * 5 / 8);
  std::size_t at = 0;
  unsigned bits = 0;
  unsigned held = 0;
  for (std::size_t index = 0; index < values.size(); ++index) {
    const auto value = static_cast<unsigned>(value_of(values[index]));
    if (value == alphabet.size()) {
      return std::nullopt;
    }
    sum.add(value);
    if (index >= groups) {
      continue;
    }
    bits = (bits << 5 | value) & 0xfff;
    held += 5;
    if (held >= 8) {
      held -= 8;
      found.data.writable()[at++] = static_cast<std::byte>(bits >> held & 0xff);
    }
  }
  const bool left_over = held >= 5 || (bits & ((1U << held) - 1)) != 0;
  if (sum.state() != 1 || left_over) {
    return std::nullopt;
  }
  // Not before: of a key with a "1" by mistake, most would stand in this string.
  found.prefix = prefix;
  return found;
}

}  // namespace bts3::age
