#include "s3/verbs/error_codes.hh"

#include <algorithm>

namespace bts3::s3 {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;

struct error_class {
  const char* code;
  disposition what_now;
  reason why;
  const char* remedy;
};

// A bare 403 does not say which. Before it stands the right that the request takes.
constexpr const char* denied_remedy =
    "check the policies of user and bucket; a bucket may also "
    "demand s3.acl (another account's: \"bucket-owner-full-control\"), s3.tags or s3.request_payer";

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

void judge(error& failure, const char* right) {
  judge_by_status(failure);
  for (const error_class& known : known_codes) {
    if (failure.code == known.code) {
      failure.what_now = known.what_now;
      failure.why = known.why;
      failure.remedy = known.remedy;
    }
  }
  if (failure.remedy == denied_remedy) {
    failure.remedy = std::string("these credentials need ") + right + ": " + denied_remedy;
  }
}

void judge_checksum(error& failure, const std::string& message, bool has_body) {
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

}  // namespace bts3::s3
