#include "engine/age/primitives.hh"

#include "engine/age/fault.hh"
#include "engine/assert.hh"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <climits>

namespace bts3::age {

namespace {

template <auto Free>
struct with {
  template <typename T>
  void operator()(T* one) const {
    Free(one);
  }
};
using key_pointer = std::unique_ptr<EVP_PKEY, with<&::EVP_PKEY_free>>;
using key_context = std::unique_ptr<EVP_PKEY_CTX, with<&::EVP_PKEY_CTX_free>>;
using digest_context = std::unique_ptr<EVP_MD_CTX, with<&::EVP_MD_CTX_free>>;
using kdf_pointer = std::unique_ptr<EVP_KDF, with<&::EVP_KDF_free>>;
using kdf_context = std::unique_ptr<EVP_KDF_CTX, with<&::EVP_KDF_CTX_free>>;

const unsigned char* in(std::span<const std::byte> bytes) {
  // OpenSSL takes null for "not given", which an empty text is not.
  static constexpr unsigned char nothing = 0;
  return bytes.empty() ? &nothing : reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* out(std::span<std::byte> bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}

key_pointer secret_key(int type, std::span<const std::byte, 32> secret) {
  return key_pointer(::EVP_PKEY_new_raw_private_key(type, nullptr, in(secret), secret.size()));
}
key_pointer public_key(int type, std::span<const std::byte, 32> bytes) {
  return key_pointer(::EVP_PKEY_new_raw_public_key(type, nullptr, in(bytes), bytes.size()));
}

engine::result<curve_point> point_of(int type, std::span<const std::byte, 32> secret,
                                     std::string_view what) {
  const key_pointer key = secret_key(type, secret);
  curve_point made{};
  std::size_t size = made.size();
  if (!key || ::EVP_PKEY_get_raw_public_key(key.get(), out(made), &size) != 1 ||
      size != made.size()) {
    return library_error(what);
  }
  return made;
}

template <std::size_t N>
engine::result<std::array<std::byte, N>> digest_of(const EVP_MD* algorithm,
                                                   std::span<const std::byte> message) {
  std::array<std::byte, N> made{};
  unsigned size = 0;
  if (::EVP_Digest(in(message), message.size(), out(made), &size, algorithm, nullptr) != 1 ||
      size != N) {
    return library_error("a digest");
  }
  return made;
}

OSSL_PARAM octets(const char* name, std::span<const std::byte> bytes) {
  return ::OSSL_PARAM_construct_octet_string(name, const_cast<unsigned char*>(in(bytes)),
                                             bytes.size());  // it is only read
}

constexpr std::string_view to_encrypt = "to encrypt with ChaCha20-Poly1305";

}  // namespace

bool same_bytes(std::span<const std::byte> one, std::span<const std::byte> other) {
  return one.size() == other.size() && ::CRYPTO_memcmp(in(one), in(other), one.size()) == 0;
}

engine::result<cipher_key> hkdf_sha256(std::span<const std::byte> input,
                                       std::span<const std::byte> salt, std::string_view info) {
  const kdf_pointer algorithm(::EVP_KDF_fetch(nullptr, OSSL_KDF_NAME_HKDF, nullptr));
  const kdf_context context(::EVP_KDF_CTX_new(algorithm.get()));
  std::array<char, 7> hash{"SHA256"};
  std::array<OSSL_PARAM, 5> parameters{
      ::OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, hash.data(), 0),
      octets(OSSL_KDF_PARAM_KEY, input), octets(OSSL_KDF_PARAM_INFO, bytes_of(info)),
      ::OSSL_PARAM_construct_end(), ::OSSL_PARAM_construct_end()};
  if (!salt.empty()) {  // without one it is as many zero bytes as the hash has: RFC 5869
    parameters[3] = octets(OSSL_KDF_PARAM_SALT, salt);
  }
  cipher_key made;
  if (!context || ::EVP_KDF_derive(context.get(), out(made.writable()), made.view().size(),
                                   parameters.data()) != 1) {
    return library_error("HKDF-SHA-256");
  }
  return made;
}

engine::result<hmac_tag> hmac_sha256(std::span<const std::byte, 32> key,
                                     std::span<const std::byte> message) {
  hmac_tag made{};
  unsigned size = 0;
  if (::HMAC(::EVP_sha256(), in(key), static_cast<int>(key.size()), in(message), message.size(),
             out(made), &size) == nullptr ||
      size != made.size()) {
    return library_error("HMAC-SHA-256");
  }
  return made;
}

engine::result<curve_point> x25519_point(std::span<const std::byte, point_bytes> secret) {
  return point_of(EVP_PKEY_X25519, secret, "a key of X25519");
}

engine::result<secret_bytes<point_bytes>> x25519_shared(
    std::span<const std::byte, point_bytes> secret, std::span<const std::byte, point_bytes> other) {
  const key_pointer mine = secret_key(EVP_PKEY_X25519, secret);
  const key_pointer theirs = public_key(EVP_PKEY_X25519, other);
  const key_context context(mine ? ::EVP_PKEY_CTX_new(mine.get(), nullptr) : nullptr);
  if (!theirs || !context || ::EVP_PKEY_derive_init(context.get()) != 1 ||
      ::EVP_PKEY_derive_set_peer(context.get(), theirs.get()) != 1) {
    return library_error("X25519");
  }
  secret_bytes<point_bytes> made;
  std::size_t size = point_bytes;
  // All zero is what OpenSSL refuses here too; another reason does not exist.
  const bool derived = ::EVP_PKEY_derive(context.get(), out(made.writable()), &size) == 1;
  ::ERR_clear_error();
  constexpr curve_point zero{};
  if (!derived || size != point_bytes || same_bytes(made.view(), zero)) {
    return make_error(fault::header,
                      "the shared secret of X25519 is all zero: a point of small order, which no "
                      "honest writer sends");
  }
  return made;
}

engine::result<cipher_key> scrypt(std::string_view passphrase, std::span<const std::byte> salt,
                                  unsigned log_work) {
  BTS3_ASSERT(log_work >= 1 && log_work < 32);
  constexpr std::uint64_t block = 8;
  const std::uint64_t work = std::uint64_t{1} << log_work;
  // 128 * r * (N + p + 2) bytes, and some for the library.
  const std::uint64_t memory = 128 * block * (work + 32) + (1U << 20U);
  cipher_key made;
  if (::EVP_PBE_scrypt(passphrase.empty() ? "" : passphrase.data(), passphrase.size(), in(salt),
                       salt.size(), work, block, 1, memory, out(made.writable()),
                       made.view().size()) != 1) {
    return library_error("scrypt (it takes " + std::to_string(memory >> 20U) + " MiB of memory)");
  }
  return made;
}

engine::result<digest> sha512(std::span<const std::byte> message) {
  return digest_of<64>(::EVP_sha512(), message);
}

engine::result<hmac_tag> sha256(std::span<const std::byte> message) {
  return digest_of<32>(::EVP_sha256(), message);
}

engine::result<curve_point> ed25519_point(std::span<const std::byte, 32> seed) {
  return point_of(EVP_PKEY_ED25519, seed, "a key of Ed25519");
}

engine::result<ed25519_signature> ed25519_sign(std::span<const std::byte, 32> seed,
                                               std::span<const std::byte> message) {
  const key_pointer key = secret_key(EVP_PKEY_ED25519, seed);
  const digest_context context(::EVP_MD_CTX_new());
  ed25519_signature made{};
  std::size_t size = made.size();
  if (!key || !context ||
      ::EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1 ||
      ::EVP_DigestSign(context.get(), out(made), &size, in(message), message.size()) != 1 ||
      size != made.size()) {
    return library_error("a signature of Ed25519");
  }
  return made;
}

engine::result<bool> ed25519_verify(std::span<const std::byte, 32> key,
                                    const ed25519_signature& signature,
                                    std::span<const std::byte> message) {
  const key_pointer point = public_key(EVP_PKEY_ED25519, key);
  const digest_context context(::EVP_MD_CTX_new());
  if (!point || !context ||
      ::EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, point.get()) != 1) {
    return library_error("Ed25519");
  }
  const int answer = ::EVP_DigestVerify(context.get(), in(signature), signature.size(), in(message),
                                        message.size());
  ::ERR_clear_error();
  return answer == 1;
}

