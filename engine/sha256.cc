#define OPENSSL_SUPPRESS_DEPRECATED

#include "engine/sha256.hh"

#include "engine/assert.hh"

#include <openssl/sha.h>

#include <cstring>

namespace bts3::engine {

namespace {

static_assert(sizeof(SHA256_CTX) == 112 && alignof(SHA256_CTX) <= 8);

// The context is trivially copyable, so it may be moved in and out of plain bytes.
SHA256_CTX load(const std::array<std::byte, 112>& bytes) {
  SHA256_CTX context;
  std::memcpy(&context, bytes.data(), sizeof context);
  return context;
}

void store(const SHA256_CTX& context, std::array<std::byte, 112>& bytes) {
  std::memcpy(bytes.data(), &context, sizeof context);
}

sha256_state words_of(const SHA256_CTX& context) {
  sha256_state state;
  for (std::size_t i = 0; i < state.words.size(); ++i) {
    state.words[i] = context.h[i];
  }
  return state;
}

}  // namespace

std::string sha256_state::hex() const {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(64);
  for (const std::uint32_t word : words) {
    for (int shift = 28; shift >= 0; shift -= 4) {
      text += digits[(word >> shift) & 0xf];
    }
  }
  return text;
}

std::optional<sha256_state> sha256_state::from_hex(std::string_view text) {
  sha256_state state;
  if (text.size() != 64) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    std::uint32_t digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<std::uint32_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<std::uint32_t>(c - 'a' + 10);
    } else {
      return std::nullopt;
    }
    state.words[i / 8] = (state.words[i / 8] << 4) | digit;
  }
  return state;
}

sha256_hasher::sha256_hasher() {
  SHA256_CTX context;
  SHA256_Init(&context);
  store(context, _context);
}

sha256_hasher::sha256_hasher(const sha256_state& state, std::uint64_t bytes_before)
    : _bytes(bytes_before) {
  BTS3_ASSERT(bytes_before % sha256_block_bytes == 0);
  SHA256_CTX context;
  SHA256_Init(&context);
  for (std::size_t i = 0; i < state.words.size(); ++i) {
    context.h[i] = state.words[i];
  }
  // Nl and Nh are the low and high word of the length in bits.
  const std::uint64_t bits = bytes_before * 8;
  context.Nl = static_cast<SHA_LONG>(bits & 0xffff'ffff);
  context.Nh = static_cast<SHA_LONG>(bits >> 32);
  store(context, _context);
}

void sha256_hasher::update(std::span<const std::byte> bytes) {
  SHA256_CTX context = load(_context);
  SHA256_Update(&context, bytes.data(), bytes.size());
  store(context, _context);
  _bytes += bytes.size();
}

std::optional<sha256_state> sha256_hasher::state() const {
  if (_bytes % sha256_block_bytes != 0) {
    return std::nullopt;
  }
  const SHA256_CTX context = load(_context);
  BTS3_ASSERT(context.num == 0);
  return words_of(context);
}

sha256_state sha256_hasher::digest() const {
  SHA256_CTX context = load(_context);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> raw{};
  SHA256_Final(raw.data(), &context);
  sha256_state digest;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    digest.words[i / 4] = (digest.words[i / 4] << 8) | raw[i];
  }
  return digest;
}

}  // namespace bts3::engine
