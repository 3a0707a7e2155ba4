#include "engine/age/armor.hh"

#include "engine/age/base64.hh"
#include "engine/age/fault.hh"

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

// The next line of `text`, which gets shorter, without its line end.
std::string_view next_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  if (line.ends_with('\r')) {
    line.remove_suffix(1);
  }
  return line;
}

}  // namespace

bool is_armored(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(white_space);
  return begin != std::string_view::npos && text.substr(begin).starts_with(first_line);
}

std::string armor(std::span<const std::byte> file) {
  const std::string encoded = base64_encode(file, padding::filled);
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

engine::result<std::vector<std::byte>> unarmor(std::string_view text) {
  if (text.size() > armored_bytes_max) {
    return armor_error("has more than " + std::to_string(armored_bytes_max) + " bytes");
  }
  std::string_view rest = trimmed(text);
  if (next_line(rest) != first_line) {
    return armor_error("does not begin with the line \"" + std::string(first_line) + "\"");
  }
  std::vector<std::byte> file;
  bool ended = false;  // a line that is not full is the last one
  while (!rest.empty()) {
    const std::string_view line = next_line(rest);
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
