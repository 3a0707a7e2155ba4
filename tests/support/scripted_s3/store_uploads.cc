// Uploads in parts.
#include "tests/support/scripted_s3/store_state.hh"
#include "tests/support/scripted_s3/text.hh"

#include <cstddef>
#include <pugixml.hpp>
#include <utility>

namespace bts3::testing::scripted {

namespace {

constexpr std::size_t part_bytes_min = 5 * 1024 * 1024;

}  // namespace

upload_state* store_state::find_upload(const recorded_request& request) {
  const auto found = _uploads.find(value_of(request.query, "uploadId"));
  if (found == _uploads.end() || found->second.bucket != request.bucket ||
      found->second.key != request.key) {
    return nullptr;
  }
  return &found->second;
}

server_answer store_state::create_upload(const recorded_request& request) {
  const std::string id = "upload+" + std::to_string(++_uploads_made) + "/=~id";
  upload_state& made = _uploads[id];
  made.bucket = request.bucket;
  made.key = request.key;
  made.checksum_algorithm = request.header("x-amz-checksum-algorithm");
  made.headers = kept_headers(request);
  return success(document(
      "InitiateMultipartUploadResult",
      element("Bucket", request.bucket) + element("Key", request.key) + element("UploadId", id)));
}

server_answer store_state::upload_part(const recorded_request& request, std::string body) {
  upload_state* upload = find_upload(request);
  if (upload == nullptr) {
    return failure(404, "NoSuchUpload");
  }
  const unsigned part = number(value_of(request.query, "partNumber"), 0);
  if (part < 1 || part > 10'000) {
    return failure(400, "InvalidArgument");
  }
  const std::string crc32 = request.header("x-amz-checksum-crc32");
  if (upload->checksum_algorithm.empty() != crc32.empty()) {
    const std::string expected = crc32.empty() ? "crc32" : "null";
    const std::string actual = crc32.empty() ? "null" : "crc32";
    return failure(400, "InvalidRequest", {},
                   "Checksum Type mismatch occurred, expected checksum Type: " + expected +
                       ", actual checksum Type: " + actual);
  }
  part_state& made = upload->parts[part];
  made.etag = hex_digest("MD5", body);
  made.crc32 = crc32;
  made.body = std::move(body);
  server_answer answer;
  answer.set("ETag", in_quotes(made.etag));
  if (!crc32.empty()) {
    answer.set("x-amz-checksum-crc32", crc32);
  }
  return answer;
}

server_answer store_state::complete_upload(const recorded_request& request,
                                           const std::string& body) {
  upload_state* upload = find_upload(request);
  if (upload == nullptr) {
    return failure(404, "NoSuchUpload");
  }
  if (auto refusal = unmet_condition(request, true)) {
    return *refusal;
  }
  pugi::xml_document xml;
  const pugi::xml_parse_result parsed = xml.load_string(body.c_str());
  const pugi::xml_node root = xml.child("CompleteMultipartUpload");
  if (!parsed || !root || !root.child("Part")) {
    return failure(400, "MalformedXML");
  }
  object_state made;
  std::string part_digests;
  unsigned previous = 0;
  unsigned count = 0;
  for (const pugi::xml_node node : root.children("Part")) {
    const unsigned part = node.child("PartNumber").text().as_uint();
    if (part <= previous) {
      return failure(400, "InvalidPartOrder");
    }
    previous = part;
    ++count;
    const auto found = upload->parts.find(part);
    if (found == upload->parts.end() || unquoted(node.child_value("ETag")) != found->second.etag) {
      return failure(400, "InvalidPart");
    }
    const std::string crc32 = node.child_value("ChecksumCRC32");
    if (!upload->checksum_algorithm.empty() && crc32.empty()) {
      return failure(400, "InvalidRequest", {},
                     "The upload was created using a crc32 checksum. The complete request must "
                     "include the checksum for each part.");
    }
    if (crc32 != found->second.crc32) {
      return failure(400, "InvalidPart");
    }
    const bool last = !node.next_sibling("Part");
    if (_options.enforce_part_minimum && !last && found->second.body.size() < part_bytes_min) {
      return failure(400, "EntityTooSmall");
    }
    made.body += found->second.body;
    part_digests += digest("MD5", found->second.body);
  }
  made.etag = hex_digest("MD5", part_digests) + '-' + std::to_string(count);
  made.headers = upload->headers;
  const std::string tag = _options.empty_etag_from_complete ? "" : in_quotes(made.etag);
  _buckets[request.bucket][request.key] = std::move(made);
  _uploads.erase(value_of(request.query, "uploadId"));
  return success(document("CompleteMultipartUploadResult",
                          element("Location", "http://127.0.0.1/" + request.key) +
                              element("Bucket", request.bucket) + element("Key", request.key) +
                              element("ETag", tag)));
}

server_answer store_state::abort_upload(const recorded_request& request) {
  if (!forget_upload(request)) {
    return failure(404, "NoSuchUpload");
  }
  server_answer answer;
  answer.status = 204;
  return answer;
}

}  // namespace bts3::testing::scripted
