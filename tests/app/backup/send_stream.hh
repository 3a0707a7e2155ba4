// A send stream for tests of restores, and its digest.
#pragma once

#include "engine/sha256.hh"
#include "tests/support/send_commands.hh"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace bts3::testing {

// A send stream of about `bytes`: SUBVOL, many WRITEs, END.
inline std::string stream_of(std::size_t bytes) {
  return send::stream(bytes);
}

inline std::span<const std::byte> octets_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

inline std::string digest_of(std::string_view text) {
  engine::sha256_hasher hasher;
  hasher.update(octets_of(text));
  return hasher.digest().hex();
}

}  // namespace bts3::testing
