#include "s3/verbs/s3_client.hh"

#include "engine/assert.hh"
#include "s3/http/one_line.hh"
#include "s3/http/percent_encoding.hh"
#include "s3/verbs/foreign_answer.hh"
#include "s3/verbs/xml.hh"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <iterator>
#include <unordered_set>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// Bodies above this ask first (Expect: 100-continue), so that a refusal costs no upload.
constexpr std::size_t expect_bytes_min = 1024 * 1024;
// CompleteMultipartUpload of thousands of parts may take minutes before its first byte.
constexpr std::chrono::minutes complete_timeout{15};
// AWS sends blanks meanwhile, so that a byte now and then is no sign of its end.
constexpr std::chrono::minutes complete_deadline{60};
// Room for an error document in the answer to a request for a small text.
constexpr std::size_t error_bytes_max = 64 * 1024;
// The same, and for a page that somebody else sends instead: seen whole, it is known for one.
constexpr std::size_t page_bytes_max = 1024 * 1024;
// A day is longer than anybody retries for.
constexpr std::chrono::seconds retry_after_max{86'400};
// An error code or a region.
constexpr std::size_t code_bytes_max = 128;
// Open uploads of one prefix; a backup leaves at most a few behind.
constexpr std::size_t uploads_max = 100'000;

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Of an object.
std::optional<etag> tag_of(const http_response& answer) {
  const etag tag(answer.header("etag").value_or(""));
  return tag.can_be_sent() ? std::optional(tag) : std::nullopt;
}

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || text.empty()) {
    return std::nullopt;
  }
  return value;
}

error protocol_error(const std::string& culprit, std::string what) {
  error failure;
  failure.what_now = disposition::retry;
  failure.why = reason::protocol;
  failure.message = culprit + ": " + std::move(what);
  return failure;
}

error protocol_error(const object_key& key, std::string what) {
  return protocol_error(key.str(), std::move(what));
}

// Whether the transport gave up an answer because it broke a rule, such as being longer than the
// range: a proxy on the way may have dropped the Range, and the next one need not.
bool more_than_asked_for(const error& failure) {
  return failure.why == reason::protocol && failure.status / 100 == 2;
}

bool has_header(const header_list& headers, std::string_view prefix) {
  return std::any_of(headers.begin(), headers.end(),
                     [&](const auto& header) { return header.first.starts_with(prefix); });
}

// Retry-After, as seconds or as a date (RFC 9110, section 10.2.3), which is read against the
// server's own Date.
std::chrono::seconds retry_after(const http_response& answer) {
  const auto text = answer.header("retry-after");
  if (!text) {
    return std::chrono::seconds(0);
  }
  if (const auto seconds = number_in(*text)) {
    return std::chrono::seconds(std::min<std::uint64_t>(*seconds, retry_after_max.count()));
  }
  const auto until = http_date(*text);
  const auto date = http_date(answer.header("date").value_or(""));
  if (!until || !date || *until <= *date) {
    return std::chrono::seconds(0);
  }
  return std::min<std::chrono::seconds>(
      std::chrono::duration_cast<std::chrono::seconds>(*until - *date), retry_after_max);
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
  if (!options.acl.empty()) {
    headers.emplace_back("x-amz-acl", options.acl);
  }
  if (!options.tags.empty()) {
    headers.emplace_back("x-amz-tagging", options.tags);
  }
}

