#include "s3/credentials/aws_settings.hh"

#include <boost/test/unit_test.hpp>

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

using namespace bts3::s3;

namespace {

// Variables, and a shared config file in a directory of its own.
class settings {
 public:
  explicit settings(const std::string& config, std::map<std::string, std::string> more = {})
      : _values(std::move(more)) {
    std::string name = (std::filesystem::temp_directory_path() / "bts3-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    _directory = name;
    std::ofstream(_directory / "config") << config;
    _values["AWS_CONFIG_FILE"] = (_directory / "config").string();
    _values["AWS_SHARED_CREDENTIALS_FILE"] = (_directory / "credentials").string();
  }
  ~settings() { std::filesystem::remove_all(_directory); }
  settings(const settings&) = delete;
  settings& operator=(const settings&) = delete;

  [[nodiscard]] bts3::engine::environment_lookup environment() const {
    return [this](std::string_view name) -> std::optional<std::string> {
      const auto found = _values.find(std::string(name));
      return found == _values.end() ? std::nullopt : std::optional(found->second);
    };
  }
  [[nodiscard]] std::string url(const char* service) const {
    return configured_url(service, environment()).value;
  }

 private:
  std::filesystem::path _directory;
  std::map<std::string, std::string> _values;
};

constexpr const char* with_services =
    "[default]\nendpoint_url = http://profile\nservices = ours\n"
    "[services ours]\ns3 =\n  endpoint_url = http://s3-of-section\n"
    "sts =\n  endpoint_url = http://sts-of-section\n"
    "[profile bare]\nregion = eu-west-1\n";

}  // namespace

BOOST_AUTO_TEST_SUITE(aws_settings_suite)

BOOST_AUTO_TEST_CASE(an_endpoint_comes_from_variables_then_the_services_section_then_the_profile) {
  BOOST_TEST(settings(with_services).url("s3") == "http://s3-of-section");
  BOOST_TEST(settings(with_services).url("sts") == "http://sts-of-section");
  BOOST_TEST(settings(with_services, {{"AWS_ENDPOINT_URL", "http://any"}}).url("s3") ==
             "http://any");
  BOOST_TEST(settings(with_services,
                      {{"AWS_ENDPOINT_URL", "http://any"}, {"AWS_ENDPOINT_URL_S3", "http://s3"}})
                 .url("s3") == "http://s3");
  BOOST_TEST(settings(with_services, {{"AWS_ENDPOINT_URL_S3", "http://s3"}}).url("sts") ==
             "http://sts-of-section");
  BOOST_TEST(settings("[default]\nendpoint_url = http://p\n").url("s3") == "http://p");
  BOOST_TEST(settings("[default]\nendpoint_url = http://p\nservices = gone\n").url("s3") ==
             "http://p");
  BOOST_TEST(settings(with_services, {{"AWS_PROFILE", "bare"}}).url("s3").empty());
  const settings named(with_services);
  const std::string from = configured_url("s3", named.environment()).from;
  BOOST_TEST(from.starts_with("s3.endpoint_url of profile \"services ours\" in /"), from);
}

BOOST_AUTO_TEST_CASE(configured_endpoints_can_be_ignored_all_together) {
  BOOST_TEST(settings(with_services, {{"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True"},
                                      {"AWS_ENDPOINT_URL_S3", "http://s3"}})
                 .url("s3")
                 .empty());
  BOOST_TEST(settings("[default]\nendpoint_url = http://p\nignore_configured_endpoint_urls = true")
                 .url("s3")
                 .empty());
  const settings wrong("", {{"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "yes"}});
  const auto variant = wanted_variant(wrong.environment());
  BOOST_REQUIRE(!variant.has_value());
  BOOST_TEST(variant.error().text() ==
             "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS = \"yes\"; it must be true or false");
}

BOOST_AUTO_TEST_CASE(dual_stack_and_fips_are_asked_for_by_variable_or_profile) {
  const settings none("");
  BOOST_TEST(wanted_variant(none.environment())->usual());
  const settings both("",
                      {{"AWS_USE_DUALSTACK_ENDPOINT", "true"}, {"AWS_USE_FIPS_ENDPOINT", "TRUE"}});
  BOOST_TEST(wanted_variant(both.environment())->dualstack == "AWS_USE_DUALSTACK_ENDPOINT");
  BOOST_TEST(wanted_variant(both.environment())->fips == "AWS_USE_FIPS_ENDPOINT");
  const settings profile(
      "[default]\nuse_fips_endpoint = true\ns3 =\n  use_dualstack_endpoint = true\n");
  BOOST_TEST(
      wanted_variant(profile.environment())->fips.starts_with("use_fips_endpoint of profile"));
  BOOST_TEST(!wanted_variant(profile.environment())->dualstack.empty());
  const settings beaten("[default]\nuse_fips_endpoint = true\n",
                        {{"AWS_USE_FIPS_ENDPOINT", "false"}});
  BOOST_TEST(wanted_variant(beaten.environment())->usual());
  const settings wrong("", {{"AWS_USE_FIPS_ENDPOINT", "1"}});
  BOOST_TEST(wanted_variant(wrong.environment()).error().text() ==
             "AWS_USE_FIPS_ENDPOINT = \"1\"; it must be true or false");
  const settings fast("[default]\ns3 =\n  use_accelerate_endpoint = true\n");
  BOOST_TEST(wanted_variant(fast.environment()).error().text().find("acceleration") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(
    authorities_are_named_by_aws_variables_first_then_by_those_of_curl_and_openssl) {
  const auto file = [](const std::string& config, std::map<std::string, std::string> values) {
    const settings here(config, std::move(values));
    return ca_bundle_file(here.environment()).value;
  };
  BOOST_TEST(file("", {}).empty());
  BOOST_TEST(file("", {{"SSL_CERT_FILE", "/ssl"}}) == "/ssl");
  BOOST_TEST(file("", {{"SSL_CERT_FILE", "/ssl"}, {"CURL_CA_BUNDLE", "/curl"}}) == "/curl");
  BOOST_TEST(file("[default]\nca_bundle = /p\n", {{"CURL_CA_BUNDLE", "/curl"}}) == "/p");
  BOOST_TEST(file("[default]\nca_bundle = /p\n", {{"AWS_CA_BUNDLE", "/aws"}}) == "/aws");
}

BOOST_AUTO_TEST_CASE(checksums_and_sts_are_obeyed_or_refused_by_name) {
  const settings none("");
  BOOST_TEST(!*checksums_when_required(none.environment()));
  BOOST_TEST(!*legacy_sts(none.environment()));
  const settings set("[default]\nrequest_checksum_calculation = when_required\n",
                     {{"AWS_STS_REGIONAL_ENDPOINTS", "legacy"}});
  BOOST_TEST(*checksums_when_required(set.environment()));
  BOOST_TEST(*legacy_sts(set.environment()));
  const settings wrong("", {{"AWS_REQUEST_CHECKSUM_CALCULATION", "never"},
                            {"AWS_STS_REGIONAL_ENDPOINTS", "global"}});
  BOOST_TEST(checksums_when_required(wrong.environment()).error().text() ==
             "AWS_REQUEST_CHECKSUM_CALCULATION = \"never\"; it must be when_supported or "
             "when_required");
  BOOST_TEST(legacy_sts(wrong.environment()).error().text() ==
             "AWS_STS_REGIONAL_ENDPOINTS = \"global\"; it must be regional or legacy");
}

BOOST_AUTO_TEST_CASE(a_directory_of_hashed_certificates_is_one_with_some_in_it) {
  std::string name = (std::filesystem::temp_directory_path() / "bts3-ca-XXXXXX").string();
  BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
  const auto directory = [](std::map<std::string, std::string> more) {
    const settings here("[default]\nregion = r\n", std::move(more));
    return ca_directory(here.environment());
  };
  const auto none = directory({});
  BOOST_REQUIRE(none.has_value());
  BOOST_TEST(none->empty());
  for (const std::string& wrong : {name, name + "/nowhere"}) {
    const auto refused = directory({{"SSL_CERT_DIR", wrong}});
    BOOST_REQUIRE(!refused.has_value());
    BOOST_TEST(refused.error().text().find("SSL_CERT_DIR") != std::string::npos);
    BOOST_TEST(refused.error().text().find(wrong) != std::string::npos);
    BOOST_TEST(refused.error().text().find("openssl rehash") != std::string::npos);
  }
  std::ofstream(name + "/ca.pem") << "x";
  BOOST_TEST(!directory({{"SSL_CERT_DIR", name}}).has_value());
  std::ofstream(name + "/0067ab5b.0") << "x";
  BOOST_TEST(directory({{"SSL_CERT_DIR", name}}).value() == name);
  BOOST_TEST(directory({{"SSL_CERT_DIR", name + ":" + name}}).value() == name + ":" + name);
  BOOST_TEST(!directory({{"SSL_CERT_DIR", name + ":/nowhere"}}).has_value());
  BOOST_TEST(directory({{"SSL_CERT_DIR", name}, {"SSL_CERT_FILE", "/f"}}).value() == name);
  // AWS's own bundle is meant alone.
  BOOST_TEST(directory({{"SSL_CERT_DIR", name}, {"AWS_CA_BUNDLE", "/f"}}).value().empty());
  std::filesystem::remove_all(name);
}

BOOST_AUTO_TEST_CASE(nested_settings_of_the_profile_say_how_requests_are_made) {
  const auto nested = [](const std::string& lines) {
    const settings here("[default]\ns3 =\n" + lines);
    return nested_s3(here.environment());
  };
  BOOST_TEST(nested("  addressing_style = path\n")->addressing_style == "path");
  BOOST_TEST(nested("  addressing_style = Virtual\n")->addressing_style == "virtual");
  BOOST_TEST(nested("  addressing_style = auto\n")->addressing_style.empty());
  BOOST_TEST(nested("  max_concurrent_requests = 7\n")->addressing_style.empty());
  BOOST_TEST(!nested("  addressing_style = auto\n")->payload_signing_enabled);
  BOOST_TEST(nested("  payload_signing_enabled = true\n")->payload_signing_enabled);
  for (const char* wrong : {"addressing_style = dns", "payload_signing_enabled = perhaps"}) {
    const auto refused = nested(std::string("  ") + wrong + "\n");
    BOOST_REQUIRE(!refused.has_value());
    BOOST_TEST(refused.error().message.find("s3.") != std::string::npos, refused.error().message);
    BOOST_TEST(!refused.error().remedy.empty());
  }
}

BOOST_AUTO_TEST_SUITE_END()
