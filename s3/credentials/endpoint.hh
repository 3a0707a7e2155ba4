// Where requests go: from bucket, region and an optional endpoint URL to scheme, host and path.
#pragma once

#include "engine/result.hh"
#include "engine/wording.hh"
#include "s3/credentials/aws_settings.hh"
#include "s3/credentials/bucket_name.hh"

#include <string>
#include <string_view>

namespace bts3::s3 {

enum class addressing { automatic, path, virtual_hosted };

struct endpoint {
  std::string scheme;  // "https" or "http"
  std::string host;    // lower case, with ":port" unless it is the scheme's own; what Host says
  // Of a link-local IPv6 address, as "eth0": which interface leads there. Part of no Host.
  std::string zone;
  std::string base_path;  // encoded, without a trailing slash: "", "/bucket" or "/base/bucket"

  [[nodiscard]] bool secure() const { return scheme == "https"; }
  // Whether requests stay on this machine: localhost, 127.0.0.0/8, ::1.
  [[nodiscard]] bool loopback() const;
  // `path` begins with base_path and a slash; `query` is without its '?', empty for none.
  [[nodiscard]] std::string url(std::string_view path, std::string_view query) const;
};

// Scheme, host and path of a URL. Errors (reason configuration) name `name`, the setting or
// variable that it comes from: a URL that is none or carries user, query or fragment.
engine::result<endpoint> parse_endpoint_url(const engine::wording& name, const std::string& url);

// A partition of AWS: what the host names of its services end in.
struct aws_partition {
  std::string_view suffix;
  std::string_view dualstack_suffix;  // of other services than S3; empty: there is no dual stack
  bool fips;                          // of S3
};
// By the beginning of the region's name: China, GovCloud, the isolated ones, Europe's own.
const aws_partition& partition_of(std::string_view region);

// `endpoint_url` empty: AWS, https, by region and its partition, in the `variant` that is wanted.
// Automatic addressing is virtual-hosted on AWS, except for buckets with dots (a
// wildcard certificate does not cover them), and path style elsewhere.
//
// Errors (reason configuration) name `url_from` or the setting, the value and the
// remedy: a variant together with a URL, or that the partition has not; a URL that is none or
// carries user, query or fragment; an empty or impossible bucket name or region; virtual-hosted
// addressing for a bucket that cannot stand in a host name, or of an IP address.
engine::result<endpoint> make_endpoint(const std::string& endpoint_url, const std::string& region,
                                       const bucket_name& bucket, addressing style,
                                       const endpoint_variant& variant = {},
                                       const engine::wording& url_from = engine::setting::endpoint);

}  // namespace bts3::s3
