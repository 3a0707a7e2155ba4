// Pages of objects, of parts and of uploads.
#include "tests/support/scripted_s3/store_state.hh"
#include "tests/support/scripted_s3/text.hh"

#include <algorithm>
#include <cstddef>
#include <map>
#include <utility>

namespace bts3::testing::scripted {

server_answer store_state::list_objects(const recorded_request& request) {
  const std::string prefix = value_of(request.query, "prefix");
  const std::string delimiter = value_of(request.query, "delimiter");
  const bool url = value_of(request.query, "encoding-type") == "url";
  const std::size_t page = std::min<std::size_t>(number(value_of(request.query, "max-keys"), 1000),
                                                 _options.list_page_max);
  std::string after = value_of(request.query, "start-after");
  const std::string token = value_of(request.query, "continuation-token");
  if (!token.empty()) {
    if (!token.starts_with("after+/=:")) {
      return failure(400, "InvalidArgument");
    }
    after = token.substr(9);
  }
  const auto name = [url](const std::string& key) { return url ? encoded(key) : key; };
  std::string content;
  std::string last;
  std::string last_group;
  std::size_t count = 0;
  bool truncated = false;
  for (const auto& [key, object] : _buckets[request.bucket]) {
    if (!key.starts_with(prefix) || key <= after ||
        (!delimiter.empty() && after.ends_with(delimiter) && key.starts_with(after))) {
      continue;
    }
    const std::size_t cut =
        delimiter.empty() ? std::string::npos : key.find(delimiter, prefix.size());
    const std::string group = cut == std::string::npos ? "" : key.substr(0, cut + delimiter.size());
    if (!group.empty() && group == last_group) {
      continue;
    }
    if (count == page) {
      truncated = true;
      break;
    }
    ++count;
    last = group.empty() ? key : group;
    last_group = group;
    if (group.empty()) {
      const std::string stored = value_of(object.headers, "x-amz-storage-class");
      content += "<Contents>" + element("Key", name(key)) +
                 element("LastModified", "2026-01-02T03:04:05.000Z") +
                 element("ETag", in_quotes(object.etag)) +
                 element("Size", std::to_string(object.body.size())) +
                 element("StorageClass", stored.empty() ? "STANDARD" : stored) + "</Contents>";
    } else {
      content += "<CommonPrefixes>" + element("Prefix", name(group)) + "</CommonPrefixes>";
    }
  }
  std::string head = element("Name", request.bucket) + element("Prefix", name(prefix)) +
                     element("KeyCount", std::to_string(count)) +
                     element("MaxKeys", std::to_string(page)) +
                     element("IsTruncated", truncated ? "true" : "false");
  if (url) {
    head += element("EncodingType", "url");
  }
  if (truncated) {
    head += element("NextContinuationToken", "after+/=:" + last);
  }
  return success(document("ListBucketResult", head + content));
}

server_answer store_state::list_parts(const recorded_request& request) {
  const upload_state* upload = find_upload(request);
  if (upload == nullptr) {
    return failure(404, "NoSuchUpload");
  }
  const unsigned after = number(value_of(request.query, "part-number-marker"), 0);
  const std::size_t page = std::min<std::size_t>(number(value_of(request.query, "max-parts"), 1000),
                                                 _options.list_page_max);
  std::string content;
  unsigned last = after;
  std::size_t count = 0;
  bool truncated = false;
  for (auto at = upload->parts.upper_bound(after); at != upload->parts.end(); ++at) {
    if (count++ == page) {
      truncated = true;
      break;
    }
    last = at->first;
    content += "<Part>" + element("PartNumber", std::to_string(at->first)) +
               element("LastModified", "2026-01-02T03:04:05.000Z") +
               element("ETag", in_quotes(at->second.etag)) +
               element("Size", std::to_string(at->second.body.size())) + "</Part>";
  }
  std::string head = element("Bucket", request.bucket) + element("Key", request.key) +
                     element("UploadId", value_of(request.query, "uploadId")) +
                     element("PartNumberMarker", std::to_string(after)) +
                     element("NextPartNumberMarker", std::to_string(last)) +
                     element("MaxParts", std::to_string(page)) +
                     element("IsTruncated", truncated ? "true" : "false");
  return success(document("ListPartsResult", head + content));
}

server_answer store_state::list_uploads(const recorded_request& request) const {
  const std::string prefix = value_of(request.query, "prefix");
  const bool url = value_of(request.query, "encoding-type") == "url";
  const std::pair<std::string, std::string> after{value_of(request.query, "key-marker"),
                                                  value_of(request.query, "upload-id-marker")};
  const std::size_t page = std::min<std::size_t>(
      number(value_of(request.query, "max-uploads"), 1000), _options.list_page_max);
  const auto name = [url](const std::string& key) { return url ? encoded(key) : key; };
  std::map<std::pair<std::string, std::string>, const upload_state*> sorted;
  for (const auto& [id, upload] : _uploads) {
    const bool named =
        _options.list_uploads_by_key ? upload.key == prefix : upload.key.starts_with(prefix);
    if (upload.bucket == request.bucket && named) {
      sorted.emplace(std::pair(upload.key, id), &upload);
    }
  }
  std::string content;
  std::pair<std::string, std::string> last;
  std::size_t count = 0;
  bool truncated = false;
  for (auto at = sorted.upper_bound(after); at != sorted.end(); ++at) {
    if (count++ == page) {
      truncated = true;
      break;
    }
    last = at->first;
    content += "<Upload>" + element("Key", name(at->first.first)) +
               element("UploadId", at->first.second) +
               element("Initiated", "2026-01-02T03:04:05.000Z") + "</Upload>";
  }
  std::string head = element("Bucket", request.bucket) + element("Prefix", name(prefix)) +
                     element("IsTruncated", truncated ? "true" : "false");
  if (truncated) {
    head += element("NextKeyMarker", name(last.first)) + element("NextUploadIdMarker", last.second);
  }
  return success(document("ListMultipartUploadsResult", head + content));
}

}  // namespace bts3::testing::scripted
