#include "s3/s3_client.hh"

#include "engine/assert.hh"
#include "s3/xml.hh"

#include <curl/curl.h>

#include <charconv>
#include <cstdlib>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// A page of a listing is at most 1,000 entries of about 1 KiB of key.
constexpr std::size_t xml_bytes_max = 16 * 1024 * 1024;
// Bodies above this ask first (Expect: 100-continue), so that a refusal costs no upload.
constexpr std::size_t expect_bytes_min = 1024 * 1024;
// CompleteMultipartUpload of thousands of parts may take minutes before its first byte.
constexpr std::chrono::minutes complete_timeout{15};
// Further apart than this, and S3 refuses with RequestTimeTooSkewed.
constexpr std::chrono::minutes skew_max{15};

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || text.empty()) {
    return std::nullopt;
  }
  return value;
}

error protocol_error(const object_key& key, std::string what) {
  error failure;
  failure.what_now = disposition::retry;
  failure.why = reason::protocol;
  failure.message = key.str() + ": " + std::move(what);
  return failure;
}

void add_write_headers(header_list& headers, const write_options& options) {
  headers.emplace_back("content-type", options.content_type);
  if (!options.stored_as.empty()) {
    headers.emplace_back("x-amz-storage-class", options.stored_as.str());
  }
  if (!options.sse.empty()) {
    headers.emplace_back("x-amz-server-side-encryption", options.sse);
  }
  if (!options.sse_kms_key_id.empty()) {
    headers.emplace_back("x-amz-server-side-encryption-aws-kms-key-id", options.sse_kms_key_id);
  }
}

void add_conditions(header_list& headers, const precondition& condition) {
  if (condition.must_be_absent) {
    headers.emplace_back("if-none-match", "*");
  }
  if (condition.must_match) {
    headers.emplace_back("if-match", condition.unquoted ? condition.must_match->str()
                                                        : condition.must_match->quoted());
  }
}

struct error_class {
  const char* code;
  disposition what_now;
  reason why;
  const char* remedy;
};

// What S3's error codes mean here ("Error responses", Amazon S3 API Reference). Codes that are
// absent are judged by their HTTP status.
constexpr error_class known_codes[] = {
    {"NoSuchKey", disposition::not_found, reason::unspecified, ""},
    {"NoSuchUpload", disposition::not_found, reason::unspecified, ""},
    {"NoSuchBucket", disposition::fail, reason::configuration,
     "create the bucket, or correct s3.bucket, s3.region or s3.endpoint_url"},
    {"InvalidAccessKeyId", disposition::fail, reason::access,
     "the store does not know this access key: check the credentials and s3.endpoint_url"},
    {"SignatureDoesNotMatch", disposition::fail, reason::access,
     "the secret access key does not belong to the access key: check the credentials"},
    {"AccessDenied", disposition::fail, reason::access,
     "these credentials may not do this: check the policies of user and bucket"},
    {"InvalidObjectState", disposition::fail, reason::not_thawed,
     "the object is archived: thaw it (RestoreObject) first"},
    {"ExpiredToken", disposition::fail, reason::expired_token,
     "the temporary credentials have run out: get new ones"},
    {"RequestTimeTooSkewed", disposition::fail, reason::clock_skew,
     "set this machine's clock (NTP)"},
    {"AuthorizationHeaderMalformed", disposition::fail, reason::configuration,
     "set s3.region to the bucket's region"},
    {"PermanentRedirect", disposition::fail, reason::configuration,
     "set s3.region to the bucket's region, or correct s3.endpoint_url"},
    {"BadDigest", disposition::retry, reason::bad_request, ""},
    {"XAmzContentSHA256Mismatch", disposition::retry, reason::bad_request, ""},
    {"IncompleteBody", disposition::retry, reason::bad_request, ""},
    {"RequestTimeout", disposition::retry, reason::bad_request, ""},
    {"SlowDown", disposition::retry, reason::throttled, ""},
    {"ServiceUnavailable", disposition::retry, reason::throttled, ""},
    {"TooManyRequests", disposition::retry, reason::throttled, ""},
    {"InternalError", disposition::retry, reason::unspecified, ""},
    {"OperationAborted", disposition::retry, reason::precondition, ""},
    {"ConditionalRequestConflict", disposition::retry, reason::precondition, ""},
    {"PreconditionFailed", disposition::fail, reason::precondition, ""},
    {"NotImplemented", disposition::fail, reason::unsupported, ""},
};

