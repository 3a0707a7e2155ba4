// For whom backups are sealed: recipients from a list and from a file.
#pragma once

#include "engine/age/x25519.hh"
#include "engine/result.hh"

#include <string>
#include <string_view>
#include <vector>

namespace bts3::app {

// Those of `listed` and of the file, each once, in that order; none where both are empty. Errors,
// of reason configuration, name the culprit: "`name`[2]" (counted from 1) or the file and its line;
// keys of ML-KEM (age1pq...), of plugins and of SSH are refused with what is supported. The file
// may have comments and empty lines; one that others can write to is refused. Blocks.
[[nodiscard]] engine::result<std::vector<age::x25519_recipient>> read_recipients(
    const std::vector<std::string>& listed, std::string_view name, const std::string& file);

// By which people tell one from another: "SHA256:" and, in base64 without padding, the SHA-256 of
// its text "age1..."; the same by hand:
// printf %s age1... | openssl dgst -sha256 -binary | base64 | tr -d =
[[nodiscard]] engine::result<std::string> fingerprint_of(const age::x25519_recipient& one);
// Of all of them, in the order of their texts.
[[nodiscard]] engine::result<std::vector<std::string>> fingerprints_of(
    std::vector<age::x25519_recipient> all);

}  // namespace bts3::app
