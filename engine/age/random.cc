#include "engine/age/random.hh"

#include "engine/age/fault.hh"
#include "engine/secret_string.hh"

#include <openssl/err.h>
#include <openssl/rand.h>

#include <algorithm>
#include <climits>

namespace bts3::age {

random_source system_random() {
  return [](std::span<std::byte> bytes) {
    if (bytes.size() > INT_MAX) {
      return false;
    }
    const bool done = ::RAND_priv_bytes(reinterpret_cast<unsigned char*>(bytes.data()),
                                        static_cast<int>(bytes.size())) == 1;
    ::ERR_clear_error();
    return done;
  };
}

engine::result<void> fill_random(const random_source& from, std::span<std::byte> bytes) {
  const bool told = from && from(bytes);
  const bool all_zero =
      std::all_of(bytes.begin(), bytes.end(), [](std::byte one) { return one == std::byte{0}; });
  if (!told || (bytes.size() >= 16 && all_zero)) {
    engine::wipe(bytes);
    return make_error(fault::random, "no random bytes for a key could be had",
                      "nothing was encrypted; see whether getrandom(2) works on this host");
  }
  return engine::ok();
}

}  // namespace bts3::age
