// The payload of an age file (C2SP age.md, "Payload", a variant of STREAM): segments of 64 KiB,
// each sealed alone with ChaCha20-Poly1305 under the payload key, with a nonce that counts them and
// marks the last. They are sealed and opened where they lie: plain text of 65,536 bytes at a stride
// of 65,552, each tag in the gap behind it.
#pragma once

#include "engine/age/primitives.hh"
#include "engine/age/secret_bytes.hh"
#include "engine/result.hh"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace bts3::age {

inline constexpr std::size_t segment_plain_bytes = 64 * 1024;                  // age.md: "chunk"
inline constexpr std::size_t segment_bytes = segment_plain_bytes + tag_bytes;  // 65,552
inline constexpr std::size_t payload_nonce_bytes = 16;
using payload_nonce = std::array<std::byte, payload_nonce_bytes>;

// How many segments `plain` bytes take; no bytes take one, which is empty.
[[nodiscard]] constexpr std::uint64_t segments_of(std::uint64_t plain) {
  return plain == 0 ? 1 : (plain - 1) / segment_plain_bytes + 1;
}

// Bytes of the segments of `plain` bytes; header and payload nonce come before them.
[[nodiscard]] constexpr std::uint64_t sealed_bytes(std::uint64_t plain) {
  return plain + segments_of(plain) * tag_bytes;
}

// How many plain bytes these segments hold; nullopt when no payload has so many bytes.
[[nodiscard]] constexpr std::optional<std::uint64_t> opened_bytes(std::uint64_t sealed) {
  const std::uint64_t whole = sealed / segment_bytes;
  const std::uint64_t rest = sealed % segment_bytes;
  if (rest == 0 ? whole == 0 : rest < tag_bytes + (whole == 0 ? 0U : 1U)) {
    return std::nullopt;
  }
  return whole * segment_plain_bytes + (rest == 0 ? 0 : rest - tag_bytes);
}

// The most plain bytes whose segments fit into `room` bytes. They fill it, unless 1 to 16 bytes are
// left over behind a whole segment: a last segment that is empty is not allowed. Nullopt when not
// even a tag fits.
[[nodiscard]] constexpr std::optional<std::uint64_t> plain_capacity(std::uint64_t room) {
  if (room < tag_bytes) {
    return std::nullopt;
  }
  const std::uint64_t whole = room / segment_bytes;
  const std::uint64_t rest = room % segment_bytes;
  return whole * segment_plain_bytes + (rest > tag_bytes ? rest - tag_bytes : 0);
}

struct segment_place {
  std::uint64_t index = 0;   // of the segment
  std::uint64_t within = 0;  // of its plain bytes
  std::uint64_t start = 0;   // where the segment begins among the sealed bytes

  bool operator==(const segment_place&) const = default;
};

// Where the plain byte at `offset` lies.
[[nodiscard]] constexpr segment_place place_of(std::uint64_t offset) {
  const std::uint64_t index = offset / segment_plain_bytes;
  return {index, offset % segment_plain_bytes, index * segment_bytes};
}

// Seals the segments of one file in order. Its key is used for this file and goes with it; the
// counter is its own, so that no nonce comes twice.
class stream_sealer {
 public:
  [[nodiscard]] static engine::result<stream_sealer> make(const file_key& key,
                                                          const payload_nonce& nonce);

  // The next segment: the first `plain` bytes of `room` are sealed where they lie, the tag comes
  // behind them. All but the last have segment_plain_bytes; the last is not empty unless it is the
  // first. After the last there is none: all of that is asserted.
  [[nodiscard]] engine::result<void> seal(std::span<std::byte> room, std::size_t plain, bool last);
  // The same as its bytes come, in any pieces of memory: the nonce says from the first one on
  // whether the segment is the last.
  [[nodiscard]] engine::result<void> begin(bool last);
  [[nodiscard]] engine::result<void> update(std::span<std::byte> text);
  [[nodiscard]] engine::result<void> end(std::span<std::byte, tag_bytes> tag);
  // The last one is sealed.
  [[nodiscard]] bool done() const { return _last && !_open; }

 private:
  explicit stream_sealer(aead cipher) : _cipher(std::move(cipher)) {}

  aead _cipher;
  std::uint64_t _next = 0;
  std::size_t _filled = 0;  // of the segment that is open
  bool _open = false;
  bool _last = false;  // no other may begin
};

// Opens segments of one file, in any order; which is the last one follows from the file's length.
class stream_opener {
 public:
  [[nodiscard]] static engine::result<stream_opener> make(const file_key& key,
                                                          const payload_nonce& nonce);

  // The plain text, where it was sealed. fault::payload, and what was there is wiped, unless this
  // is segment `index` of that file and, exactly where `last` says so, its last.
  [[nodiscard]] engine::result<std::span<std::byte>> open(std::span<std::byte> segment,
                                                          std::uint64_t index, bool last);

 private:
  explicit stream_opener(aead cipher) : _cipher(std::move(cipher)) {}

  aead _cipher;
};

}  // namespace bts3::age