void judge_by_status(error& failure) {
  switch (failure.status) {
    case 404:
      failure.what_now = disposition::not_found;
      break;
    case 403:
      failure.why = reason::access;
      failure.remedy = "check the credentials and the policies of user and bucket";
      break;
    case 408:
      failure.what_now = disposition::retry;
      failure.why = reason::bad_request;
      break;
    case 409:
    case 412:
      failure.why = reason::precondition;
      break;
    case 429:
    case 503:
      failure.what_now = disposition::retry;
      failure.why = reason::throttled;
      break;
    case 501:
      failure.why = reason::unsupported;
      break;
    case 301:
    case 307:
      failure.why = reason::configuration;
      failure.remedy = "set s3.region to the bucket's region, or correct s3.endpoint_url";
      break;
    default:
      failure.what_now = failure.status >= 500 ? disposition::retry : disposition::fail;
      break;
  }
}

}  // namespace

// One request, as it can be sent again with another time.
struct s3_client::call {
  call(std::string verb, object_key name) : method(std::move(verb)), key(std::move(name)) {}
  std::string method;
  object_key key;  // empty: the bucket itself
  query_list query;
  header_list headers;
  std::span<const std::byte> body;
  std::optional<engine::sha256_state> payload_sha256;
  std::optional<std::span<std::byte>> into;
  std::size_t answer_bytes_max = xml_bytes_max;
  bool fresh_connection = false;
  std::optional<std::chrono::milliseconds> stall_timeout;
};

s3_client::s3_client(http_transport& transport, credentials who, const engine::clock& clock,
                     engine::log_sink& log, client_options options)
    : _transport(transport),
      _who(std::move(who)),
      _clock(clock),
      _log(log),
      _options(std::move(options)) {}

bool s3_client::signs_payload() const {
  switch (_options.signing) {
    case payload_signing::unsigned_body:
      return false;
    case payload_signing::sha256:
      return true;
    case payload_signing::automatic:
      break;
  }
  return !_options.where.secure();
}

http_request s3_client::build(const call& what) const {
  signing_input input;
  input.method = what.method;
  input.path = _options.where.base_path;
  if (!what.key.empty()) {
    input.path += "/" + uri_encode(what.key.str(), true);
  } else if (input.path.empty()) {
    input.path = "/";
  }
  input.query = what.query;
  input.headers = what.headers;
  input.headers.emplace_back("Host", _options.where.host);
  if (what.body.empty()) {
    input.payload = empty_payload;
  } else if (!signs_payload()) {
    input.payload = unsigned_payload;
  } else if (what.payload_sha256) {
    input.payload = what.payload_sha256->hex();
  } else {
    input.payload = sha256_hex(as_text(what.body));
  }
  signing_scope scope;
  scope.region = _options.region;
  const header_list signature = sign(input, _who, scope, _clock.now() + _clock_correction);

  http_request request(what.method, _options.where.url(input.path, canonical_query(what.query)));
  request.headers = input.headers;
  request.headers.insert(request.headers.end(), signature.begin(), signature.end());
  if (what.body.size() < expect_bytes_min) {
    request.headers.emplace_back("Expect", "");
  }
  request.body = what.body;
  request.body_target = what.into;
  request.collected_body_bytes_max = what.answer_bytes_max;
  request.fresh_connection = what.fresh_connection;
  if (what.stall_timeout) {
    request.stall_timeout = *what.stall_timeout;
  }
  return request;
}

