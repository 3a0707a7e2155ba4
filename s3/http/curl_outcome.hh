// What came of an exchange: its answer, or libcurl's failure as an error with what helps.
#pragma once

#include "engine/error.hh"
#include "engine/result.hh"
#include "s3/http/curl_exchange.hh"
#include "s3/http/curl_options.hh"

#include <string>

namespace bts3::s3 {

// Of an exchange that is finished or stalled; spends its response.
[[nodiscard]] engine::result<http_response> outcome_of(curl_exchange& work,
                                                       const curl_options& options);

// What libcurl did not give: reason system, to be repeated.
[[nodiscard]] engine::error not_given(const std::string& what, const std::string& why);

// "host:port" of an address, for messages.
[[nodiscard]] std::string host_and_port(const std::string& url);

}  // namespace bts3::s3
