// Detached signatures in the form of OpenSSH's PROTOCOL.sshsig, by keys of Ed25519: what
// `ssh-keygen -Y sign` makes and `ssh-keygen -Y verify` checks.
#pragma once

#include "engine/age/allowed_signers.hh"
#include "engine/age/ssh_key.hh"
#include "engine/result.hh"

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::age {

// What our signatures are for; a signature for something else is none.
inline constexpr std::string_view signature_namespace = "btrfs_to_s3";
// Of what is read; one of ours has some 300.
inline constexpr std::size_t signature_bytes_max = 16 * 1024;

// Over SHA-512 of the message, "-----BEGIN SSH SIGNATURE-----", lines of 70 columns.
[[nodiscard]] engine::result<std::string> sign_message(const ssh_private_key& by,
                                                       std::span<const std::byte> message,
                                                       std::string_view name_space);

// Which of `signers` signed it, at `when`: the time at which its key must be valid.
// fault::signature when it is not one of this message for this namespace (hashed with SHA-512 or
// SHA-256), or by a key that is not among them, or not valid then; fault::armor for what is no
// signature at all.
[[nodiscard]] engine::result<allowed_signer> verify_message(std::string_view signature,
                                                            std::span<const std::byte> message,
                                                            std::string_view name_space,
                                                            std::span<const allowed_signer> signers,
                                                            std::chrono::sys_seconds when);

// By whose key it says it is; nothing is verified. To be shown only.
[[nodiscard]] engine::result<ssh_public_key> claimed_signer(std::string_view signature);

}  // namespace bts3::age
