// What signatures of backups say, for people and machines.
#pragma once

#include "app/secrets/signing.hh"

#include <cstddef>
#include <map>
#include <string>

namespace bts3::app {

// "alice (SHA256:...)", "SHA256:... (its key is not among the trusted signers)", "nobody".
[[nodiscard]] std::string signer_text(const signature_finding& found);

// How many backups whom is said to have signed, by signer_text(): "signed by alice (SHA256:...): 5;
// by nobody: 1".
[[nodiscard]] std::string signers_text(const std::map<std::string, std::size_t>& counts);

// {"status": "trusted", "signer": ..., "fingerprint": ..., "problem": ...}; null for what is not
// there. The status is trusted, other, bad or none.
[[nodiscard]] std::string signature_json_text(const signature_finding& found);

}  // namespace bts3::app
