#include "s3/verbs/error_codes.hh"

#include <algorithm>
#include <vector>

namespace bts3::s3 {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::setting;
using engine::wording;

struct error_class {
  const char* code;
  disposition what_now;
  reason why;
  wording remedy;
};

// A bare 403 does not say which of these it is. `right`: what the request takes.
wording denied_remedy(const char* right) {
  return std::string("these credentials need ") + right +
         ": check the policies of user and bucket; a bucket may also demand " +
         wording(setting::acl) + " (another account's: \"bucket-owner-full-control\"), " +
         setting::tags + " or " + setting::request_payer;
}

wording region_remedy() {
  return "set " + wording(setting::region) + " to the bucket's region, or correct " +
         setting::endpoint;
}

// What S3's error codes mean here ("Error responses", Amazon S3 API Reference). Codes that are
// absent are judged by their HTTP status.
const std::vector<error_class>& known_codes() {
  static const std::vector<error_class> all = {
      {"NoSuchKey", disposition::not_found, reason::unspecified, ""},
      {"NoSuchUpload", disposition::not_found, reason::unspecified, ""},
      {"NoSuchBucket", disposition::fail, reason::configuration,
       "correct " + wording(setting::bucket) + ", " + setting::region + " or " + setting::endpoint +
           ", or create the bucket"},
      {"InvalidAccessKeyId", disposition::fail, reason::access,
       "the store does not know this access key: check the credentials and " +
           wording(setting::endpoint)},
      {"SignatureDoesNotMatch", disposition::fail, reason::access,
       "the secret access key does not belong to the access key, or a proxy changes requests on "
       "their way (a rewritten Host header): check the credentials, and that " +
           wording(setting::endpoint) + " names the host that the store sees"},
      {"AccessDenied", disposition::fail, reason::access, ""},
      {"InvalidObjectState", disposition::fail, reason::not_thawed,
       "the object is archived: thaw it (RestoreObject) first"},
      {"ExpiredToken", disposition::fail, reason::expired_token,
       "the temporary credentials have run out: get new ones"},
      {"TokenRefreshRequired", disposition::fail, reason::expired_token,
       "the temporary credentials have run out: get new ones"},
      {"InvalidToken", disposition::fail, reason::access,
       "the session token is damaged or does not belong to the access key: get new credentials"},
      {"InvalidStorageClass", disposition::fail, reason::configuration,
       "this store does not have that storage class: set " + wording(setting::data_class) +
           " and " + setting::manifest_class},
      {"RequestTimeTooSkewed", disposition::fail, reason::clock_skew,
       "set this machine's clock (NTP)"},
      {"AuthorizationHeaderMalformed", disposition::fail, reason::configuration,
       "check " + wording(setting::region) + " and the access key id"},
      {"PermanentRedirect", disposition::fail, reason::configuration, region_remedy()},
      {"TemporaryRedirect", disposition::fail, reason::configuration, region_remedy()},
      {"IllegalLocationConstraintException", disposition::fail, reason::configuration,
       region_remedy()},
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
  return all;
}

void judge_by_status(error& failure, const char* right) {
  switch (failure.status) {
    case 404:
      failure.what_now = disposition::not_found;
      break;
    case 403:
      failure.why = reason::access;
      failure.remedy = denied_remedy(right);
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
      failure.remedy = too_large_remedy();
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
      failure.remedy = region_remedy();
      break;
    default:
      failure.what_now = failure.status >= 500 ? disposition::retry : disposition::fail;
      break;
  }
}

}  // namespace

wording too_large_remedy() {
  return "the store, or a proxy before it, takes no body of that size: lower " +
         wording(setting::part_size) + ", or raise the proxy's limit (client_max_body_size)";
}

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
  judge_by_status(failure, right);
  for (const error_class& known : known_codes()) {
    if (failure.code == known.code) {
      failure.what_now = known.what_now;
      failure.why = known.why;
      failure.remedy = known.remedy;
    }
  }
  if (failure.code == "AccessDenied") {
    failure.remedy = denied_remedy(right);
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
