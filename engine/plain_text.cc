#include "engine/plain_text.hh"

#include <cstddef>
#include <cstdint>

namespace bts3::engine {

namespace {

struct character {
  std::uint32_t code = 0;
  std::size_t bytes = 1;
  bool valid = false;  // as UTF-8; when not, it is one byte
};

// The first of `text`, which has one ("The Unicode Standard", table 3-7, well-formed sequences).
character first_of(std::string_view text) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) {
    return {lead, 1, true};
  }
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) {
    return {lead, 1, false};
  }
  std::uint32_t code = lead & (0xffU >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) {
      return {lead, 1, false};
    }
    code = code << 6 | (byte(i) & 0x3fU);
  }
  const bool overlong = (bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000);
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (overlong || surrogate || code > 0x10ffff) {
    return {lead, 1, false};
  }
  return {code, bytes, true};
}

bool dangerous(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0x061c || code == 0x200e ||
         code == 0x200f || (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

void append_hex(std::string& text, std::uint32_t value, int digits) {
  static constexpr char letters[] = "0123456789abcdef";
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    text += letters[value >> shift & 0xf];
  }
}

std::string shown(std::string_view text, bool line_feeds_stay) {
  std::string made;
  made.reserve(text.size());
  while (!text.empty()) {
    const character one = first_of(text);
    if (!one.valid || (one.code < 0x80 && dangerous(one.code))) {
      if (one.code == '\n' && line_feeds_stay) {
        made += '\n';
      } else {
        made += "\\x";
        append_hex(made, one.code, 2);
      }
    } else if (dangerous(one.code)) {
      made += "\\u";
      append_hex(made, one.code, 4);
    } else {
      made += text.substr(0, one.bytes);
    }
    text.remove_prefix(one.bytes);
  }
  return made;
}

}  // namespace

bool is_plain(std::string_view text) {
  while (!text.empty()) {
    const character one = first_of(text);
    if (!one.valid || dangerous(one.code)) {
      return false;
    }
    text.remove_prefix(one.bytes);
  }
  return true;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const character one = first_of(text);
    if (!one.valid) {
      return false;
    }
    text.remove_prefix(one.bytes);
  }
  return true;
}

std::string printable(std::string_view text) {
  return shown(text, false);
}

std::string printable_lines(std::string_view text) {
  return shown(text, true);
}

std::string printable_json(std::string_view json) {
  std::string made;
  made.reserve(json.size());
  while (!json.empty()) {
    const character one = first_of(json);
    if (!one.valid) {
      made += "\\ufffd";
    } else if (one.code >= 0x20 && dangerous(one.code)) {
      made += "\\u";
      append_hex(made, one.code, 4);
    } else {
      made += json.substr(0, one.bytes);  // below a blank there are line feeds alone
    }
    json.remove_prefix(one.bytes);
  }
  return made;
}

std::string counted(std::uint64_t count, std::string_view one, std::string_view several) {
  std::string text = std::to_string(count) + " ";
  text += count == 1 || several.empty() ? one : several;
  return count == 1 || !several.empty() ? text : text + "s";
}

}  // namespace bts3::engine
