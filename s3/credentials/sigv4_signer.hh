// AWS Signature Version 4, in the form S3 uses: the path is signed as sent (percent-encoded once,
// never normalised), and x-amz-content-sha256 is part of every request.
//
// Pure: time and credentials are parameters. Algorithm: "Signature Calculations for the
// Authorization Header", Amazon S3 API Reference.
#pragma once

#include "s3/credentials/credentials.hh"
#include "s3/http/http_transport.hh"

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::s3 {

using query_list = std::vector<std::pair<std::string, std::string>>;

// "a=1&b=", sorted and encoded: the form that is both signed and sent.
[[nodiscard]] std::string canonical_query(query_list query);

// The payload's hash for a body that is not signed.
inline constexpr std::string_view unsigned_payload = "UNSIGNED-PAYLOAD";
// SHA-256 of nothing.
inline constexpr std::string_view empty_payload =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct signing_input {
  std::string method;
  std::string path;     // encoded, with its leading slash
  query_list query;     // not encoded
  header_list headers;  // Host among them; every one is signed
  std::string payload;  // 64 hexadecimal digits, or unsigned_payload
};

struct signing_scope {
  std::string region;
  std::string service = "s3";
};

// The headers to add to `input.headers`: x-amz-date, x-amz-content-sha256 (service s3 only),
// x-amz-security-token with temporary credentials, and Authorization.
[[nodiscard]] header_list sign(const signing_input& input, const credentials& who,
                               const signing_scope& scope,
                               std::chrono::system_clock::time_point when);

// Hexadecimal SHA-256 of a small body.
[[nodiscard]] std::string sha256_hex(std::string_view bytes);

}  // namespace bts3::s3
