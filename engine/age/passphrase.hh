// A file key under a passphrase: the stanza of scrypt (C2SP age.md, "The scrypt recipient type"),
// which is always the only one of its file.
#pragma once

#include "engine/age/header.hh"
#include "engine/age/random.hh"
#include "engine/age/secret_bytes.hh"
#include "engine/result.hh"

#include <optional>
#include <string_view>

namespace bts3::age {

inline constexpr std::string_view scrypt_type = "scrypt";
inline constexpr std::size_t scrypt_salt_bytes = 16;

// Work is 2^log_work; memory 1 KiB times that. 18 (256 MiB, about a second) is what `age -p` of
// Debian takes. A header can ask for any: above 20 (1 GiB) it is refused, since whoever could
// change the file could else make us run out of memory.
inline constexpr unsigned log_work_usual = 18;
inline constexpr unsigned log_work_max = 20;

// An empty passphrase is refused with fault::key. `log_work` is from 1 to log_work_max.
[[nodiscard]] engine::result<stanza> wrap_with_passphrase(const file_key& key,
                                                          std::string_view passphrase,
                                                          const random_source& random,
                                                          unsigned log_work = log_work_usual);

// Nullopt for a stanza of another type, or another passphrase. fault::header for one of scrypt that
// is not as age.md has it, or wants more work than `log_work_limit`.
[[nodiscard]] engine::result<std::optional<file_key>> unwrap_with_passphrase(
    const stanza& one, std::string_view passphrase, unsigned log_work_limit = log_work_max);

// fault::header when a stanza of scrypt stands beside another; otherwise whether there is one.
[[nodiscard]] engine::result<bool> is_for_passphrase(const header& of);

}  // namespace bts3::age
