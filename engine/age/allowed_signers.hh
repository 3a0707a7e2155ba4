// Who may sign: lines of the form of ssh-keygen's allowed_signers (ssh-keygen(1), "ALLOWED
// SIGNERS").
//
//   PRINCIPALS [OPTIONS] ssh-ed25519 AAAA... [COMMENT]
//
// Principals say whom a key belongs to. What is signed here claims nobody's name, so any line's key
// counts, whatever its principals; they are kept to be shown.
#pragma once

#include "engine/age/ssh_key.hh"
#include "engine/result.hh"

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::age {

struct allowed_signer {
  std::string principals;
  ssh_public_key key;
  std::string namespaces;  // patterns separated by commas, as in the option; empty: all
  std::optional<std::chrono::sys_seconds> valid_after;
  std::optional<std::chrono::sys_seconds> valid_before;

  [[nodiscard]] bool is_for(std::string_view name_space) const;
  [[nodiscard]] bool is_valid_at(std::chrono::sys_seconds when) const;
};

// What a date without "Z" means, which is the host's local time to ssh-keygen. Where there is no
// such function, such a date is refused.
using local_time = std::function<std::chrono::sys_seconds(std::chrono::local_seconds)>;

// At most this many lines with a key.
inline constexpr std::size_t signers_max = 1000;

// At least one signer. Lines with keys of other types, and those of certificate authorities, are
// passed over: such keys sign nothing that is accepted here. fault::key names a line that cannot be
// read, one with an option that is not known included. A line with a key alone, without principals
// (a .pub file), is taken too.
[[nodiscard]] engine::result<std::vector<allowed_signer>> parse_allowed_signers(
    std::string_view text, const local_time& local);

}  // namespace bts3::age
