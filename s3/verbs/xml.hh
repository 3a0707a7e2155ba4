// S3's XML answers as values, and the two documents that are sent.
//
// pugixml parses: it processes no DTD, so entities other than XML's own five and character
// references stay as they stand. Documents above xml_bytes_max are refused; nesting costs neither
// stack nor time, as parsing does not recurse and only fixed paths are read.
//
// Names are understood with a prefix ("<ns2:ListBucketResult>") as without. Keys in listings are
// decoded where the document says that they are percent-encoded, which the requests ask for: other
// programs' keys may hold what XML cannot.
#pragma once

#include "engine/result.hh"
#include "s3/verbs/object_store.hh"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::s3 {

// A page is at most 1,000 entries, and a key at most 1 KiB, up to six times that when escaped.
inline constexpr std::size_t xml_bytes_max = 16 * 1024 * 1024;

// Of an upload id; AWS and its kin give some hundred bytes.
inline constexpr std::size_t upload_id_bytes_max = 4096;
// Of a continuation token, in which a key may stand.
inline constexpr std::size_t token_bytes_max = 8192;
// Of an object's size, 1 PiB: twenty times what S3 stores.
inline constexpr std::uint64_t object_bytes_max = std::uint64_t{1} << 50;

// <Error>: what the store says went wrong.
struct error_document {
  std::string code;
  std::string message;
  std::string region;  // the region that it expected, in answers to a wrong one
};

// Nullopt when the text is no <Error> document.
std::optional<error_document> parse_error(std::string_view xml);

struct listing_page {
  listing content;
  std::string next_token;  // empty on the last page
};

struct parts_page {
  std::vector<listed_part> parts;
  std::optional<part_number> next_marker;
};

struct uploads_page {
  std::vector<listed_upload> uploads;
  std::optional<std::pair<std::string, std::string>> next_marker;  // key, upload id
};

// Each fails with reason protocol when the document is not what was asked for.
engine::result<upload_id> parse_create_upload(std::string_view xml);
// The ETag, possibly empty; an <Error> inside a 200 answer comes back in `failure`.
engine::result<etag> parse_complete_upload(std::string_view xml,
                                           std::optional<error_document>& failure);
engine::result<listing_page> parse_listing(std::string_view xml);
engine::result<parts_page> parse_parts(std::string_view xml);
engine::result<uploads_page> parse_uploads(std::string_view xml);

// <CompleteMultipartUpload>; checksums are written where parts carry them.
std::string write_complete_upload(const std::vector<completed_part>& parts);

// <GetObjectAttributesResponse>.
engine::result<object_attributes> parse_attributes(std::string_view xml);

// <RestoreRequest>.
std::string write_restore_request(std::optional<unsigned> days, std::optional<retrieval_tier> tier);

// CRC32 in the form of x-amz-checksum-crc32: base64 of four bytes, big-endian.
std::string crc32_base64(std::uint32_t crc);
// The checksum of type COMPOSITE that S3 gives an object whose parts have these CRC32s: the CRC32
// of their bytes, big-endian, one after the other ("Checking object integrity", Amazon S3 User
// Guide).
std::uint32_t crc32_of_parts(const std::vector<std::uint32_t>& parts);

}  // namespace bts3::s3
