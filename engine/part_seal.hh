// Sealing parts where they lie, seen from the data path: where plain bytes go, and what seals them.
// The cipher itself is in engine/age, which this folder does not know.
//
//   0       head (header and nonce)
//   head    segments: stride - gap plain bytes, then a gap for the tag; the last one is shorter
//
// Plain bytes are read to where their cipher text will be, at the stride, so that nothing is copied
// and no memory is needed beside the slot. A segment's cipher says whether it is the part's last
// one, which is known once a byte comes behind it or the part has ended: sealing follows reading by
// one segment. Whether a part is the stream's last is known only behind it, when its head has long
// been hashed; so no part says so, and the stream's own end does.
#pragma once

#include "engine/assert.hh"
#include "engine/result.hh"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace bts3::engine {

// Of a whole part or chunk; "plain" counts bytes of the stream, everything else bytes of the part.
// As it stands here nothing is sealed, and both are the same.
struct seal_layout {
  std::size_t head = 0;
  std::size_t stride = 0;  // 0: not sealed
  std::size_t gap = 0;     // of these, behind the plain bytes

  struct range {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool operator==(const range&) const = default;
  };

  [[nodiscard]] constexpr bool seals() const { return stride > 0; }
  [[nodiscard]] constexpr std::size_t segment_plain() const { return stride - gap; }
  // Bytes of the part that holds `plain` bytes. Of none there is no part: 0.
  [[nodiscard]] constexpr std::uint64_t sealed_bytes(std::uint64_t plain) const {
    return !seals() || plain == 0
               ? plain
               : head + plain + ((plain - 1) / segment_plain() + 1) * std::uint64_t{gap};
  }
  // The most plain bytes of a part that has at most `room` bytes; 0 where there is room for none.
  [[nodiscard]] constexpr std::uint64_t plain_bytes_max(std::uint64_t room) const {
    if (!seals()) {
      return room;
    }
    if (room <= head) {
      return 0;
    }
    const std::uint64_t rest = (room - head) % stride;
    return (room - head) / stride * segment_plain() + (rest > gap ? rest - gap : 0);
  }
  // Where the plain byte at `plain` lies.
  [[nodiscard]] constexpr std::uint64_t place_of(std::uint64_t plain) const {
    return seals() ? head + plain / segment_plain() * stride + plain % segment_plain() : plain;
  }
  // How many plain bytes lie before `offset`.
  [[nodiscard]] constexpr std::uint64_t plain_before(std::uint64_t offset) const {
    if (!seals()) {
      return offset;
    }
    return offset <= head ? 0
                          : (offset - head) / stride * segment_plain() +
                                std::min<std::uint64_t>((offset - head) % stride, segment_plain());
  }
  // The bytes that plain bytes from `plain` on may be read into without a gap between them; at most
  // `most` of them.
  [[nodiscard]] constexpr range readable(std::uint64_t plain, std::uint64_t most) const {
    return {
        place_of(plain),
        seals() ? std::min<std::uint64_t>(most, segment_plain() - plain % segment_plain()) : most};
  }
};

// Seals one part, in order: the head, then each segment. What fails has sealed nothing that may be
// used, and nothing is to be asked of it afterwards. For one thread at a time.
class part_seal {
 public:
  virtual ~part_seal() = default;

  // All of `to`, which has layout.head bytes. Once, before the segments.
  [[nodiscard]] virtual result<void> write_head(std::span<std::byte> to) = 0;
  // The next segment begins; `last`: the part ends with it.
  [[nodiscard]] virtual result<void> begin_segment(bool last) = 0;
  // Its next bytes, however many, where they lie.
  [[nodiscard]] virtual result<void> seal(std::span<std::byte> bytes) = 0;
  // It has ended: what belongs into the gap, all of `tag`, which has layout.gap bytes.
  [[nodiscard]] virtual result<void> end_segment(std::span<std::byte> tag) = 0;
};

// A fingerprint of what its chunk stores before a part (the SHA-256) and of the part's plain text:
// equal ones tell that it is the same as before, without telling anything of it.
class text_fingerprint {
 public:
  virtual ~text_fingerprint() = default;

  [[nodiscard]] virtual result<void> update(std::span<const std::byte> plain) = 0;
  // Of all that came, as one token that may be kept. Once, at the end.
  [[nodiscard]] virtual result<std::string> finish() = 0;
};

// What seals the parts of a stream. Called from the hash worker's thread only, one call at a time.
class seal_factory {
 public:
  virtual ~seal_factory() = default;

  // Constant.
  [[nodiscard]] virtual seal_layout layout() const = 0;
  // Seals under a key that is made here and was never used; `plain_offset` is that of the part's
  // first plain byte in the stream. Chunks count from 0 and parts from 1, as in part_stream.
  [[nodiscard]] virtual result<std::unique_ptr<part_seal>> begin(std::uint32_t chunk,
                                                                 std::uint32_t part,
                                                                 std::uint64_t plain_offset) = 0;
  // Null where nobody keeps fingerprints.
  [[nodiscard]] virtual result<std::unique_ptr<text_fingerprint>> fingerprint() = 0;
  // To compare with one that fingerprint() gave in this run or an earlier one; never null. Fails
  // when `recorded` is none.
  [[nodiscard]] virtual result<std::unique_ptr<text_fingerprint>> fingerprint_like(
      const std::string& recorded) = 0;
};

}  // namespace bts3::engine
