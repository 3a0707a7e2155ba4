// Who signs manifests, and whose signatures count: keys of Ed25519 in OpenSSH's forms.
#pragma once

#include "engine/age/allowed_signers.hh"
#include "engine/age/ssh_key.hh"
#include "engine/result.hh"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
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

// What the signature beside a manifest says of it.
struct signature_finding {
  enum class what {
    none,     // there is no signature
    trusted,  // one of the signers made it, whose key was valid then
    other,    // it is one of these bytes, by a key that does not count: `problem` says why
    bad,      // it is not one of these bytes, or none at all: `problem`
  };
  what is = what::none;
  std::string signer;       // the principals of `trusted`; may be empty
  std::string fingerprint;  // SHA256:... of the key that made it; of `bad` empty
  std::string problem;      // a part of a sentence; empty: `trusted`
};

// Of the exact bytes of a manifest that was made at `when`, the time at which a key must be valid.
// No signers: nobody is trusted.
[[nodiscard]] signature_finding judge_signature(std::string_view manifest,
                                                const std::optional<std::string>& signature,
                                                const std::vector<age::allowed_signer>& signers,
                                                std::chrono::sys_seconds when);

}  // namespace bts3::app
