// Text in an address.
#pragma once

#include <string>
#include <string_view>

namespace bts3::s3 {

// Percent-encodes as RFC 3986 and SigV4 want it: everything but A-Z a-z 0-9 - . _ ~, upper-case
// hexadecimal; '/' stays when `keep_slash`.
[[nodiscard]] std::string uri_encode(std::string_view text, bool keep_slash);
}  // namespace bts3::s3
