// Who signs manifests, and whose signatures count: keys of Ed25519 in OpenSSH's forms.
#pragma once

#include "engine/age/allowed_signers.hh"
#include "engine/age/ssh_key.hh"
#include "engine/result.hh"

#include <string>
#include <vector>

namespace bts3::app {

// A private key as `ssh-keygen -t ed25519 -N ''` writes it: nobody is there at night to type a
// passphrase, so one that has a passphrase is refused with the way to take it off. The file is
// refused where others can read it, as ssh does. Errors, of reason configuration, name the file.
// Blocks.
[[nodiscard]] engine::result<age::ssh_private_key> read_signing_key(const std::string& path);

// A file of the form of allowed_signers (ssh-keygen(1)), or a public key alone (*.pub). Refused
// where others can write to it. Times without "Z" are of this host's zone, as for ssh-keygen.
// Blocks.
[[nodiscard]] engine::result<std::vector<age::allowed_signer>> read_trusted_signers(
    const std::string& path);

}  // namespace bts3::app
