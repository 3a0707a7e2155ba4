// Where requests go: from bucket, region and an optional endpoint URL to scheme, host and path.
#pragma once

#include "engine/result.hh"
#include "s3/types.hh"

#include <string>
#include <string_view>

namespace bts3::s3 {

enum class addressing { automatic, path, virtual_hosted };

struct endpoint {
  std::string scheme;     // "https" or "http"
  std::string host;       // with ":port" unless it is the scheme's own; what Host must say
  std::string base_path;  // encoded, without a trailing slash: "" or "/bucket" or "/base/bucket"

  [[nodiscard]] bool secure() const { return scheme == "https"; }
  [[nodiscard]] std::string url(std::string_view path, std::string_view query) const;
};

// `endpoint_url` empty: AWS, https, by region. Automatic addressing is virtual-hosted on AWS,
// except for buckets with dots (a wildcard certificate does not cover them), and path style
// elsewhere. Errors (reason configuration) name the key of the configuration.
engine::result<endpoint> make_endpoint(const std::string& endpoint_url, const std::string& region,
                                       const bucket_name& bucket, addressing style);

}  // namespace bts3::s3
