#include "engine/age/armor.hh"

#include "engine/age/base64.hh"
#include "engine/age/fault.hh"
#include "engine/text_lines.hh"

#include <utility>

namespace bts3::age {

namespace {

constexpr std::size_t columns = 64;
constexpr std::string_view white_space = " \t\r\n";
constexpr std::string_view first_line = "-----BEGIN AGE ENCRYPTED FILE-----";
constexpr std::string_view last_line = "-----END AGE ENCRYPTED FILE-----";

engine::error armor_error(std::string what) {
  return make_error(fault::armor, "the armored age file " + std::move(what),
                    "it was cut or changed on its way; copy it again, whole");
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(white_space);
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(white_space) - begin + 1);
}

}  // namespace

bool is_armored(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(white_space);
  return begin != std::string_view::npos && text.substr(begin).starts_with(first_line);
}

std::string armor(std::span<const std::byte> file) {
  return base64_block(first_line, file, columns, last_line);
}

engine::result<std::vector<std::byte>> unarmor(std::string_view text) {
  if (text.size() > armored_bytes_max) {
    return armor_error("has more than " + std::to_string(armored_bytes_max) + " bytes");
  }
  std::string_view rest = trimmed(text);
  if (engine::next_line(rest) != first_line) {
    return armor_error("does not begin with the line \"" + std::string(first_line) + "\"");
  }
  std::vector<std::byte> file;
  bool ended = false;  // a line that is not full is the last one
  while (!rest.empty()) {
    const std::string_view line = engine::next_line(rest);
    if (line == last_line && rest.empty()) {
      return file;
    }
    const auto bytes = ended || line.empty() || line.size() > columns
                           ? std::nullopt
                           : base64_decode(line, padding::filled);
    if (!bytes) {
      return armor_error("has a line that is not canonical base64 of 64 columns");
    }
    ended = line.size() < columns || line.ends_with('=');
    file.insert(file.end(), bytes->begin(), bytes->end());
  }
  return armor_error("does not end with the line \"" + std::string(last_line) + "\"");
}

}  // namespace bts3::age
