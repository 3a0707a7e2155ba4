// What a sealed part says of itself, in its header: a stanza of ours, `btrfs_to_s3/part`, which age
// ignores and its MAC covers. With it each part's header has 512 bytes, whatever it says, so that
// offsets are arithmetic:
//
//   version line            22
//   X25519 stanza           54 + 44
//   our argument line       96    "-> btrfs_to_s3/part ID CHUNK PART OFFSET", of fixed widths
//   our body, 183 zeros    248    four lines of base64: 3 * 65 + 53
//   MAC line                48
//                          ---
//                          512
//
// Whether the part is the stream's last it does not say: that is known only behind it, when its
// header has long been hashed. That a stream is whole, its own END command says, with offsets that
// leave no gap and the plain size in the manifest.
#pragma once

#include "engine/age/header.hh"
#include "engine/age/random.hh"
#include "engine/age/stream.hh"
#include "engine/result.hh"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bts3::age {

inline constexpr std::string_view part_type = "btrfs_to_s3/part";
inline constexpr std::size_t part_header_bytes = 512;
// Header and payload nonce: where the segments of a part begin.
inline constexpr std::size_t part_segments_at = part_header_bytes + payload_nonce_bytes;

// Random, of one backup; what manifest, keys and parts of it have in common.
struct backup_id {
  std::array<std::byte, 16> bytes{};

  [[nodiscard]] static engine::result<backup_id> make(const random_source& random);
  // 32 lower-case hexadecimal digits.
  [[nodiscard]] std::string text() const;
  [[nodiscard]] static std::optional<backup_id> parse(std::string_view text);
  bool operator==(const backup_id&) const = default;
};

struct part_place {
  backup_id backup;
  std::uint32_t chunk = 0;   // numbers are the caller's: from 0 or 1, as the manifest has them
  std::uint32_t part = 0;    // within the chunk
  std::uint64_t offset = 0;  // of its first plain byte in the backup's stream

  bool operator==(const part_place&) const = default;
};

[[nodiscard]] stanza part_stanza(const part_place& place);
// fault::header unless it is exactly what part_stanza() makes; the stanza is of part_type.
[[nodiscard]] engine::result<part_place> read_part_stanza(const stanza& from);
// The one stanza of part_type in a header; fault::header where there is none, or more than one.
[[nodiscard]] engine::result<part_place> find_part_stanza(const header& read);

// fault::place, with what differs first, unless they are the same.
[[nodiscard]] engine::result<void> check_place(const part_place& found, const part_place& expected);

// The most plain bytes of a part of `part_bytes`; nullopt for one that has no room for any.
[[nodiscard]] constexpr std::optional<std::uint64_t> part_plain_bytes(std::uint64_t part_bytes) {
  const auto room =
      part_bytes < part_segments_at ? std::nullopt : plain_capacity(part_bytes - part_segments_at);
  return room && *room > 0 ? room : std::nullopt;
}

// Bytes of the part that holds `plain` bytes.
[[nodiscard]] constexpr std::uint64_t part_sealed_bytes(std::uint64_t plain) {
  return part_segments_at + sealed_bytes(plain);
}

// Whether a full part of this size has no byte too few: see plain_capacity().
[[nodiscard]] constexpr bool part_size_is_exact(std::uint64_t part_bytes) {
  const auto plain = part_plain_bytes(part_bytes);
  return plain && part_sealed_bytes(*plain) == part_bytes;
}

}  // namespace bts3::age
