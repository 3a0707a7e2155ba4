// The manifest: what a backup consists of and how to check it. Format version 1.
//
// Written by this program and by the earlier Python tool; what that tool did not know is optional
// here. Readers ignore unknown fields, so that newer writers may add some.
#pragma once

#include "planner/error.hh"
#include "planner/timestamp.hh"

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
  std::string path;
  std::optional<std::string> uuid;  // absent in manifests of the earlier tool
  std::optional<std::string> parent_uuid;
  std::optional<std::string> received_uuid;  // when the snapshot had itself been received
  std::optional<std::uint64_t> ctransid;
};

struct chunk_record {
  std::string key;         // full key, prefix included
  std::uint64_t size = 0;  // bytes
  std::string sha256;      // of the whole object, 64 lower-case hexadecimal digits
  std::optional<std::string> etag;
  // The three below come together or not at all.
  std::optional<std::uint64_t> part_size;  // bytes, a multiple of 64; the last part may be shorter
  std::vector<std::uint32_t> part_crc32;   // one for each of the n parts
  // SHA-256's state after each part but the last: n - 1 strings of 64 hexadecimal digits.
  std::vector<std::string> part_states;

  [[nodiscard]] bool has_parts() const { return part_size.has_value(); }
};

struct stream_record {
  int protocol = 1;
  bool compressed_data = false;
  std::uint64_t commands = 0;
};

struct manifest {
  std::string subvolume;
  backup_kind kind = backup_kind::full;
  timestamp created_at;
  snapshot_record snapshot;
  std::optional<std::string> parent_manifest;  // full key; present exactly for incrementals
  std::vector<chunk_record> chunks;            // in stream order
  std::uint64_t total_bytes = 0;
  std::uint64_t chunk_size = 0;
  std::string storage_class;
  std::optional<stream_record> stream;
  std::string tool_name;
  std::string tool_version;
  std::string host_id;  // empty when not recorded
  std::string host_name;
};

// A manifest of 40,000 parts has about 3 MiB; ten times that is refused.
inline constexpr std::size_t manifest_bytes_max = 64 * 1024 * 1024;

// Errors name the field. A higher version is refused with "written by a newer version".
outcome<manifest> parse_manifest(std::string_view json);
// Deterministic: equal values give equal bytes.
std::string write_manifest(const manifest& value);

}  // namespace bts3::planner
