// The manifest: what a backup consists of and how to check it. Format version 1, and 2 for a backup
// that is sealed.
//
// Written by this program and by the earlier Python tool; what that tool did not know is optional
// here. Readers ignore unknown fields, so that newer writers may add some.
#pragma once

#include "planner/error.hh"
#include "planner/index_record.hh"
#include "planner/timestamp.hh"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::planner {

enum class backup_kind { full, incremental };
[[nodiscard]] std::string_view to_string(backup_kind kind);

struct snapshot_record {
  std::string name;
  std::string path;                 // of a sealed backup empty: it is in the sealed member
  std::optional<std::string> uuid;  // absent in manifests of the earlier tool
  std::optional<std::string> parent_uuid;
  std::optional<std::string> received_uuid;  // when the snapshot had itself been received
  std::optional<std::uint64_t> ctransid;
};

// SHA-256's eight words, of a state or a digest.
using sha256_words = std::array<std::uint32_t, 8>;

struct chunk_record {
  std::string key;         // full key, prefix included
  std::uint64_t size = 0;  // bytes
  std::string sha256;      // of the whole object, 64 lower-case hexadecimal digits
  std::optional<std::string> etag;
  // The three below come together or not at all.
  std::optional<std::uint64_t> part_size;  // bytes, a multiple of 64; the last part may be shorter
  std::vector<std::uint32_t> part_crc32;   // one for each of the n parts
  std::vector<sha256_words> part_states;   // after each part but the last: n - 1
  std::uint64_t plain_size = 0;  // bytes of the stream in it; 0 where the backup is not sealed

  [[nodiscard]] bool has_parts() const { return part_size.has_value(); }
  // For whoever needs sizes alone: of a large chunk nearly all memory is in these.
  void drop_parts() {
    part_crc32 = std::vector<std::uint32_t>();
    part_states = std::vector<sha256_words>();
  }
};

struct stream_record {
  int protocol = 1;
  bool compressed_data = false;
  std::uint64_t commands = 0;
};

// How a backup is sealed: each part of its chunks is an age file to the backup's own key, which is
// in the keys object, sealed in its turn for the recipients.
struct encryption_record {
  std::string backup_id;  // 32 lower-case hexadecimal digits: in each part's header, too
  std::string keys_key;   // full key of the keys object
  // For whom it was sealed when it was made, by their keys' fingerprints, "SHA256:..."; who else
  // may open it by now, its keys object knows.
  std::vector<std::string> recipients;
  // An age file to the backup's key, in base64: source path, snapshot path and host name as JSON.
  std::string sealed;

  bool operator==(const encryption_record&) const = default;
};

struct manifest {
  std::string subvolume;
  backup_kind kind = backup_kind::full;
  timestamp created_at;
  snapshot_record snapshot;
  std::optional<std::string> parent_manifest;  // full key; present exactly for incrementals
  // SHA-256 of the parent's manifest as it lies in the bucket, 64 lower-case hexadecimal digits.
  std::optional<std::string> parent_manifest_sha256;
  std::vector<chunk_record> chunks;  // in stream order
  std::uint64_t total_bytes = 0;
  std::uint64_t chunk_size = 0;
  std::string storage_class;
  std::optional<stream_record> stream;
  std::string tool_name;
  std::string tool_version;
  std::string host_id;    // empty when not recorded
  std::string host_name;  // of a sealed backup empty, as its snapshot's path is
  std::optional<encryption_record> encryption;  // exactly where the backup is sealed: version 2
  std::optional<index_record> index;            // where one was made
};

// What write_manifest() takes at most.
//   64 KiB beside the chunks: names and paths (a path has 4,096 bytes at most), or instead of the
//     paths the sealed member (sealed_text_bytes_max); the index has less than 4 KiB
//   4 KiB for a chunk without its parts: a key has 1,024 bytes at most, of which JSON makes three
//     each at most; digest, sizes, ETag and field names have less than 1 KiB
//   78 bytes for a part: 8 of a checksum, 64 of a state, quotes and commas
[[nodiscard]] constexpr std::uint64_t manifest_bytes_for(std::uint64_t parts,
                                                         std::uint64_t chunks) {
  return 64 * 1024 + chunks * 4096 + parts * 78;
}

// What is written and read: ten million parts in ten thousand chunks (783 MiB), of 128 MiB a stream
// of 1.16 PiB, of 5 MiB one of 47 TiB. A manifest is in memory as a whole while it is written or
// read: reading takes four times its size.
inline constexpr std::uint64_t manifest_bytes_max = manifest_bytes_for(10'000'000, 10'000);

// What a manifest may say, whoever wrote it. Everything beyond is refused while it is parsed, so
// that nothing that works with one has to reckon with it.
inline constexpr std::uint64_t chunks_max = 1'000'000;         // as many as a listing may have
inline constexpr std::uint64_t part_bytes_max = 5ULL << 30;    // S3's limit
inline constexpr std::uint64_t chunk_bytes_max = 1ULL << 50;   // twenty times S3's limit
inline constexpr std::uint64_t stream_bytes_max = 1ULL << 60;  // of all chunks together
inline constexpr std::size_t manifest_key_bytes_max = 1024;    // S3's limit for a key
inline constexpr std::uint64_t stream_protocol_max = 1'000;    // there are 1, 2 and 3

inline constexpr std::size_t sealed_recipients_max = 100;
// "SHA256:" and 32 bytes in base64 without padding.
inline constexpr std::size_t recipient_letters = 7 + 43;
// Two paths of 4,096 bytes and a name of 64, each byte as four of JSON, in an age file, in base64.
inline constexpr std::size_t sealed_text_bytes_max = 48 * 1024;

// A part that is sealed, in bytes: age's header as this program writes it, the payload's nonce,
// then segments with a tag each, the last of which is shorter (C2SP age.md).
inline constexpr std::uint64_t sealed_header_bytes = 512;
inline constexpr std::uint64_t sealed_nonce_bytes = 16;
inline constexpr std::uint64_t sealed_segment_bytes = 65'536;
inline constexpr std::uint64_t sealed_tag_bytes = 16;
// How many bytes of the stream are in such a part; nullopt for a length that none has.
[[nodiscard]] std::optional<std::uint64_t> plain_bytes_of_part(std::uint64_t part_bytes);
// In a chunk of `size` bytes of such parts; nullopt likewise.
[[nodiscard]] std::optional<std::uint64_t> plain_bytes_of_chunk(std::uint64_t size,
                                                                std::uint64_t part_size);

// Whether it can be a key: not empty, not too long, and no control characters in it.
[[nodiscard]] bool can_be_key(std::string_view text);

// Errors name the field. A higher version is refused with "written by a newer version", and more
// than `bytes_max` unread.
outcome<manifest> parse_manifest(std::string_view json,
                                 std::uint64_t bytes_max = manifest_bytes_max);
// Deterministic: equal values give equal bytes. On one line, as most of a large one are digests.
std::string write_manifest(const manifest& value);

}  // namespace bts3::planner
