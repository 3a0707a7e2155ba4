// What the AWS variables and the shared files say beside credentials and region: where a service
// is, whom to trust, what to send. As other tools obey them ("AWS SDKs and Tools Reference Guide");
// what is set and cannot be obeyed is an error that names it.
//
// A variable beats the profile (the one of AWS_PROFILE). What is set in this program's own
// configuration beats both; that is the caller's business.
#pragma once

#include "engine/result.hh"
#include "s3/credentials/credentials.hh"

#include <string>

namespace bts3::s3 {

// A value and the variable, or the profile's setting, that it is from; both empty: there is none.
struct named_value {
  std::string value;
  std::string from;
};

// The URL of "s3" or "sts": AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, endpoint_url of that service in
// the section that the profile's `services` names, the profile's endpoint_url. None of them where
// AWS_IGNORE_CONFIGURED_ENDPOINT_URLS, or the profile's ignore_configured_endpoint_urls, is true.
named_value configured_url(const std::string& service,
                           const engine::environment_lookup& environment);

// Which of AWS's own endpoints is meant: AWS_USE_DUALSTACK_ENDPOINT and AWS_USE_FIPS_ENDPOINT, or
// the profile's use_dualstack_endpoint (for S3 also that of its nested `s3` settings) and
// use_fips_endpoint. The names are what asked for it; empty: nothing did.
struct endpoint_variant {
  std::string dualstack;
  std::string fips;
  [[nodiscard]] bool usual() const { return dualstack.empty() && fips.empty(); }
};
// Errors (reason configuration): a value that is neither true nor false;
// AWS_IGNORE_CONFIGURED_ENDPOINT_URLS likewise; use_accelerate_endpoint, which is not supported.
engine::result<endpoint_variant> wanted_variant(const engine::environment_lookup& environment);

// The certificate authorities to trust: AWS_CA_BUNDLE, the profile's ca_bundle, CURL_CA_BUNDLE,
// SSL_CERT_FILE.
named_value ca_bundle_file(const engine::environment_lookup& environment);

// Where there is none of those but perhaps SSL_CERT_FILE: the directory, or directories between
// colons, of hashed certificates that SSL_CERT_DIR names ("c_rehash", OpenSSL). Errors (reason
// configuration): one of them has no certificate by its hash, or cannot be read.
engine::result<std::string> ca_directory(const engine::environment_lookup& environment);

// What the profile's nested `s3` settings say of how requests are made; what is not set there is
// empty or false. Errors (reason configuration): values that they cannot have.
struct nested_s3_settings {
  std::string addressing_style;  // "path", "virtual"; empty: "auto" or not set
  bool payload_signing_enabled = false;
};
engine::result<nested_s3_settings> nested_s3(const engine::environment_lookup& environment);

// Whether checksums go only with what needs them: AWS_REQUEST_CHECKSUM_CALCULATION, or the
// profile's request_checksum_calculation, is "when_required". Errors: neither that nor
// "when_supported".
engine::result<bool> checksums_when_required(const engine::environment_lookup& environment);

// Whether STS is asked at its global address: AWS_STS_REGIONAL_ENDPOINTS, or the profile's
// sts_regional_endpoints, is "legacy". Errors: neither that nor "regional".
engine::result<bool> legacy_sts(const engine::environment_lookup& environment);

}  // namespace bts3::s3