// In the form of Content-MD5; empty where OpenSSL has no MD5 (FIPS).
std::string md5_base64(std::span<const std::byte> bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
  unsigned int size = 0;
  if (::EVP_Digest(bytes.data(), bytes.size(), raw.data(), &size, EVP_md5(), nullptr) != 1) {
    return {};
  }
  std::array<unsigned char, 4 * ((EVP_MAX_MD_SIZE + 2) / 3) + 1> text{};
  const int length = ::EVP_EncodeBlock(text.data(), raw.data(), static_cast<int>(size));
  return {text.begin(), text.begin() + length};
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

// Whether other credentials might be accepted instead of `who`.
bool blames_credentials(const error& failure, const std::string& method, const credentials& who) {
  const bool bare = method == "HEAD" && failure.status == 400 && failure.code.empty() &&
                    failure.why == reason::unspecified && !who.session_token.empty();
  return bare || failure.why == reason::expired_token || failure.code == "InvalidAccessKeyId" ||
         failure.code == "InvalidToken";
}

constexpr const char* too_large_remedy =
    "the store, or a proxy before it, takes no body of that size: lower s3.part_size_bytes, or "
    "raise the proxy's limit (client_max_body_size)";

// A bare 403 does not say which. Before it stands the right that the request takes.
constexpr const char* denied_remedy =
    "check the policies of user and bucket; a bucket may also "
    "demand s3.acl (another account's: \"bucket-owner-full-control\"), s3.tags or s3.request_payer";

// The right of the policies that a request takes ("Actions", Service Authorization Reference).
const char* right_for(const std::string& method, bool of_the_bucket, const query_list& query) {
  const auto asks = [&query](const char* name) {
    return std::any_of(query.begin(), query.end(),
                       [&](const auto& one) { return one.first == name; });
  };
  if (of_the_bucket) {
    return asks("uploads") ? "s3:ListBucketMultipartUploads" : "s3:ListBucket";
  }
  if (method == "DELETE") {
    return asks("uploadId") ? "s3:AbortMultipartUpload" : "s3:DeleteObject";
  }
  if (method == "PUT" || method == "POST") {
    return "s3:PutObject";  // RestoreObject has a remedy of its own
  }
  if (asks("attributes")) {
    return "s3:GetObjectAttributes";
  }
  return asks("uploadId") ? "s3:ListMultipartUploadParts" : "s3:GetObject";
}

// What S3's error codes mean here ("Error responses", Amazon S3 API Reference). Codes that are
// absent are judged by their HTTP status.
constexpr error_class known_codes[] = {
    {"NoSuchKey", disposition::not_found, reason::unspecified, ""},
    {"NoSuchUpload", disposition::not_found, reason::unspecified, ""},
    {"NoSuchBucket", disposition::fail, reason::configuration,
     "correct s3.bucket, s3.region or s3.endpoint_url, or create the bucket"},
    {"InvalidAccessKeyId", disposition::fail, reason::access,
     "the store does not know this access key: check the credentials and s3.endpoint_url"},
    {"SignatureDoesNotMatch", disposition::fail, reason::access,
     "the secret access key does not belong to the access key, or a proxy changes requests on "
     "their way (a rewritten Host header): check the credentials, and that s3.endpoint_url names "
     "the host that the store sees"},
    {"AccessDenied", disposition::fail, reason::access, denied_remedy},
    {"InvalidObjectState", disposition::fail, reason::not_thawed,
     "the object is archived: thaw it (RestoreObject) first"},
    {"ExpiredToken", disposition::fail, reason::expired_token,
     "the temporary credentials have run out: get new ones"},
    {"TokenRefreshRequired", disposition::fail, reason::expired_token,
     "the temporary credentials have run out: get new ones"},
    {"InvalidToken", disposition::fail, reason::access,
     "the session token is damaged or does not belong to the access key: get new credentials"},
    {"InvalidStorageClass", disposition::fail, reason::configuration,
     "this store does not have that storage class: set s3.storage_class_chunks and "
     "s3.storage_class_manifest"},
    {"RequestTimeTooSkewed", disposition::fail, reason::clock_skew,
     "set this machine's clock (NTP)"},
    {"AuthorizationHeaderMalformed", disposition::fail, reason::configuration,
     "check s3.region and the access key id"},
    {"PermanentRedirect", disposition::fail, reason::configuration,
     "set s3.region to the bucket's region, or correct s3.endpoint_url"},
    {"TemporaryRedirect", disposition::fail, reason::configuration,
     "set s3.region to the bucket's region, or correct s3.endpoint_url"},
    {"IllegalLocationConstraintException", disposition::fail, reason::configuration,
     "set s3.region to the bucket's region, or correct s3.endpoint_url"},
    {"BadDigest", disposition::retry, reason::bad_request, ""},
    {"XAmzContentSHA256Mismatch", disposition::retry, reason::bad_request, ""},
    // A CRC32 that does not fit the body, as MinIO and as Garage say it.
    {"XAmzContentChecksumMismatch", disposition::retry, reason::bad_request, ""},
    {"InvalidDigest", disposition::retry, reason::bad_request, ""},
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

// Refusals of RestoreObject that are answers ("RestoreObject", Amazon S3 API Reference).
constexpr std::pair<const char*, restore_outcome> restore_codes[] = {
    {"RestoreAlreadyInProgress", restore_outcome::in_progress},
    {"GlacierExpeditedRetrievalNotAvailable", restore_outcome::no_expedited_capacity},
    {"InvalidObjectState", restore_outcome::not_archived},
};

// What a 400 to a request with a checksum header is about, where its code is one that stores use
// for anything: the message decides. A header that the store does not know makes it `unsupported`
// (Backblaze B2: InvalidArgument, "Unsupported header 'x-amz-checksum-crc32' received for this API
// call."). A body that does not match is to be sent again, and never without its checksum.
void judge_by_message(error& failure, const std::string& message, bool has_body) {
  const bool vague =
      failure.code.empty() || failure.code == "InvalidArgument" || failure.code == "InvalidRequest";
  const bool about_checksum = message.find("checksum") != std::string::npos ||
                              message.find("Checksum") != std::string::npos;
  if (!vague || !about_checksum) {
    return;
  }
  if (has_body && message.find("match") != std::string::npos) {
    failure.what_now = disposition::retry;
    failure.why = reason::bad_request;
  } else {
    failure.why = reason::unsupported;
  }
}

void judge_by_status(error& failure) {
  switch (failure.status) {
    case 404:
      failure.what_now = disposition::not_found;
      break;
    case 403:
      failure.why = reason::access;
      failure.remedy = denied_remedy;
      break;
    case 408:
      failure.what_now = disposition::retry;
      failure.why = reason::bad_request;
      break;
    case 409:
    case 412:
      failure.why = reason::precondition;
      break;
    case 413:
      failure.why = reason::configuration;
      failure.remedy = too_large_remedy;
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
    case 302:
    case 303:
    case 307:
    case 308:
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
  call(std::string verb, object_key name, answer_kind wanted)
      : method(std::move(verb)), key(std::move(name)), kind(wanted) {}
  std::string method;
  object_key key;  // empty: the bucket itself
  answer_kind kind;
  query_list query;
  header_list headers;
  request_body body;
  std::optional<engine::sha256_state> payload_sha256;
  body_form form;
  std::optional<std::span<std::byte>> into;
  std::size_t answer_bytes_max = xml_bytes_max;
  bool fresh_connection = false;
  std::optional<std::chrono::milliseconds> stall_timeout;
  bool transfer = false;  // of bytes that a slow line may take hours for
  std::optional<std::chrono::milliseconds> deadline;  // another than a question's
};

s3_client::s3_client(http_transport& transport, credential_provider& who,
                     const engine::clock& clock, engine::log_sink& log, client_options options)
    : _transport(transport),
      _who(who),
      _time(clock, log),
      _log(log),
      _options(std::move(options)) {}

s3_client::s3_client(http_transport& transport, credentials who, const engine::clock& clock,
                     engine::log_sink& log, client_options options)
    : _transport(transport),
      _own(std::make_unique<fixed_credentials>(std::move(who))),
      _who(*_own),
      _time(clock, log),
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

std::string s3_client::subject_of(const call& what) const {
  return what.method + " " +
         (what.key.empty() ? "bucket " + _options.bucket.str() : what.key.str());
}

http_request s3_client::build(const call& what, const credentials& who,
                              std::chrono::seconds offset) const {
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
  // What a source holds is hashed by whoever filled it, or by nobody.
  const bool can_sign = what.payload_sha256 || what.body.source() == nullptr;
  const bool signs = signs_payload() || (what.form.sign_payload && can_sign);
  if (_options.request_payer) {
    input.headers.emplace_back("x-amz-request-payer", "requester");
  }
  if (what.body.empty()) {
    input.payload = empty_payload;
  } else if (!signs) {
    input.payload = unsigned_payload;
  } else if (what.payload_sha256) {
    input.payload = what.payload_sha256->hex();
  } else {
    BTS3_ASSERT(what.body.source() == nullptr);
    input.payload = sha256_hex(as_text(what.body.bytes()));
  }
  signing_scope scope;
  scope.region = _options.region;
  header_list signature = sign(input, who, scope, _time.now_with(offset));

  http_request request(what.method, _options.where.url(input.path, canonical_query(what.query)));
  request.headers = input.headers;
  std::move(signature.begin(), signature.end(), std::back_inserter(request.headers));
  // By itself curl asks for large bodies.
  using asking = body_form::asking;
  const bool by_size =
      what.form.asks_first == asking::by_size && what.body.size() >= expect_bytes_min;
  if (what.form.asks_first == asking::always) {
    request.headers.emplace_back("Expect", "100-continue");
  } else if (!by_size) {
    request.headers.emplace_back("Expect", "");
  }
  request.body = what.body;
  request.body_target = what.into;
  request.collected_body_bytes_max = what.answer_bytes_max;
  request.fresh_connection = what.fresh_connection;
  request.stall_timeout = what.stall_timeout.value_or(_options.stall_timeout);
  if (!what.transfer) {
    request.deadline = what.deadline.value_or(_options.question_deadline);
  }
  return request;
}

error s3_client::in_the_middle(error failure) const {
  const bool of_the_endpoint =
      failure.what_now == disposition::fail &&
      (failure.why == reason::configuration || failure.why == reason::network);
  if (_understood && of_the_endpoint) {
    failure.what_now = disposition::retry;
    failure.why = reason::network;
  }
  failure.at_boot = failure.at_boot && !_understood;
  return failure;
}

std::optional<error> s3_client::foreign(const call& what, const http_response& answer) const {
  const auto somebody = foreign_answer(answer, what.method, what.kind);
  if (!somebody) {
    return std::nullopt;
  }
  error failure =
      foreign_error(answer, _options.where.scheme + "://" + _options.where.host, *somebody);
  // Whoever has reached the store before has waited for the network already.
  failure.at_boot = failure.at_boot && !_understood;
  if (answer.status == 413) {
    // It is meant for us all the same, and stays.
    failure.what_now = disposition::fail;
    failure.why = reason::configuration;
    failure.code = "EntityTooLarge";
    failure.status = answer.status;
    failure.remedy = too_large_remedy;
  }
  return std::move(failure).within(subject_of(what));
}

// A signature proves who asks without telling the secret; a session token is sent as it is, but is
// worth nothing without the secret.
void s3_client::warn_of_token(const credentials& who) {
  const bool readable = !_options.where.secure() && !_options.where.loopback();
  if (!readable || who.session_token.empty() || std::exchange(_warned_of_token, true)) {
    return;
  }
  _log.write(engine::log_level::warning, "s3", "session_token_over_plain_http",
             {{"host", _options.where.host},
              {"credentials", who.source},
              {"remedy",
               "use https in s3.endpoint_url: everybody on the way can read the session "
               "token, names and data"}});
}

task<result<http_response>> s3_client::send(call what, engine::stop_token stop) {
  if (what.key.str().size() > object_key_bytes_max) {
    error failure;
    failure.why = reason::protocol;
    failure.message = "a key of " + std::to_string(what.key.str().size()) +
                      " bytes: " + one_line(what.key.str(), code_bytes_max) +
                      ": S3 has none above 1024";
    co_return failure;
  }
  bool corrected = false;
  std::optional<credentials> refused;  // the first attempt's, when they were what it failed for
  for (;;) {
    auto asking = _who.get(stop);
    auto who = co_await std::move(asking);
    if (!who) {
      co_return std::move(who.error());
    }
    warn_of_token(*who);
    const std::chrono::seconds offset = _time.offset();
    http_request request = build(what, *who, offset);
    ++_requests;
    auto performing = _transport.perform(std::move(request), stop);
    auto answer = co_await std::move(performing);
    if (!answer) {
      co_return in_the_middle(std::move(answer.error())).within(subject_of(what));
    }
    if (auto somebody = foreign(what, *answer)) {
      co_return std::move(*somebody);
    }
    _time.note(*answer);
    if (answer->status >= 200 && answer->status < 300) {
      _understood = true;
      co_return std::move(*answer);
    }
    error failure = explain(what, *answer, &*who);
    if (answer->status / 100 == 3) {
      failure = in_the_middle(std::move(failure));
    }
    if (!corrected && _time.learn(*answer, offset, failure.why == reason::clock_skew)) {
      corrected = true;
      continue;
    }
    if (!blames_credentials(failure, what.method, *who)) {
      co_return failure;
    }
    if (refused) {
      failure.message += failure.why == reason::expired_token ? ", like those before them" : "";
      co_return failure;
    }
    _who.invalidate(*who);
    auto asking_again = _who.get(stop);
    auto others = co_await std::move(asking_again);
    if (!others) {
      if (others.error().what_now == disposition::cancelled) {
        co_return std::move(others.error());
      }
      // Which of the two errors helps more depends: the refusal says why new ones are needed.
      co_return std::move(others.error()).within(failure.message + "; asking for new ones");
    }
    if (others->same_keys(*who)) {
      failure.message += failure.why == reason::expired_token ? ", which gives the same again" : "";
      co_return failure;
    }
    refused = std::move(*who);
  }
}

error s3_client::explain(const call& what, const http_response& answer,
                         const credentials* who) const {
  error failure;
  failure.status = answer.status;
  const auto document = parse_error(answer.body);
  if (document) {
    failure.code = one_line(document->code, code_bytes_max);
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
  if (failure.remedy == denied_remedy) {
    failure.remedy = std::string("these credentials need ") +
                     right_for(what.method, what.key.empty(), what.query) + ": " + denied_remedy;
  }
  failure.message =
      subject_of(what) + ": " + _options.where.host + " answered " + std::to_string(answer.status);
  if (!failure.code.empty()) {
    failure.message += " " + failure.code;
  }
  if (document && !document->message.empty()) {
    failure.message += " (" + one_line(document->message) + ")";
  }
  if (who != nullptr && (failure.why == reason::access || failure.why == reason::expired_token)) {
    failure.message += "; access key " + who->access_key_id + " from " + who->source;
  }
  std::string region = document ? document->region : "";
  if (const auto header = answer.header("x-amz-bucket-region"); region.empty() && header) {
    region = *header;
  }
  add_region_remedy(failure, one_line(region, code_bytes_max));
  if (answer.status == 400 && document && has_header(what.headers, "x-amz-checksum-")) {
    judge_by_message(failure, document->message, !what.body.empty());
  }
  failure.retry_after = retry_after(answer);
  return failure;
}

// A wrong region shows as a redirect, as a malformed Authorization header or, to a HEAD, as a bare
// 400; each time the answer names the right one.
void s3_client::add_region_remedy(error& failure, std::string region) const {
  const bool suspicious = failure.why == reason::configuration || failure.status == 400;
  if (!suspicious || region.empty() || region == _options.region) {
    return;
  }
  failure.why = reason::configuration;
  failure.remedy = "the bucket is in region " + region + ": s3.region must be that, and is \"" +
                   _options.region + "\"";
}

task<result<etag>> s3_client::put_object(put_request request, engine::stop_token stop) {
  call what("PUT", request.key, answer_kind::object);
  what.transfer = true;
  add_write_headers(what.headers, request.options);
  add_conditions(what.headers, request.condition);
  if (request.options.checksum_crc32 && request.digests.crc32) {
    what.headers.emplace_back("x-amz-checksum-crc32", crc32_base64(*request.digests.crc32));
  }
  if (request.options.content_md5 && request.body.source() == nullptr) {
    if (std::string md5 = md5_base64(request.body.bytes()); !md5.empty()) {
      what.headers.emplace_back("content-md5", std::move(md5));
    }
  }
  what.body = request.body;
  what.payload_sha256 = request.digests.payload_sha256;
  what.form = request.form;
  what.fresh_connection = request.fresh_connection;
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  auto tag = tag_of(*answer);
  if (!tag || !answer->header("etag")) {
    co_return protocol_error(request.key, "the store acknowledged an object without an ETag");
  }
  co_return std::move(*tag);
}

task<result<std::size_t>> s3_client::get_object(get_request request, engine::stop_token stop) {
  call what("GET", request.key, answer_kind::object);
  what.transfer = true;
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
    if (request.range && more_than_asked_for(answer.error())) {
      const std::uint64_t first = request.range->offset;
      co_return protocol_error(
          request.key, "asked for bytes " + std::to_string(first) + "-" +
                           std::to_string(first + wanted - 1) + ", the store answered " +
                           std::to_string(answer.error().status) + ": " + answer.error().message);
    }
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
  } else if (answer->status != 200) {
    co_return protocol_error(request.key, "asked for the whole object, the store answered " +
                                              std::to_string(answer->status));
  }
  co_return answer->body_target_bytes;
}

task<result<text_object>> s3_client::get_object_text(object_key key, std::size_t bytes_max,
                                                     engine::stop_token stop) {
  call what("GET", key, answer_kind::object);
  what.answer_bytes_max = std::max(bytes_max, page_bytes_max);
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  if (answer->status != 200) {
    co_return protocol_error(
        key, "asked for the whole object, the store answered " + std::to_string(answer->status));
  }
  if (answer->body.size() > bytes_max) {
    error failure;
    failure.why = reason::protocol;
    failure.message =
        key.str() + ": larger than the " + std::to_string(bytes_max) + " bytes it may have";
    co_return failure;
  }
  auto tag = tag_of(*answer);
  if (!tag) {
    co_return protocol_error(key, "the store gives an ETag that is none");
  }
  text_object object;
  object.tag = std::move(*tag);
  object.body = std::move(answer->body);
  co_return object;
}

task<result<object_info>> s3_client::head_object(object_key key, engine::stop_token stop) {
  call what("HEAD", key, answer_kind::object);
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  const auto text = [&](std::string_view name) {
    return std::string(answer->header(name).value_or(""));
  };
  const auto size = number_in(text("content-length"));
  if (!size || *size > object_bytes_max) {
    co_return protocol_error(key, "HEAD was answered without a size that an object can have");
  }
  auto tag = tag_of(*answer);
  if (!tag) {
    co_return protocol_error(key, "the store gives an ETag that is none");
  }
  object_info info;
  info.size = *size;
  info.tag = std::move(*tag);
  info.stored_as = storage_class(text("x-amz-storage-class"));
  info.restore = text("x-amz-restore");
  info.archive_status = text("x-amz-archive-status");
  info.sse = text("x-amz-server-side-encryption");
  info.last_modified = text("last-modified");
  co_return info;
}

// Sees to it that a listing ends: pages are counted, and a place in it is met once.
class s3_client::page_turner {
 public:
  // Why the page is not to be fetched; empty: it is.
  std::string turn(const std::string& next_place, bool page_was_empty) {
    _empty = page_was_empty ? _empty + 1 : 0;
    if (!_seen.insert(std::hash<std::string>()(next_place)).second) {
      return "the store repeats a page";
    }
    if (_empty >= empty_pages_max || ++_pages >= listing_pages_max) {
      return "the store's list does not end: " + std::to_string(_seen.size()) +
             " pages, the last " + std::to_string(_empty) + " empty";
    }
    return {};
  }

 private:
  std::unordered_set<std::size_t> _seen;
  std::size_t _pages = 0;
  std::size_t _empty = 0;  // in a row
};

namespace {

// What S3 makes of keys: the prefix, something, and the delimiter at the end.
bool is_common_prefix(const std::string& text, const list_request& request) {
  return text.size() > request.prefix.size() && text.starts_with(request.prefix) &&
         text.ends_with(request.delimiter);
}

}  // namespace

task<result<listing>> s3_client::list_objects(list_request request, engine::stop_token stop) {
  listing all;
  std::string token;
  page_turner pages;
  for (;;) {
    call what("GET", object_key(), answer_kind::document);
    what.query = {{"encoding-type", "url"}, {"list-type", "2"}, {"prefix", request.prefix}};
    if (!request.delimiter.empty()) {
      what.query.emplace_back("delimiter", request.delimiter);
    }
    if (!request.start_after.empty()) {
      what.query.emplace_back("start-after", request.start_after);
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
      co_return std::move(page.error()).within("listing " + request.prefix);
    }
    for (auto& object : page->content.objects) {
      if (!object.key.str().starts_with(request.prefix)) {
        co_return protocol_error("listing " + request.prefix,
                                 "the store lists " + one_line(object.key.str()));
      }
      all.objects.push_back(std::move(object));
    }
    const bool empty = page->content.objects.empty() && page->content.common_prefixes.empty();
    for (auto& prefix : page->content.common_prefixes) {
      if (!is_common_prefix(prefix, request)) {
        co_return protocol_error("listing " + request.prefix,
                                 "the store lists the prefix \"" + one_line(prefix) + "\"");
      }
      all.common_prefixes.push_back(std::move(prefix));
    }
    if (all.objects.size() + all.common_prefixes.size() > request.objects_max) {
      error failure;
      failure.message =
          "more than " + std::to_string(request.objects_max) + " objects under " + request.prefix;
      co_return failure;
    }
    if (page->next_token.empty()) {
      co_return all;
    }
    if (std::string why = pages.turn(page->next_token, empty); !why.empty()) {
      co_return protocol_error("listing " + request.prefix, std::move(why));
    }
    token = page->next_token;
  }
}

task<result<void>> s3_client::delete_object(object_key key, engine::stop_token stop) {
  call what("DELETE", key, answer_kind::nothing);
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer && answer.error().what_now != disposition::not_found) {
    co_return std::move(answer.error());
  }
  co_return engine::ok();
}

task<result<created_upload>> s3_client::create_multipart_upload(object_key key,
                                                                write_options options,
                                                                engine::stop_token stop) {
  call what("POST", key, answer_kind::document);
  what.query = {{"uploads", ""}};
  add_write_headers(what.headers, options);
  if (options.checksum_crc32) {
    what.headers.emplace_back("x-amz-checksum-algorithm", "CRC32");
    if (options.checksum_type) {
      what.headers.emplace_back("x-amz-checksum-type", "COMPOSITE");
    }
  }
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  auto id = parse_create_upload(answer->body);
  if (!id) {
    co_return std::move(id.error()).within(key.str());
  }
  co_return created_upload(std::move(*id), options.checksum_crc32);
}

task<result<etag>> s3_client::upload_part(upload_part_request request, engine::stop_token stop) {
  BTS3_ASSERT(request.number >= 1 && request.number <= part_number_max);
  call what("PUT", request.key, answer_kind::object);
  what.transfer = true;
  what.query = {{"partNumber", std::to_string(request.number)}, {"uploadId", request.id.str()}};
  if (request.digests.crc32) {
    what.headers.emplace_back("x-amz-checksum-crc32", crc32_base64(*request.digests.crc32));
  }
  what.headers.emplace_back("content-type", "application/octet-stream");
  what.body = request.body;
  what.payload_sha256 = request.digests.payload_sha256;
  what.form = request.form;
  what.fresh_connection = request.fresh_connection;
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  auto tag = tag_of(*answer);
  if (!tag || tag->empty()) {
    co_return protocol_error(request.key, "the store acknowledged part " +
                                              std::to_string(request.number) + " without an ETag");
  }
  co_return std::move(*tag);
}

task<result<etag>> s3_client::complete_multipart_upload(object_key key, upload_id id,
                                                        std::vector<completed_part> parts,
                                                        engine::stop_token stop) {
  const std::string body = write_complete_upload(parts);
  call what("POST", key, answer_kind::document);
  what.deadline = complete_deadline;
  what.query = {{"uploadId", id.str()}};
  what.headers.emplace_back("content-type", "application/xml");
  what.form.sign_payload = true;  // it is small, and every store understands that
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
    // 200 was sent before the work was done; the code tells what it is worth, and one that is not
    // known here is judged as a 500.
    http_response late = std::move(*answer);
    late.status = 500;
    co_return explain(copy, late, nullptr).within("inside an answer 200");
  }
  if (!tag) {
    co_return std::move(tag.error()).within(key.str());
  }
  co_return tag;
}

task<result<void>> s3_client::abort_multipart_upload(object_key key, upload_id id,
                                                     engine::stop_token stop) {
  call what("DELETE", key, answer_kind::nothing);
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
    call what("GET", key, answer_kind::document);
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
      co_return std::move(page.error()).within("parts of " + key.str());
    }
    for (const listed_part& part : page->parts) {
      if (!all.empty() && part.number <= all.back().number) {
        co_return protocol_error(key, "the store lists parts out of order");
      }
      all.push_back(part);
    }
    if (!page->next_marker) {
      co_return all;
    }
    // Markers grow, so that there are at most part_number_max pages.
    if (*page->next_marker <= marker.value_or(0)) {
      co_return protocol_error(key, "the store repeats a page of parts");
    }
    marker = page->next_marker;
  }
}

