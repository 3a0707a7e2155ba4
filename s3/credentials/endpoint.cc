#include "s3/credentials/endpoint.hh"

#include "s3/http/percent_encoding.hh"

#include <curl/curl.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::error;
using engine::result;
using engine::setting;
using engine::wording;

// S3's own limit is 63 (general purpose bucket naming rules); it was 255 once, and other stores
// still allow that.
constexpr std::size_t bucket_bytes_max = 255;

constexpr std::string_view lower_case = "abcdefghijklmnopqrstuvwxyz";
constexpr std::string_view digits = "0123456789";

bool consists_of(std::string_view text, std::initializer_list<std::string_view> sets) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return std::any_of(sets.begin(), sets.end(),
                       [&](std::string_view set) { return set.find(c) != std::string_view::npos; });
  });
}

error bad_value(const wording& name, const std::string& value, std::string what, wording remedy) {
  return engine::configuration_error(name.text() + " = \"" + value + "\": " + std::move(what),
                                     std::move(remedy));
}

error bad_url(const wording& name, const std::string& url, std::string what) {
  return bad_value(name, url, std::move(what),
                   "give it as https://host, https://host:port or http://host:port");
}

// One component of a parsed URL; empty when it is not there.
std::string component(CURLU* url, CURLUPart which) {
  char* text = nullptr;
  if (::curl_url_get(url, which, &text, 0) != CURLUE_OK) {
    return {};
  }
  const std::unique_ptr<char, decltype(&::curl_free)> owner(text, &::curl_free);
  return text;
}

bool is_ip_address(const std::string& host) {
  return host.starts_with('[') || consists_of(host, {digits, "."});
}

}  // namespace

bool endpoint::loopback() const {
  if (host == "[::1]" || host.starts_with("[::1]:")) {
    return true;
  }
  const std::string name = host.substr(0, host.rfind(':'));
  return name == "localhost" || name.ends_with(".localhost") ||
         (name.starts_with("127.") && is_ip_address(name));
}

std::string endpoint::url(std::string_view path, std::string_view query) const {
  std::string text = scheme + "://" + host;
  if (!zone.empty()) {
    text.insert(text.find(']'), "%25" + zone);
  }
  text += path;
  if (!query.empty()) {
    text += "?";
    text += query;
  }
  return text;
}

