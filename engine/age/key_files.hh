// The files in which people keep keys: identity files as age-keygen and `age -p` write them, and
// lists of recipients.
#pragma once

#include "engine/age/sealed_file.hh"
#include "engine/age/x25519.hh"
#include "engine/result.hh"
#include "engine/secret_string.hh"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::age {

// Lines with "#" at their beginning and empty ones are comments. At most so many others.
inline constexpr std::size_t keys_in_a_file_max = recipients_max;

// One identity a line, at least one. fault::key names the line, and quotes nothing of it. Not for a
// file that is sealed: see is_sealed().
[[nodiscard]] engine::result<std::vector<x25519_identity>> parse_identities(std::string_view text);

// Whether an identity file is itself an age file, binary or armored, that has to be opened first.
[[nodiscard]] bool is_sealed(std::string_view file);

// The identities in a file that is sealed with a passphrase (`age -p`).
[[nodiscard]] engine::result<std::vector<x25519_identity>> open_identities(
    std::string_view file, std::string_view passphrase);

// One recipient a line, at least one, each once. fault::key names the line.
[[nodiscard]] engine::result<std::vector<x25519_recipient>> parse_recipients(std::string_view text);

// An identity file as age-keygen writes it: its recipient as a comment, and `comments`, each one
// line, before it.
[[nodiscard]] engine::secret_string identity_file(const x25519_identity& one,
                                                  std::span<const std::string> comments);

}  // namespace bts3::age
