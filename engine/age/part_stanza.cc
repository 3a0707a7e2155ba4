#include "engine/age/part_stanza.hh"

#include "engine/age/base64.hh"
#include "engine/age/fault.hh"
#include "engine/age/hex.hh"
#include "engine/age/x25519.hh"

#include <algorithm>
#include <charconv>
#include <utility>

namespace bts3::age {

namespace {

constexpr std::size_t id_digits = 32;
constexpr std::size_t small_digits = 10;  // of 2^32 - 1
constexpr std::size_t large_digits = 20;  // of 2^64 - 1
constexpr std::size_t padding_bytes = 183;

constexpr std::size_t argument_line_bytes = 3 + part_type.size() + 1 + id_digits + 1 +
                                            small_digits + 1 + small_digits + 1 + large_digits + 1;
constexpr std::size_t body_text_bytes(std::size_t bytes) {
  const std::size_t columns = base64_size(bytes, padding::none);
  return columns + columns / body_columns + 1;
}
constexpr std::size_t x25519_stanza_bytes = 3 + x25519_type.size() + 1 +
                                            base64_size(point_bytes, padding::none) + 1 +
                                            body_text_bytes(wrapped_key_bytes);
constexpr std::size_t mac_line_bytes = 4 + base64_size(sizeof(hmac_tag), padding::none) + 1;
static_assert(version_line.size() + x25519_stanza_bytes + argument_line_bytes +
                  body_text_bytes(padding_bytes) + mac_line_bytes ==
              part_header_bytes);

std::string wide(std::uint64_t number, std::size_t digits) {
  const std::string text = std::to_string(number);
  return std::string(digits - text.size(), '0') + text;
}

template <typename Number>
std::optional<Number> number_of(std::string_view text, std::size_t digits) {
  Number found = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, problem] = std::from_chars(text.data(), end, found);
  // from_chars takes no sign for what is unsigned.
  return text.size() == digits && problem == std::errc() && stopped == end ? std::optional(found)
                                                                           : std::nullopt;
}

engine::error stanza_error(std::string_view what) {
  return make_error(fault::header, "the header of the part " + std::string(what),
                    "was it written by a newer version of this program, or is it another file?");
}

engine::error place_error(std::string what) {
  return make_error(fault::place, std::move(what),
                    "parts or objects were exchanged in the bucket; restore another copy");
}

}  // namespace

engine::result<backup_id> backup_id::make(const random_source& random) {
  backup_id made;
  auto filled = fill_random(random, made.bytes);
  if (!filled) {
    return std::move(filled.error());
  }
  return made;
}

std::string backup_id::text() const {
  return hex_of(bytes);
}

std::optional<backup_id> backup_id::parse(std::string_view text) {
  backup_id found;
  return read_hex(text, found.bytes) ? std::optional(found) : std::nullopt;
}

stanza part_stanza(const part_place& place) {
  stanza made;
  made.arguments = {std::string(part_type), place.backup.text(), wide(place.chunk, small_digits),
                    wide(place.part, small_digits), wide(place.offset, large_digits)};
  made.body.resize(padding_bytes);
  return made;
}

engine::result<part_place> read_part_stanza(const stanza& from) {
  if (from.arguments.size() != 5) {
    return stanza_error("has another number of arguments than five in its stanza");
  }
  const auto backup = backup_id::parse(from.arguments[1]);
  const auto chunk = number_of<std::uint32_t>(from.arguments[2], small_digits);
  const auto part = number_of<std::uint32_t>(from.arguments[3], small_digits);
  const auto offset = number_of<std::uint64_t>(from.arguments[4], large_digits);
  if (!backup || !chunk || !part || !offset) {
    return stanza_error("has an argument that cannot be read in its stanza");
  }
  if (from.body != std::vector<std::byte>(padding_bytes)) {
    return stanza_error("has something else than zeros behind the arguments of its stanza");
  }
  return part_place{*backup, *chunk, *part, *offset};
}

engine::result<part_place> find_part_stanza(const header& read) {
  const stanza* found = nullptr;
  for (const stanza& one : read.stanzas) {
    if (one.type() == part_type) {
      if (found != nullptr) {
        return stanza_error("has two stanzas of " + std::string(part_type));
      }
      found = &one;
    }
  }
  if (found == nullptr) {
    return stanza_error("has no stanza of " + std::string(part_type));
  }
  return read_part_stanza(*found);
}

engine::result<void> check_place(const part_place& found, const part_place& expected) {
  const auto differs = [](std::string_view what, const std::string& is, const std::string& wanted) {
    return place_error("the part is of " + std::string(what) + " " + is + ", and one of " + wanted +
                       " was expected");
  };
  if (found.backup != expected.backup) {
    return differs("backup", found.backup.text(), expected.backup.text());
  }
  if (found.chunk != expected.chunk) {
    return differs("chunk", std::to_string(found.chunk), std::to_string(expected.chunk));
  }
  if (found.part != expected.part) {
    return place_error("the part is part " + std::to_string(found.part) +
                       " of its chunk, and part " + std::to_string(expected.part) +
                       " was expected");
  }
  if (found.offset != expected.offset) {
    return place_error("the part begins at byte " + std::to_string(found.offset) +
                       " of the stream, and byte " + std::to_string(expected.offset) +
                       " was expected");
  }
  return engine::ok();
}

}  // namespace bts3::age