void aead::freed::operator()(evp_cipher_ctx_st* context) const {
  ::EVP_CIPHER_CTX_free(context);  // clears the key
}

engine::result<aead> aead::make(std::span<const std::byte, 32> key, bool seals) {
  context_pointer context(::EVP_CIPHER_CTX_new());
  if (!context || ::EVP_CipherInit_ex(context.get(), ::EVP_chacha20_poly1305(), nullptr, in(key),
                                      nullptr, seals ? 1 : 0) != 1) {
    return library_error("ChaCha20-Poly1305");
  }
  return aead(std::move(context), seals);
}

engine::result<aead> aead::sealing(std::span<const std::byte, 32> key) {
  return make(key, true);
}

engine::result<aead> aead::opening(std::span<const std::byte, 32> key) {
  return make(key, false);
}

engine::result<void> aead::seal(const aead_nonce& with, std::span<std::byte> text,
                                std::span<std::byte, tag_bytes> tag) {
  auto sealed = begin_seal(with);
  if (sealed) {
    sealed = update_seal(text);
  }
  return sealed ? end_seal(tag) : sealed;
}

engine::result<void> aead::begin_seal(const aead_nonce& with) {
  BTS3_ASSERT(_context && _seals);
  if (::EVP_EncryptInit_ex(_context.get(), nullptr, nullptr, nullptr, in(with)) != 1) {
    return library_error(to_encrypt);
  }
  return engine::ok();
}

