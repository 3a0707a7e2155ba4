// What a manifest says of the index of its backup (docs/format.md), and its JSON form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace bts3::planner {

struct index_record {
  std::string key;         // full key, beside the backup's chunks
  std::uint64_t size = 0;  // bytes of the object
  std::string sha256;      // of the object, 64 lower-case hexadecimal digits
  // Of the index itself, where the object is sealed; both or none.
  std::optional<std::uint64_t> plain_size;
  std::optional<std::string> plain_sha256;

  bool operator==(const index_record&) const = default;
};

// S3's largest object. An index has some 30 bytes a file.
inline constexpr std::uint64_t index_bytes_max = 5ULL << 40;

}  // namespace bts3::planner