result<endpoint> parse_endpoint_url(const wording& name, const std::string& text) {
  const std::unique_ptr<CURLU, decltype(&::curl_url_cleanup)> url(::curl_url(),
                                                                  &::curl_url_cleanup);
  if (!text.starts_with("https://") && !text.starts_with("http://")) {
    return bad_url(name, text, "it must begin with https:// or http://");
  }
  if (text.find(":///") != std::string::npos) {
    return bad_url(name, text, "no host name in it");  // libcurl would take what follows for one
  }
  const CURLUcode parsed = ::curl_url_set(url.get(), CURLUPART_URL, text.c_str(), CURLU_PATH_AS_IS);
  if (parsed != CURLUE_OK) {
    return bad_url(name, text, ::curl_url_strerror(parsed));
  }
  endpoint made;
  made.scheme = component(url.get(), CURLUPART_SCHEME);
  made.host = component(url.get(), CURLUPART_HOST);
  made.base_path = component(url.get(), CURLUPART_PATH);
  made.zone = component(url.get(), CURLUPART_ZONEID);
  for (char& c : made.host) {
    if (static_cast<unsigned char>(c) >= 0x80) {
      return bad_url(name, text, "the host name is not ASCII: give its xn-- form");
    }
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  if (!component(url.get(), CURLUPART_USER).empty() ||
      !component(url.get(), CURLUPART_PASSWORD).empty()) {
    error failure = bad_url(name, "(hidden)", "credentials do not belong into the URL");
    failure.remedy = "put them into the environment or an AWS profile";
    return failure;
  }
  if (text.find_first_of("?#") != std::string::npos) {
    return bad_url(name, text, "a query or fragment has no meaning here");
  }
  const std::string port = component(url.get(), CURLUPART_PORT);
  if (port == "0") {
    return bad_url(name, text, "there is no port 0");
  }
  // Clients leave the scheme's own port out of Host, and Host is signed.
  if (!port.empty() && port != (made.secure() ? "443" : "80")) {
    made.host += ":" + port;
  }
  while (made.base_path.ends_with('/')) {
    made.base_path.pop_back();
  }
  return made;
}

const aws_partition& partition_of(std::string_view region) {
  // "partitions.json" of AWS's SDKs.
  static constexpr std::pair<std::string_view, aws_partition> others[] = {
      {"cn-", {"amazonaws.com.cn", "api.amazonwebservices.com.cn", false}},
      {"us-iso-", {"c2s.ic.gov", "", true}},
      {"us-isob-", {"sc2s.sgov.gov", "", true}},
      {"us-isof-", {"csp.hci.ic.gov", "", true}},
      {"eu-isoe-", {"cloud.adc-e.uk", "", true}},
      {"eusc-", {"amazonaws.eu", "api.amazonwebservices.eu", true}},
  };
  static constexpr aws_partition usual = {"amazonaws.com", "api.aws", true};
  const auto* found = std::find_if(std::begin(others), std::end(others),
                                   [&](const auto& one) { return region.starts_with(one.first); });
  return found != std::end(others) ? found->second : usual;
}

namespace {

result<endpoint> aws_endpoint(const std::string& region, const endpoint_variant& variant) {
  const aws_partition& partition = partition_of(region);
  const bool no_dualstack = !variant.dualstack.empty() && partition.dualstack_suffix.empty();
  const bool no_fips = !variant.fips.empty() && !partition.fips;
  if (no_dualstack || no_fips) {
    return engine::configuration_error(
        (no_fips ? variant.fips : variant.dualstack) + ": S3 has no " +
            (no_fips ? "FIPS" : "dual-stack") + " endpoint in region " + region,
        "unset it, or name another region in " + wording(setting::region));
  }
  endpoint made;
  made.scheme = "https";
  made.host = std::string(variant.fips.empty() ? "s3" : "s3-fips") +
              (variant.dualstack.empty() ? "." : ".dualstack.") + region + ".";
  made.host += partition.suffix;
  return made;
}

}  // namespace

result<endpoint> make_endpoint(const std::string& endpoint_url, const std::string& region,
                               const bucket_name& bucket, addressing style,
                               const endpoint_variant& variant, const engine::wording& url_from) {
  const std::string& name = bucket.str();
  if (name.empty() || name.size() > bucket_bytes_max || name == "." || name == ".." ||
      !consists_of(name, {lower_case, digits, ".-_", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"})) {
    return bad_value(setting::bucket, name, "this is no bucket name",
                     "give the name alone, without s3:// and without a path");
  }
  if (region.empty() || !consists_of(region, {lower_case, digits, "-_"})) {
    return bad_value(setting::region, region, "this is no region",
                     "give the bucket's region, for example eu-central-1; for a store without "
                     "regions us-east-1 usually serves");
  }
  endpoint made;
  const bool aws = endpoint_url.empty();
  if (aws) {
    auto of_aws = aws_endpoint(region, variant);
    if (!of_aws) {
      return std::move(of_aws.error());
    }
    made = std::move(*of_aws);
  } else if (!variant.usual()) {
    return bad_value(url_from, endpoint_url,
                     "an endpoint of its own is neither dual stack nor FIPS, which " +
                         (variant.fips.empty() ? variant.dualstack : variant.fips) + " asks for",
                     "unset one of the two");
  } else {
    auto parsed = parse_endpoint_url(url_from, endpoint_url);
    if (!parsed) {
      return std::move(parsed.error());
    }
    made = std::move(*parsed);
  }
  const bool dots = name.find('.') != std::string::npos;
  const bool virtual_hosted =
      style == addressing::virtual_hosted || (style == addressing::automatic && aws && !dots);
  if (!virtual_hosted) {
    made.base_path += '/';
    made.base_path += uri_encode(name, false);
    return made;
  }
  if (!consists_of(name, {lower_case, digits, ".-"}) || name.starts_with('.') ||
      name.starts_with('-')) {
    return bad_value(setting::bucket, name, "this name cannot stand in a host name",
                     "set " + wording(setting::addressing) + " = \"path\"");
  }
  const std::string host = made.host.substr(0, made.host.find_last_of(':'));
  if (is_ip_address(made.host) || is_ip_address(host)) {
    return bad_value(url_from, endpoint_url,
                     "virtual-hosted addressing needs a host name, not an address",
                     "set " + wording(setting::addressing) + " = \"path\"");
  }
  made.host = name + "." + made.host;
  return made;
}

}  // namespace bts3::s3
