// What may be wrong with sealed or signed bytes, told apart: the outcomes that the public vectors
// of age know (C2SP, CCTV/age), and those of signatures.
#pragma once

#include "engine/error.hh"

#include <optional>
#include <string>
#include <string_view>

namespace bts3::age {

enum class fault {
  header,     // not a header of age v1, or a stanza that its type does not allow
  mac,        // a file key was found, and the header is not what its writer made
  no_match,   // no stanza is for any of the keys
  payload,    // a segment is not what its writer made, or the end is missing
  armor,      // not in the text form that it should have
  place,      // a sealed part, and not the one that is expected
  key,        // a key, recipient or line of them that cannot be used
  signature,  // not a signature by a trusted key of these bytes
  random,     // no random bytes could be had
  library,    // OpenSSL refused what it should be able to do
};

// The name that the error carries as its code: "age_header", "age_no_match".
[[nodiscard]] std::string_view code_of(fault what);
// Which one an error is; nullopt for one that was not made here.
[[nodiscard]] std::optional<fault> fault_of(const engine::error& failure);

// Never to be repeated. Header, MAC, payload, place and signature are of reason `integrity`,
// no_match of `access`, key and armor of `configuration`. `message` holds no secret.
[[nodiscard]] engine::error make_error(fault what, std::string message, std::string remedy = {});

// That OpenSSL refused `what`, with its own words; its queue of errors is empty afterwards.
[[nodiscard]] engine::error library_error(std::string_view what);

}  // namespace bts3::age
