// A request as libcurl's options.
#pragma once

#include "engine/result.hh"
#include "s3/http/curl_exchange.hh"
#include "s3/http/curl_options.hh"
#include "s3/http/http_transport.hh"

#include <curl/curl.h>

namespace bts3::s3 {

// Whatever ends up in a request, a store's answer or the environment may have said first. Errors: a
// header with a line end in it, an endless header or address.
[[nodiscard]] engine::result<void> check_request(const http_request& request);

// Into `lines` libcurl's list of header lines for `request`, none of its own additions but Expect;
// false when it has no memory for them, and then some are there.
[[nodiscard]] bool add_header_lines(const http_request& request, curl_slist*& lines);

// Sets everything of `work.easy`, which is fresh or reset; `work`, `options` and `share` are
// referred to until libcurl has let go of it. `own_authorities`: nobody is trusted but whom
// `options` name.
void set_up(curl_exchange& work, const curl_options& options, bool own_authorities, CURLSH* share);

}  // namespace bts3::s3