task<result<std::vector<listed_upload>>> s3_client::list_multipart_uploads(
    std::string prefix, engine::stop_token stop) {
  std::vector<listed_upload> all;
  std::optional<std::pair<std::string, std::string>> marker;
  page_turner pages;
  for (;;) {
    call what("GET", object_key(), answer_kind::document);
    what.query = {{"encoding-type", "url"}, {"prefix", prefix}, {"uploads", ""}};
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
      co_return std::move(page.error()).within("uploads under " + prefix);
    }
    const bool empty = page->uploads.empty();
    for (listed_upload& upload : page->uploads) {
      if (!upload.key.str().starts_with(prefix)) {
        co_return protocol_error("uploads under " + prefix,
                                 "the store lists " + one_line(upload.key.str()));
      }
      all.push_back(std::move(upload));
    }
    if (!page->next_marker) {
      co_return all;
    }
    const std::string next = page->next_marker->first + "\n" + page->next_marker->second;
    std::string why = pages.turn(next, empty);
    if (why.empty() && all.size() > uploads_max) {
      why = "the list does not end";
    }
    if (!why.empty()) {
      co_return protocol_error("uploads under " + prefix, std::move(why));
    }
    marker = page->next_marker;
  }
}

task<result<restore_outcome>> s3_client::restore_object(object_key key,
                                                        std::optional<unsigned> days,
                                                        std::optional<retrieval_tier> tier,
                                                        engine::stop_token stop) {
  BTS3_ASSERT(!days || *days >= 1);
  const std::string body = write_restore_request(days, tier);
  call what("POST", key, answer_kind::nothing);
  what.query = {{"restore", ""}};
  what.headers.emplace_back("content-type", "application/xml");
  what.form.sign_payload = true;  // it is small, and every store understands that
  what.body = std::as_bytes(std::span(body.data(), body.size()));
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (answer) {
    if (answer->status == 202) {
      co_return restore_outcome::accepted;
    }
    if (answer->status == 200) {
      co_return restore_outcome::thawed_already;
    }
    co_return protocol_error(
        key, "the store answered " + std::to_string(answer->status) + " to RestoreObject");
  }
  error failure = std::move(answer.error());
  for (const auto& [code, outcome] : restore_codes) {
    if (failure.code == code) {
      co_return outcome;
    }
  }
  if (failure.status == 405 || failure.status == 501) {
    failure.what_now = disposition::fail;
    failure.why = reason::unsupported;
    failure.remedy =
        "this store has no RestoreObject: make the object readable with the store's own tools, or "
        "copy it into a class that needs no thawing";
  } else if (failure.code == "AccessDenied") {
    failure.remedy = "thawing needs the permission s3:RestoreObject: check the policies";
  }
  co_return failure;
}

