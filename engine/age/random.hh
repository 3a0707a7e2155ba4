// Where random bytes come from: passed in, so that a test can give its own and can fail.
#pragma once

#include "engine/result.hh"

#include <cstddef>
#include <functional>
#include <span>

namespace bts3::age {

// Fills all of it, or says false. Called from the thread that asks for a key.
using random_source = std::function<bool(std::span<std::byte>)>;

// RAND_priv_bytes: OpenSSL's generator for what must stay secret, seeded by the kernel.
[[nodiscard]] random_source system_random();

// Fills `bytes`, or fails with fault::random; then they are zero. At least 16 bytes that are all
// zero are taken for a source that fails without saying so (chance: 2^-128).
[[nodiscard]] engine::result<void> fill_random(const random_source& from,
                                               std::span<std::byte> bytes);

}  // namespace bts3::age