// Takes the server's time from its Date header when it differs enough to explain a refusal.
bool s3_client::correct_clock(const http_response& answer) {
  const auto date = answer.header("date");
  if (!date) {
    return false;
  }
  const std::time_t server = ::curl_getdate(std::string(*date).c_str(), nullptr);
  if (server == -1) {
    return false;
  }
  const auto ours = std::chrono::time_point_cast<std::chrono::seconds>(_clock.now());
  const auto difference = std::chrono::system_clock::from_time_t(server) - ours;
  const auto correction = std::chrono::duration_cast<std::chrono::seconds>(difference);
  const auto change = correction - _clock_correction;
  if (change < skew_max / 3 && change > -skew_max / 3) {
    return false;
  }
  _clock_correction = correction;
  _log.write(engine::log_level::warning, "s3", "clock_skew_corrected",
             {{"seconds", std::to_string(correction.count())},
              {"remedy", "set this machine's clock (NTP)"}});
  return true;
}

task<result<http_response>> s3_client::send(call what, engine::stop_token stop) {
  for (int attempt = 1;; ++attempt) {
    http_request request = build(what);
    auto performing = _transport.perform(std::move(request), stop);
    auto answer = co_await std::move(performing);
    if (!answer) {
      co_return std::move(answer.error()).within(what.method + " " + what.key.str());
    }
    if (answer->status >= 200 && answer->status < 300) {
      co_return std::move(*answer);
    }
    error failure = explain(what, *answer);
    const bool skewed =
        failure.why == reason::clock_skew || (answer->status == 403 && what.method == "HEAD");
    if (skewed && attempt == 1 && correct_clock(*answer)) {
      continue;
    }
    co_return failure;
  }
}

error s3_client::explain(const call& what, const http_response& answer) const {
  error failure;
  failure.status = answer.status;
  const auto document = parse_error(answer.body);
  if (document) {
    failure.code = document->code;
  } else if (answer.status == 404 && what.method == "HEAD") {
    failure.code = "NoSuchKey";  // a HEAD's answer has no body to say so
  }
  judge_by_status(failure);
  for (const error_class& known : known_codes) {
    if (failure.code == known.code) {
      failure.what_now = known.what_now;
      failure.why = known.why;
      failure.remedy = known.remedy;
    }
  }
  failure.message =
      what.method + " " + (what.key.empty() ? "bucket " + _options.bucket.str() : what.key.str());
  failure.message += ": " + _options.where.host + " answered " + std::to_string(answer.status);
  if (!failure.code.empty()) {
    failure.message += " " + failure.code;
  }
  if (document && !document->message.empty()) {
    failure.message += " (" + document->message + ")";
  }
  if (failure.why == reason::access) {
    failure.message += "; access key " + _who.access_key_id + " from " + _who.source;
  }
  std::string region = document ? document->region : "";
  if (const auto header = answer.header("x-amz-bucket-region"); region.empty() && header) {
    region = *header;
  }
  if (failure.why == reason::configuration && !region.empty() && region != _options.region) {
    failure.remedy = "the bucket is in region " + region + ": set s3.region = \"" + region +
                     "\" (it is \"" + _options.region + "\")";
  }
  // 400 InvalidArgument, InvalidRequest and their kin over a checksum header mean "not here".
  const bool about_checksum =
      document && (document->message.find("checksum") != std::string::npos ||
                   document->message.find("Checksum") != std::string::npos);
  if (answer.status == 400 && about_checksum && failure.why != reason::bad_request) {
    failure.why = reason::unsupported;
  }
  if (const auto after = answer.header("retry-after")) {
    if (const auto seconds = number_in(*after)) {
      failure.retry_after = std::chrono::seconds(*seconds);
    }
  }
  return failure;
}

task<result<etag>> s3_client::put_object(put_request request, engine::stop_token stop) {
  call what("PUT", request.key);
  add_write_headers(what.headers, request.options);
  add_conditions(what.headers, request.condition);
  if (request.options.checksum_crc32 && request.digests.crc32) {
    what.headers.emplace_back("x-amz-checksum-crc32", crc32_base64(*request.digests.crc32));
  }
  what.body = request.body;
  what.payload_sha256 = request.digests.payload_sha256;
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  const auto tag = answer->header("etag");
  if (!tag) {
    co_return protocol_error(request.key, "the store acknowledged an object without an ETag");
  }
  co_return etag(*tag);
}

