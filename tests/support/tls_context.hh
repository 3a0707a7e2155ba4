// A TLS server's side of a test.
#pragma once

#include <openssl/ssl.h>

#include <chrono>
#include <string>

namespace bts3::testing {

// A server context with a new self-signed certificate for 127.0.0.1 and localhost, valid for 25
// hours from `valid_from` after now, which is also written to `pem_path`. The caller frees the
// context; std::runtime_error where anything fails.
SSL_CTX* make_tls_context(const std::string& pem_path, std::chrono::seconds valid_from);

}  // namespace bts3::testing
