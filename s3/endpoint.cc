#include "s3/endpoint.hh"

#include "s3/sigv4_signer.hh"

#include <utility>

namespace bts3::s3 {

namespace {

engine::error bad_url(const std::string& url, const std::string& what) {
  engine::error failure;
  failure.why = engine::reason::configuration;
  failure.message = "s3.endpoint_url = \"" + url + "\": " + what;
  failure.remedy = "give it as https://host, https://host:port or http://host:port";
  return failure;
}

}  // namespace

std::string endpoint::url(std::string_view path, std::string_view query) const {
  std::string text = scheme + "://" + host;
  text += path;
  if (!query.empty()) {
    text += "?";
    text += query;
  }
  return text;
}

engine::result<endpoint> make_endpoint(const std::string& endpoint_url, const std::string& region,
                                       const bucket_name& bucket, addressing style) {
  endpoint made;
  const bool aws = endpoint_url.empty();
  if (aws) {
    made.scheme = "https";
    made.host = "s3." + region + ".amazonaws.com" + (region.starts_with("cn-") ? ".cn" : "");
  } else {
    const std::size_t colon = endpoint_url.find("://");
    made.scheme = colon == std::string::npos ? "" : endpoint_url.substr(0, colon);
    if (made.scheme != "http" && made.scheme != "https") {
      return bad_url(endpoint_url, "it must begin with https:// or http://");
    }
    const std::string rest = endpoint_url.substr(colon + 3);
    const std::size_t slash = rest.find_first_of("/?#");
    made.host = rest.substr(0, slash);
    if (slash != std::string::npos) {
      made.base_path = rest.substr(slash);
    }
    while (made.base_path.ends_with('/')) {
      made.base_path.pop_back();
    }
    if (made.host.empty() || made.host.find_first_of("@ ") != std::string::npos) {
      return bad_url(endpoint_url, "no host name in it");
    }
    if (made.base_path.find_first_of("?#") != std::string::npos) {
      return bad_url(endpoint_url, "a query or fragment has no meaning here");
    }
    // Clients leave the scheme's own port out of Host, and it is signed.
    const std::string own_port = made.scheme == "https" ? ":443" : ":80";
    if (made.host.ends_with(own_port)) {
      made.host.erase(made.host.size() - own_port.size());
    }
  }
  const bool dots = bucket.str().find('.') != std::string::npos;
  const bool virtual_hosted =
      style == addressing::virtual_hosted || (style == addressing::automatic && aws && !dots);
  if (virtual_hosted) {
    made.host = bucket.str() + "." + made.host;
  } else {
    made.base_path += "/" + uri_encode(bucket.str(), false);
  }
  return made;
}

}  // namespace bts3::s3
