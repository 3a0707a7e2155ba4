// The header of an age file (C2SP age.md, "Header"): the version's line, stanzas that each wrap the
// file key for somebody, and a MAC by the file key over all of it. Strict: what is read here is
// what would be written for the same stanzas, byte for byte.
#pragma once

#include "engine/age/primitives.hh"
#include "engine/age/secret_bytes.hh"
#include "engine/result.hh"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::age {

// age.md, "Version line".
inline constexpr std::string_view version_line = "age-encryption.org/v1\n";
inline constexpr std::size_t body_columns = 64;
// Of what is read: a stanza of X25519 has 98 bytes, so this is room for some 600 recipients.
inline constexpr std::size_t header_bytes_max = 64 * 1024;

// The argument line and the body, decoded. Arguments are one or more, of characters '!' to '~'.
struct stanza {
  std::vector<std::string> arguments;
  std::vector<std::byte> body;

  [[nodiscard]] std::string_view type() const { return arguments.front(); }
  [[nodiscard]] std::string text() const;  // as it stands in a header, its last line feed included
  bool operator==(const stanza&) const = default;
};

struct header {
  std::vector<stanza> stanzas;  // one or more
  std::size_t bytes = 0;        // up to and with the MAC's line feed: the payload's nonce is next
  std::size_t covered = 0;      // of these, what the MAC is over: up to and with "---"
  hmac_tag tag{};
};

// Reads it from the beginning of `file`, which may hold more or, where it ends too early, less:
// fault::header, as for all that is not as age.md has it or longer than header_bytes_max.
[[nodiscard]] engine::result<header> read_header(std::span<const std::byte> file);

// The header for these stanzas, with its MAC.
[[nodiscard]] engine::result<std::string> write_header(const std::vector<stanza>& stanzas,
                                                       const file_key& key);

// Fails with fault::mac unless `read`, which was read from `file`, was made with this key.
[[nodiscard]] engine::result<void> check_header(const header& read, std::span<const std::byte> file,
                                                const file_key& key);

}  // namespace bts3::age
