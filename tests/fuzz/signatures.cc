// Signatures, public and private keys, lines of allowed_signers.
#include "engine/age/allowed_signers.hh"
#include "engine/age/ssh_key.hh"
#include "engine/age/ssh_signature.hh"
#include "tests/fuzz/input.hh"

#include <chrono>
#include <vector>

using namespace bts3;
using namespace bts3::age;

FUZZ(one) {
  const auto local = [](std::chrono::local_seconds when) {
    return std::chrono::sys_seconds(when.time_since_epoch());
  };
  bool valid = claimed_signer(one.text()).has_value();
  std::vector<allowed_signer> signers;
  if (const auto read = parse_allowed_signers(one.text(), local)) {
    valid = true;
    BTS3_ASSERT(!read->empty());
    for (const auto& signer : *read) {
      (void)signer.is_for(signature_namespace);
      (void)signer.is_valid_at(std::chrono::sys_seconds(std::chrono::seconds(1'800'000'000)));
      BTS3_ASSERT(signer.key.fingerprint());
    }
    signers = *read;
  }
  valid = ssh_public_key::parse(one.text()).has_value() || valid;
  valid = ssh_private_key::parse(one.text()).has_value() || valid;
  const auto message = std::as_bytes(std::span<const char>("a message", 9));
  (void)verify_message(one.text(), message, signature_namespace, signers,
                       std::chrono::sys_seconds(std::chrono::seconds(1'800'000'000)));
  if (valid) {
    one.accepted();
  }
}
