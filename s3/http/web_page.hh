// Pages for people among the answers: no program speaks HTML to another.
#pragma once

#include "s3/http/http_transport.hh"

#include <string_view>

namespace bts3::s3 {

// Of type text/html or the like.
[[nodiscard]] bool says_html(const http_response& answer);
// That, or its body begins as HTML does.
[[nodiscard]] bool is_html(const http_response& answer);
// The collected body without a byte order mark and blanks before it.
[[nodiscard]] std::string_view body_text(const http_response& answer);

}  // namespace bts3::s3