task<result<std::size_t>> s3_client::get_object(get_request request, engine::stop_token stop) {
  call what("GET", request.key);
  const std::uint64_t wanted = request.range ? request.range->length : request.into.size();
  BTS3_ASSERT(wanted <= request.into.size());
  if (request.range) {
    const byte_range& range = *request.range;
    what.headers.emplace_back("range", "bytes=" + std::to_string(range.offset) + "-" +
                                           std::to_string(range.offset + range.length - 1));
  }
  if (request.must_match) {
    what.headers.emplace_back("if-match", request.must_match->quoted());
  }
  what.into = request.into.first(wanted);
  what.fresh_connection = request.fresh_connection;
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  if (request.range) {
    const std::string expected = "bytes " + std::to_string(request.range->offset) + "-" +
                                 std::to_string(request.range->offset + wanted - 1) + "/";
    const auto got = answer->header("content-range");
    if (answer->status != 206 || !got || !got->starts_with(expected)) {
      co_return protocol_error(request.key, "asked for " + expected + "*, the store answered " +
                                                std::to_string(answer->status) + " " +
                                                std::string(got.value_or("without a range")));
    }
    if (answer->body_target_bytes != wanted) {
      co_return protocol_error(request.key, "the answer is shorter than the range asked for");
    }
  }
  co_return answer->body_target_bytes;
}

task<result<text_object>> s3_client::get_object_text(object_key key, std::size_t bytes_max,
                                                     engine::stop_token stop) {
  call what("GET", key);
  what.answer_bytes_max = bytes_max;
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  text_object object;
  object.tag = etag(answer->header("etag").value_or(""));
  object.body = std::move(answer->body);
  co_return object;
}

task<result<object_info>> s3_client::head_object(object_key key, engine::stop_token stop) {
  call what("HEAD", key);
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  const auto text = [&](std::string_view name) {
    return std::string(answer->header(name).value_or(""));
  };
  const auto size = number_in(text("content-length"));
  if (!size) {
    co_return protocol_error(key, "HEAD was answered without a size");
  }
  object_info info;
  info.size = *size;
  info.tag = etag(text("etag"));
  info.stored_as = storage_class(text("x-amz-storage-class"));
  info.restore = text("x-amz-restore");
  info.archive_status = text("x-amz-archive-status");
  info.sse = text("x-amz-server-side-encryption");
  info.last_modified = text("last-modified");
  co_return info;
}

task<result<listing>> s3_client::list_objects(list_request request, engine::stop_token stop) {
  listing all;
  std::string token;
  for (;;) {
    call what("GET", object_key());
    what.query = {{"list-type", "2"}, {"prefix", request.prefix}};
    if (!request.delimiter.empty()) {
      what.query.emplace_back("delimiter", request.delimiter);
    }
    if (!token.empty()) {
      what.query.emplace_back("continuation-token", token);
    }
    auto sending = send(std::move(what), stop);
    auto answer = co_await std::move(sending);
    if (!answer) {
      co_return std::move(answer.error());
    }
    auto page = parse_listing(answer->body);
    if (!page) {
      co_return std::move(page.error());
    }
    for (auto& object : page->content.objects) {
      all.objects.push_back(std::move(object));
    }
    for (auto& prefix : page->content.common_prefixes) {
      all.common_prefixes.push_back(std::move(prefix));
    }
    if (all.objects.size() > request.objects_max) {
      error failure;
      failure.message =
          "more than " + std::to_string(request.objects_max) + " objects under " + request.prefix;
      co_return failure;
    }
    if (page->next_token.empty()) {
      co_return all;
    }
    token = page->next_token;
  }
}

task<result<void>> s3_client::delete_object(object_key key, engine::stop_token stop) {
  call what("DELETE", key);
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer && answer.error().what_now != disposition::not_found) {
    co_return std::move(answer.error());
  }
  co_return engine::ok();
}