task<result<object_attributes>> s3_client::get_object_attributes(object_key key,
                                                                 engine::stop_token stop) {
  // Ceph 16 sends the object instead, so that XML is not to be expected.
  call what("GET", key, answer_kind::nothing);
  what.query = {{"attributes", ""}};
  what.headers.emplace_back("x-amz-max-parts", "1");  // their number is told all the same
  what.headers.emplace_back("x-amz-object-attributes",
                            "Checksum,ObjectParts,ObjectSize,StorageClass");
  what.answer_bytes_max = error_bytes_max;
  auto sending = send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  const auto unknown = [&](const std::string& why) {
    error failure;
    failure.why = reason::unsupported;
    failure.message = key.str() + ": this store does not answer GetObjectAttributes: " + why;
    return failure;
  };
  if (!answer) {
    error failure = std::move(answer.error());
    // A store that ignores the question sends the object, which is cut off after 64 KiB.
    const bool object_itself = failure.why == reason::protocol && failure.status / 100 == 2;
    if (object_itself || failure.status == 405 || failure.status == 501) {
      co_return unknown(failure.message);
    }
    co_return failure;
  }
  auto found = parse_attributes(answer->body);
  if (!found) {
    co_return unknown("it sends something else");
  }
  co_return found;
}

}  // namespace bts3::s3
