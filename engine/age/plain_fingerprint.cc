#include "engine/age/plain_fingerprint.hh"

#include "engine/age/fault.hh"
#include "engine/age/hex.hh"
#include "engine/assert.hh"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

namespace bts3::age {

std::string recorded_fingerprint::text() const {
  return hex_of(_key) + hex_of(_tag);
}

std::optional<recorded_fingerprint> recorded_fingerprint::parse(std::string_view text) {
  recorded_fingerprint found;
  const std::size_t key_digits = 2 * found._key.size();
  if (text.size() < key_digits || !read_hex(text.substr(0, key_digits), found._key) ||
      !read_hex(text.substr(key_digits), found._tag)) {
    return std::nullopt;
  }
  return found;
}

void plain_fingerprint::freed::operator()(evp_mac_ctx_st* context) const {
  ::EVP_MAC_CTX_free(context);
}

engine::result<plain_fingerprint> plain_fingerprint::fresh(const random_source& random) {
  recorded_fingerprint made;
  auto filled = fill_random(random, made._key);
  if (!filled) {
    return std::move(filled.error());
  }
  return like(made);
}

engine::result<plain_fingerprint> plain_fingerprint::like(const recorded_fingerprint& before) {
  EVP_MAC* const algorithm = ::EVP_MAC_fetch(nullptr, "POLY1305", nullptr);
  context_pointer context(algorithm == nullptr ? nullptr : ::EVP_MAC_CTX_new(algorithm));
  ::EVP_MAC_free(algorithm);
  if (!context ||
      ::EVP_MAC_init(context.get(), reinterpret_cast<const unsigned char*>(before._key.data()),
                     before._key.size(), nullptr) != 1) {
    return library_error("Poly1305");
  }
  return plain_fingerprint(std::move(context), before);
}

engine::result<void> plain_fingerprint::update(std::span<const std::byte> bytes) {
  BTS3_ASSERT(_context);
  if (!bytes.empty() &&
      ::EVP_MAC_update(_context.get(), reinterpret_cast<const unsigned char*>(bytes.data()),
                       bytes.size()) != 1) {
    return library_error("Poly1305");
  }
  return engine::ok();
}

engine::result<recorded_fingerprint> plain_fingerprint::finish() {
  BTS3_ASSERT(_context);
  std::size_t size = 0;
  const bool done =
      ::EVP_MAC_final(_context.get(), reinterpret_cast<unsigned char*>(_made._tag.data()), &size,
                      _made._tag.size()) == 1 &&
      size == _made._tag.size();
  _context.reset();
  if (!done) {
    return library_error("Poly1305");
  }
  return _made;
}

}  // namespace bts3::age
