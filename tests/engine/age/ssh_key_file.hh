// A private key in the form in which ssh-keygen writes it.
#pragma once

#include "engine/age/base64.hh"
#include "engine/age/ssh_key.hh"
#include "tests/engine/age/support.hh"

#include <cstdint>
#include <string>

namespace bts3::age::testing {

// Without a passphrase, of a seed that random_bytes() makes of `seed`.
inline std::string ssh_key_file(std::uint64_t seed) {
  const bytes secret = random_bytes(32, seed);
  const ssh_public_key its(value_of(ed25519_point(fixed<32>(secret))));
  bytes section;
  append_ssh_number(section, 7);
  append_ssh_number(section, 7);
  append_ssh_string(section, bytes_of(ed25519_type));
  append_ssh_string(section, its.public_point());
  bytes both = secret;
  both.insert(both.end(), its.public_point().begin(), its.public_point().end());
  append_ssh_string(section, both);
  append_ssh_string(section, bytes_of("a comment"));
  for (unsigned pad = 1; section.size() % 8 != 0; ++pad) {
    section.push_back(static_cast<std::byte>(pad));
  }
  bytes whole = of_text(std::string_view("openssh-key-v1\0", 15));
  append_ssh_string(whole, bytes_of("none"));
  append_ssh_string(whole, bytes_of("none"));
  append_ssh_string(whole, {});
  append_ssh_number(whole, 1);
  append_ssh_string(whole, its.blob());
  append_ssh_string(whole, section);
  return "-----BEGIN OPENSSH PRIVATE KEY-----\n" + base64_encode(whole, padding::filled) +
         "\n-----END OPENSSH PRIVATE KEY-----\n";
}

}  // namespace bts3::age::testing
