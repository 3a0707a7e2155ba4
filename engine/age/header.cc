#include "engine/age/header.hh"

#include "engine/age/base64.hh"
#include "engine/age/fault.hh"
#include "engine/assert.hh"
#include "engine/plain_text.hh"

#include <algorithm>
#include <optional>
#include <utility>

namespace bts3::age {

namespace {

constexpr std::string_view version_start = "age-encryption.org/";
constexpr std::string_view stanza_start = "-> ";
constexpr std::string_view mac_start = "---";

engine::error header_error(std::string message) {
  return make_error(
      fault::header, std::move(message),
      "it is not an age file, or was damaged; fetch it again, or restore another copy");
}

// The MAC's key: age.md, "Header MAC".
engine::result<hmac_tag> mac_of(std::span<const std::byte> covered, const file_key& key) {
  auto derived = hkdf_sha256(key.view(), {}, "header");
  if (!derived) {
    return std::move(derived.error());
  }
  return hmac_sha256(derived->view(), covered);
}

class reader {
 public:
  explicit reader(std::string_view text) : _text(text) {}

  [[nodiscard]] std::size_t at() const { return _at; }
  [[nodiscard]] bool stands_before(std::string_view start) const {
    return _text.substr(_at).starts_with(start);
  }
  // The next line without its line feed; nullopt when there is no line feed any more.
  std::optional<std::string_view> line() {
    const std::size_t end = _text.find('\n', _at);
    if (end == std::string_view::npos) {
      return std::nullopt;
    }
    const std::string_view found = _text.substr(_at, end - _at);
    _at = end + 1;
    return found;
  }

 private:
  std::string_view _text;
  std::size_t _at = 0;
};

engine::error too_early() {
  return header_error("the header of the age file has no end, or more than " +
                      std::to_string(header_bytes_max) + " bytes");
}

engine::result<std::vector<std::string>> arguments_of(std::string_view line) {
  std::vector<std::string> found;
  while (true) {
    const std::size_t end = std::min(line.find(' '), line.size());
    const std::string_view argument = line.substr(0, end);
    if (argument.empty()) {
      return header_error("a stanza of the age header has an empty argument");
    }
    if (!std::all_of(argument.begin(), argument.end(),
                     [](char one) { return one >= '!' && one <= '~'; })) {
      return header_error("a stanza of the age header has a character that is not allowed");
    }
    found.emplace_back(argument);
    if (end == line.size()) {
      return found;
    }
    line.remove_prefix(end + 1);
  }
}

engine::result<stanza> read_stanza(reader& from) {
  const auto first = from.line();
  if (!first) {
    return too_early();
  }
  auto arguments = arguments_of(first->substr(stanza_start.size()));
  if (!arguments) {
    return std::move(arguments.error());
  }
  stanza read;
  read.arguments = std::move(*arguments);
  while (true) {
    const auto line = from.line();
    if (!line) {
      return too_early();
    }
    const auto bytes =
        line->size() > body_columns ? std::nullopt : base64_decode(*line, padding::none);
    if (!bytes) {
      return header_error("the body of a stanza of the age header (" +
                          engine::printable(read.type().substr(0, 40)) +
                          ") is not canonical base64 in lines of 64 columns");
    }
    read.body.insert(read.body.end(), bytes->begin(), bytes->end());
    if (line->size() < body_columns) {
      return read;
    }
  }
}

}  // namespace

std::string stanza::text() const {
  BTS3_ASSERT(!arguments.empty());
  std::string made(stanza_start.substr(0, 2));
  for (const std::string& argument : arguments) {
    BTS3_ASSERT(!argument.empty() && std::all_of(argument.begin(), argument.end(), [](char one) {
      return one >= '!' && one <= '~';
    }));
    made += ' ';
    made += argument;
  }
  made += '\n';
  const std::string encoded = base64_encode(body, padding::none);
  std::size_t at = 0;
  for (; encoded.size() - at >= body_columns; at += body_columns) {
    made.append(encoded, at, body_columns);
    made += '\n';
  }
  // The last line is a shorter one, if need be an empty one.
  made.append(encoded, at);
  made += '\n';
  return made;
}

engine::result<header> read_header(std::span<const std::byte> file) {
  const std::string_view text = text_of(file.first(std::min(file.size(), header_bytes_max)));
  if (!text.starts_with(version_line)) {
    return header_error(text.starts_with(version_start)
                            ? "the age file is of a version that this program does not know"
                            : "this is not an age file: it does not begin with \"" +
                                  std::string(version_start) + "v1\"");
  }
  reader from(text);
  (void)from.line();
  header read;
  while (from.stands_before(stanza_start)) {
    auto one = read_stanza(from);
    if (!one) {
      return std::move(one.error());
    }
    read.stanzas.push_back(std::move(*one));
  }
  const std::size_t end = from.at();
  const auto last = from.line();
  if (!last) {
    return too_early();
  }
  if (read.stanzas.empty() || !last->starts_with(mac_start) ||
      last->size() != mac_start.size() + 1 + base64_size(read.tag.size(), padding::none) ||
      (*last)[mac_start.size()] != ' ') {
    return header_error("the age header has a line that is neither a stanza nor its MAC");
  }
  const auto tag = base64_decode(last->substr(mac_start.size() + 1), padding::none);
  if (!tag || tag->size() != read.tag.size()) {
    return header_error("the MAC of the age header is not canonical base64");
  }
  std::copy(tag->begin(), tag->end(), read.tag.begin());
  read.bytes = from.at();
  read.covered = end + mac_start.size();
  return read;
}

engine::result<std::string> write_header(const std::vector<stanza>& stanzas, const file_key& key) {
  BTS3_ASSERT(!stanzas.empty());
  std::string made(version_line);
  for (const stanza& one : stanzas) {
    made += one.text();
  }
  made += mac_start;
  BTS3_ASSERT(made.size() < header_bytes_max);
  const auto tag = mac_of(bytes_of(made), key);
  if (!tag) {
    return tag.error();
  }
  made += ' ';
  made += base64_encode(*tag, padding::none);
  made += '\n';
  return made;
}

engine::result<void> check_header(const header& read, std::span<const std::byte> file,
                                  const file_key& key) {
  BTS3_ASSERT(read.covered <= file.size());
  const auto tag = mac_of(file.first(read.covered), key);
  if (!tag) {
    return tag.error();
  }
  if (!same_bytes(*tag, read.tag)) {
    return make_error(fault::mac, "the age header is not as it was written: its MAC does not match",
                      "it was damaged or changed; fetch it again, or restore another copy");
  }
  return engine::ok();
}

}  // namespace bts3::age
