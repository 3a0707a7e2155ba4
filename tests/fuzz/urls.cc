// Endpoints and places: URL, region and bucket, a line each.
#include "app/config/working_place.hh"
#include "s3/credentials/endpoint.hh"
#include "tests/fuzz/input.hh"

using namespace bts3;

FUZZ(one) {
  std::string lines[3];
  std::string_view rest = one.text();
  for (std::string& line : lines) {
    line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
  const engine::wording name = engine::setting::endpoint;
  bool valid = false;
  if (const auto read = s3::parse_endpoint_url(name, lines[0])) {
    valid = true;
    BTS3_ASSERT(!read->host.empty());
    (void)read->loopback();
    // What it is called is a URL of the same place.
    const auto again =
        s3::parse_endpoint_url(name, read->scheme + "://" + read->host + read->base_path);
    BTS3_ASSERT(!read->zone.empty() ||
                (again && again->host == read->host && again->base_path == read->base_path));
  }
  for (const auto style :
       {s3::addressing::automatic, s3::addressing::path, s3::addressing::virtual_hosted}) {
    (void)s3::make_endpoint(lines[0], lines[1], s3::bucket_name(lines[2]), style);
    (void)s3::make_endpoint("", lines[1], s3::bucket_name(lines[2]), style);
  }
  app::bucket_place place;
  place.from = lines[2];
  place.region = lines[1];
  place.endpoint_url = lines[0];
  const engine::environment_lookup nothing = [](std::string_view) { return std::nullopt; };
  if (app::config_of_bucket(place, nothing) || valid) {
    one.accepted();
  }
}