engine::result<void> aead::update_seal(std::span<std::byte> text) {
  BTS3_ASSERT(_context && _seals && text.size() <= INT_MAX);
  int done = 0;
  if (!text.empty() && (::EVP_EncryptUpdate(_context.get(), out(text), &done, in(text),
                                            static_cast<int>(text.size())) != 1 ||
                        done != static_cast<int>(text.size()))) {
    return library_error(to_encrypt);
  }
  return engine::ok();
}

engine::result<void> aead::end_seal(std::span<std::byte, tag_bytes> tag) {
  BTS3_ASSERT(_context && _seals);
  int rest = 0;
  if (::EVP_EncryptFinal_ex(_context.get(), out(tag), &rest) != 1 || rest != 0 ||
      ::EVP_CIPHER_CTX_ctrl(_context.get(), EVP_CTRL_AEAD_GET_TAG, tag_bytes, out(tag)) != 1) {
    return library_error(to_encrypt);
  }
  return engine::ok();
}

engine::result<bool> aead::open(const aead_nonce& with, std::span<std::byte> text,
                                std::span<const std::byte, tag_bytes> tag) {
  BTS3_ASSERT(_context && !_seals && text.size() <= INT_MAX);
  int done = 0;
  int rest = 0;
  std::array<std::byte, tag_bytes> expected{};
  std::copy(tag.begin(), tag.end(), expected.begin());
  EVP_CIPHER_CTX* const context = _context.get();
  if (::EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, in(with)) != 1 ||
      ::EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, tag_bytes, out(expected)) != 1 ||
      (!text.empty() && ::EVP_DecryptUpdate(context, out(text), &done, in(text),
                                            static_cast<int>(text.size())) != 1) ||
      done != static_cast<int>(text.size())) {
    engine::wipe(text);
    return library_error("to decrypt with ChaCha20-Poly1305");
  }
  std::array<std::byte, tag_bytes> nothing{};
  const bool sound = ::EVP_DecryptFinal_ex(context, out(nothing), &rest) == 1;
  if (!sound) {
    ::ERR_clear_error();
    engine::wipe(text);
  }
  return sound;
}

}  // namespace bts3::age
