#include "tests/support/scripted_s3/store_state.hh"

#include "tests/support/scripted_s3/text.hh"

#include <algorithm>
#include <utility>

namespace bts3::testing::scripted {

store_state::store_state(scripted_s3_options options, std::function<time_point()> now)
    : _options(std::move(options)), _now(std::move(now)) {
  for (const std::string& name : _options.buckets) {
    add_bucket(name);
  }
}

std::optional<server_answer> store_state::early_refusal(const recorded_request& request) {
  if (!_buckets.contains(request.bucket)) {
    return failure(404, "NoSuchBucket");
  }
  if (request.verb == s3_verb::upload_part && find_upload(request) == nullptr) {
    return failure(404, "NoSuchUpload");
  }
  if (_options.refuse_checksums_status != 0) {
    for (const auto& [name, value] : request.headers) {
      if (name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm") {
        // 501 as AWS says it of unknown headers, else in the words of Backblaze B2.
        return _options.refuse_checksums_status == 501
                   ? failure(501, "NotImplemented")
                   : failure(_options.refuse_checksums_status, "InvalidArgument", {},
                             "Unsupported header '" + name + "' received for this API call.");
      }
    }
  }
  return std::nullopt;
}

std::optional<server_answer> store_state::mismatch(const recorded_request& request,
                                                   const std::string& body) const {
  const std::string declared = request.header("x-amz-content-sha256");
  if (declared.size() == 64 && declared != request.body_sha256) {
    return failure(400, "XAmzContentSHA256Mismatch");
  }
  const std::string crc32 = request.header("x-amz-checksum-crc32");
  if (!crc32.empty() && crc32 != crc32_base64(body)) {
    return failure(400, "BadDigest");
  }
  const std::string md5 = request.header("content-md5");
  if (!md5.empty() && md5 != base64(digest("MD5", body))) {
    return failure(400, "BadDigest");
  }
  if (_options.demand_digests && crc32.empty() && md5.empty() &&
      (request.verb == s3_verb::put_object || request.verb == s3_verb::upload_part)) {
    return failure(400, "InvalidRequest", {},
                   "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests "
                   "with Object Lock parameters");
  }
  return std::nullopt;
}

server_answer store_state::perform(const recorded_request& request, std::string body) {
  if (auto refusal = mismatch(request, body)) {
    return *refusal;
  }
  switch (request.verb) {
    case s3_verb::put_object:
      return put_object(request, std::move(body));
    case s3_verb::get_object:
    case s3_verb::head_object:
      return read_object(request);
    case s3_verb::delete_object:
      return delete_object(request);
    case s3_verb::restore_object:
      return restore_object(request, body);
    case s3_verb::list_objects:
      return list_objects(request);
    case s3_verb::head_bucket:
      return head_bucket();
    case s3_verb::create_upload:
      return create_upload(request);
    case s3_verb::upload_part:
      return upload_part(request, std::move(body));
    case s3_verb::complete_upload:
      return complete_upload(request, body);
    case s3_verb::abort_upload:
      return abort_upload(request);
    case s3_verb::list_parts:
      return list_parts(request);
    case s3_verb::list_uploads:
      return list_uploads(request);
    case s3_verb::any:
    case s3_verb::other:
      break;
  }
  return failure(501, "NotImplemented");
}

server_answer store_state::head_bucket() const {
  server_answer answer;
  answer.set("x-amz-bucket-region", _options.region);
  return answer;
}

void store_state::put(const std::string& bucket, const std::string& key, std::string body,
                      std::map<std::string, std::string> headers) {
  object_state made;
  made.etag = hex_digest("MD5", body);
  made.body = std::move(body);
  made.headers = std::move(headers);
  _buckets[bucket][key] = std::move(made);
}

const object_state* store_state::find(const std::string& bucket, const std::string& key) const {
  const auto objects = _buckets.find(bucket);
  if (objects == _buckets.end()) {
    return nullptr;
  }
  const auto found = objects->second.find(key);
  return found != objects->second.end() ? &found->second : nullptr;
}

std::size_t store_state::object_count() const {
  std::size_t count = 0;
  for (const auto& [name, objects] : _buckets) {
    count += objects.size();
  }
  return count;
}

std::map<std::string, std::string> store_state::bodies(const std::string& bucket) const {
  std::map<std::string, std::string> all;
  const auto found = _buckets.find(bucket);
  if (found != _buckets.end()) {
    for (const auto& [key, object] : found->second) {
      all[key] = object.body;
    }
  }
  return all;
}

std::vector<upload_state> store_state::open_uploads() const {
  std::vector<upload_state> open;
  for (const auto& [id, upload] : _uploads) {
    open.push_back(upload);
  }
  return open;
}

bool store_state::forget_upload(const recorded_request& request) {
  return _uploads.erase(value_of(request.query, "uploadId")) != 0;
}

void store_state::finish_restores() {
  const time_point now = _now();
  for (auto& [bucket, objects] : _buckets) {
    for (auto& [key, object] : objects) {
      if (object.restore) {
        object.restore->ready = std::min(object.restore->ready, now);
      }
    }
  }
}

}  // namespace bts3::testing::scripted
