// The nouns of S3's verbs, each with a type of its own, so that a key cannot be passed for an
// upload id.
#pragma once

#include "s3/http/named_string.hh"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace bts3::s3 {

// A whole key, prefix included, not percent-encoded, without a leading slash.
using object_key = named_string<struct object_key_tag>;
inline constexpr std::size_t object_key_bytes_max = 1024;
using upload_id = named_string<struct upload_id_tag>;
// As the API spells it: STANDARD, STANDARD_IA, GLACIER_IR, GLACIER, DEEP_ARCHIVE, ... Empty: the
// store did not say, which on AWS means STANDARD.
using storage_class = named_string<struct storage_class_tag>;

// An entity tag, kept without its quotes.
class etag {
 public:
  etag() = default;
  // Takes the header's form, with or without quotes.
  explicit etag(std::string_view header) {
    if (header.size() >= 2 && header.front() == '"' && header.back() == '"') {
      header = header.substr(1, header.size() - 2);
    }
    _text = header;
  }
  [[nodiscard]] const std::string& str() const { return _text; }
  [[nodiscard]] std::string quoted() const { return '"' + _text + '"'; }
  [[nodiscard]] bool empty() const { return _text.empty(); }
  // Whether it can stand in a header: without control characters and not endless; empty does.
  [[nodiscard]] bool can_be_sent() const {
    return _text.size() <= 1024 && std::all_of(_text.begin(), _text.end(), [](char c) {
             const auto code = static_cast<unsigned char>(c);
             return code >= 0x20 && code != 0x7f;
           });
  }
  bool operator==(const etag&) const = default;

 private:
  std::string _text;
};

// From 1; S3 allows 10,000 parts in an upload.
using part_number = std::uint32_t;
inline constexpr part_number part_number_max = 10'000;

// `length` bytes from `offset` on; length is at least 1.
struct byte_range {
  byte_range(std::uint64_t first, std::uint64_t count) : offset(first), length(count) {}
  std::uint64_t offset;
  std::uint64_t length;
};

}  // namespace bts3::s3
