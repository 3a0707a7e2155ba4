// Credentials as JSON, in the two dialects that programs and metadata services write.
#pragma once

#include "engine/result.hh"
#include "s3/credentials/credentials.hh"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::s3 {

enum class credential_dialect {
  // credential_process: "Version" is 1; SessionToken and Expiration are optional ("Process
  // credential provider", AWS SDKs and Tools Reference Guide).
  process,
  // ECS, EKS and EC2 endpoints: Token and Expiration; "Code", where present, is "Success"
  // ("Retrieve
  // security credentials from instance metadata", Amazon EC2 User Guide). Servers that imitate them
  // hand out long-term keys as well, so Token and Expiration may be absent.
  metadata,
};

// `source` becomes credentials::source and begins the messages, which name fields, never values:
// the text holds secrets.
engine::result<credentials> parse_credential_document(std::string_view json,
                                                      credential_dialect dialect,
                                                      std::string source);

// A point in time as ISO 8601 writes it, with its zone: 2026-01-02T03:04:05Z, with a fraction of a
// second (dropped), with +00:00 or +0000. Nullopt for everything else.
std::optional<std::chrono::system_clock::time_point> parse_iso8601(std::string_view text);

}  // namespace bts3::s3
