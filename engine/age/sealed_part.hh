// The parts of a sealed backup: each a complete age file for the backup's own key, sealed and
// opened where it lies in its slot.
//
//   0      header, 512 bytes (part_stanza.hh)
//   512    payload nonce, 16 bytes
//   528    segments: 65,536 plain bytes at a stride of 65,552, the last one shorter
//
// A part key is never used twice: part_sealer hands out none. It makes one for each part that is
// begun, which goes with that part; each segment is sealed once, in order. Whoever needs the same
// bytes again keeps them, and whoever seals the same text again begins another part.
#pragma once

#include "engine/age/part_stanza.hh"
#include "engine/age/random.hh"
#include "engine/age/secret_bytes.hh"
#include "engine/age/stream.hh"
#include "engine/age/x25519.hh"
#include "engine/result.hh"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace bts3::age {

// One part that is being sealed. Moved, never copied; for one thread at a time.
class part_in_sealing {
 public:
  // Header and payload nonce into the part's beginning. At any time, once: that is asserted.
  [[nodiscard]] engine::result<void> write_header(std::span<std::byte, part_segments_at> to);
  // The next segment: the first `plain` bytes of `room` where they lie, the tag behind them. All
  // but the part's last have segment_plain_bytes, and the last is not empty unless it is the only
  // one.
  [[nodiscard]] engine::result<void> seal(std::span<std::byte> room, std::size_t plain,
                                          bool last_of_part) {
    return _segments.seal(room, plain, last_of_part);
  }
  // The same as its bytes come.
  [[nodiscard]] engine::result<void> begin_segment(bool last_of_part) {
    return _segments.begin(last_of_part);
  }
  [[nodiscard]] engine::result<void> update(std::span<std::byte> text) {
    return _segments.update(text);
  }
  [[nodiscard]] engine::result<void> end_segment(std::span<std::byte, tag_bytes> tag) {
    return _segments.end(tag);
  }
  // Whether the last segment is sealed and the header written.
  [[nodiscard]] bool done() const { return _segments.done() && _key.empty(); }

 private:
  friend class part_sealer;
  part_in_sealing(file_key key, const payload_nonce& nonce, stanza for_backup,
                  const part_place& place, stream_sealer segments)
      : _key(std::move(key)),
        _nonce(nonce),
        _for_backup(std::move(for_backup)),
        _place(place),
        _segments(std::move(segments)) {}

  file_key _key;  // empty once the header is written
  payload_nonce _nonce;
  stanza _for_backup;
  part_place _place;
  stream_sealer _segments;
};

// Seals parts of one backup with the public half of its key. Any thread may begin parts, if
// `random` allows that.
class part_sealer {
 public:
  part_sealer(const x25519_recipient& to, const backup_id& backup, random_source random)
      : _to(to), _backup(backup), _random(std::move(random)) {}

  // Begins a part under a key of its own; `offset` is that of its first plain byte in the stream.
  // fault::random when no key could be made.
  [[nodiscard]] engine::result<part_in_sealing> begin(std::uint32_t chunk, std::uint32_t part,
                                                      std::uint64_t offset) const;

 private:
  x25519_recipient _to;
  backup_id _backup;
  random_source _random;
};

// One part whose header was found to be the expected one. Segments in any order; for one thread at
// a time.
class part_in_opening {
 public:
  [[nodiscard]] std::uint64_t plain_bytes() const { return _plain; }
  [[nodiscard]] std::uint64_t segments() const { return segments_of(_plain); }
  // Where segment `index` lies in the part, its tag included.
  [[nodiscard]] std::pair<std::uint64_t, std::size_t> range_of(std::uint64_t index) const;
  // Opens it where it lies. fault::payload, and the segment is wiped, unless it is the one that it
  // should be. `index` is below segments(), and `segment` has the length of range_of(): asserted.
  [[nodiscard]] engine::result<std::span<std::byte>> open(std::span<std::byte> segment,
                                                          std::uint64_t index);

 private:
  friend class part_opener;
  part_in_opening(stream_opener segments, std::uint64_t plain)
      : _segments(std::move(segments)), _plain(plain) {}

  stream_opener _segments;
  std::uint64_t _plain;
};

// Opens parts of one backup with the secret half of its key.
class part_opener {
 public:
  explicit part_opener(x25519_identity with) : _with(std::move(with)) {}
  // For what else is sealed to the backup's key.
  [[nodiscard]] const x25519_identity& identity() const { return _with; }

  // By the part's first part_segments_at bytes and its length. fault::header, mac, no_match,
  // payload (for a length that no part has); fault::place when the part is sound and another than
  // `expected`.
  [[nodiscard]] engine::result<part_in_opening> begin(std::span<const std::byte> beginning,
                                                      std::uint64_t part_bytes,
                                                      const part_place& expected) const;

 private:
  x25519_identity _with;
};

}  // namespace bts3::age