task<result<upload_id>> s3_client::create_multipart_upload(object_key key, write_options options,
                                                           engine::stop_token stop) {
  call what("POST", key);
  what.query = {{"uploads", ""}};
  add_write_headers(what.headers, options);
  if (options.checksum_crc32) {
    what.headers.emplace_back("x-amz-checksum-algorithm", "CRC32");
    what.headers.emplace_back("x-amz-checksum-type", "COMPOSITE");
  }
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  co_return parse_create_upload(answer->body);
}

task<result<etag>> s3_client::upload_part(upload_part_request request, engine::stop_token stop) {
  BTS3_ASSERT(request.number >= 1 && request.number <= part_number_max);
  call what("PUT", request.key);
  what.query = {{"partNumber", std::to_string(request.number)}, {"uploadId", request.id.str()}};
  if (request.digests.crc32) {
    what.headers.emplace_back("x-amz-checksum-crc32", crc32_base64(*request.digests.crc32));
  }
  what.headers.emplace_back("content-type", "application/octet-stream");
  what.body = request.body;
  what.payload_sha256 = request.digests.payload_sha256;
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  const etag tag(answer->header("etag").value_or(""));
  if (tag.empty()) {
    co_return protocol_error(request.key, "the store acknowledged part " +
                                              std::to_string(request.number) + " without an ETag");
  }
  co_return tag;
}

task<result<etag>> s3_client::complete_multipart_upload(object_key key, upload_id id,
                                                        std::vector<completed_part> parts,
                                                        engine::stop_token stop) {
  const std::string body = write_complete_upload(parts);
  call what("POST", key);
  what.query = {{"uploadId", id.str()}};
  what.headers.emplace_back("content-type", "application/xml");
  what.body = std::as_bytes(std::span(body.data(), body.size()));
  what.stall_timeout = complete_timeout;
  call copy = what;
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  std::optional<error_document> inside;
  auto tag = parse_complete_upload(answer->body, inside);
  if (inside) {
    // 200 was sent before the work was done; judge the error as if it had come with a 500.
    http_response late = std::move(*answer);
    late.status = 500;
    co_return explain(copy, late);
  }
  co_return tag;
}

task<result<void>> s3_client::abort_multipart_upload(object_key key, upload_id id,
                                                     engine::stop_token stop) {
  call what("DELETE", key);
  what.query = {{"uploadId", id.str()}};
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer && answer.error().what_now != disposition::not_found) {
    co_return std::move(answer.error());
  }
  co_return engine::ok();
}

task<result<std::vector<listed_part>>> s3_client::list_parts(object_key key, upload_id id,
                                                             engine::stop_token stop) {
  std::vector<listed_part> all;
  std::optional<part_number> marker;
  for (;;) {
    call what("GET", key);
    what.query = {{"uploadId", id.str()}};
    if (marker) {
      what.query.emplace_back("part-number-marker", std::to_string(*marker));
    }
    auto sending = send(std::move(what), stop);
    auto answer = co_await std::move(sending);
    if (!answer) {
      co_return std::move(answer.error());
    }
    auto page = parse_parts(answer->body);
    if (!page) {
      co_return std::move(page.error());
    }
    all.insert(all.end(), page->parts.begin(), page->parts.end());
    if (!page->next_marker || all.size() > part_number_max) {
      co_return all;
    }
    marker = page->next_marker;
  }
}

task<result<std::vector<listed_upload>>> s3_client::list_multipart_uploads(
    std::string prefix, engine::stop_token stop) {
  std::vector<listed_upload> all;
  std::optional<std::pair<std::string, std::string>> marker;
  for (;;) {
    call what("GET", object_key());
    what.query = {{"uploads", ""}, {"prefix", prefix}};
    if (marker) {
      what.query.emplace_back("key-marker", marker->first);
      what.query.emplace_back("upload-id-marker", marker->second);
    }
    auto sending = send(std::move(what), stop);
    auto answer = co_await std::move(sending);
    if (!answer) {
      co_return std::move(answer.error());
    }
    auto page = parse_uploads(answer->body);
    if (!page) {
      co_return std::move(page.error());
    }
    all.insert(all.end(), page->uploads.begin(), page->uploads.end());
    if (!page->next_marker) {
      co_return all;
    }
    marker = page->next_marker;
  }
}

}  // namespace bts3::s3
