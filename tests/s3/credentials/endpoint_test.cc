#include "s3/credentials/endpoint.hh"

#include "tests/support/outcome.hh"
#include "tests/support/shown_setting.hh"

#include <boost/test/unit_test.hpp>

using bts3::engine::setting;
using bts3::testing::shown;

using namespace bts3;
using namespace bts3::s3;

namespace {

// "scheme host base_path", or the error's message.
std::string made(const std::string& url, const std::string& region, const std::string& bucket,
                 addressing style = addressing::automatic) {
  const auto where = make_endpoint(url, region, bucket_name(bucket), style);
  if (!where) {
    BOOST_TEST((where.error().why == engine::reason::configuration));
    BOOST_TEST(!where.error().remedy.empty());
    return where.error().message;
  }
  return where->scheme + " " + where->host + " " + where->base_path;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(endpoint_suite)

BOOST_AUTO_TEST_CASE(aws_is_virtual_hosted_over_https) {
  BOOST_TEST(made("", "eu-central-1", "backups") == "https backups.s3.eu-central-1.amazonaws.com ");
}

BOOST_AUTO_TEST_CASE(china_is_a_partition_of_its_own) {
  BOOST_TEST(made("", "cn-north-1", "backups") == "https backups.s3.cn-north-1.amazonaws.com.cn ");
}

BOOST_AUTO_TEST_CASE(each_partition_has_a_domain_of_its_own) {
  BOOST_TEST(made("", "us-gov-west-1", "b") == "https b.s3.us-gov-west-1.amazonaws.com ");
  BOOST_TEST(made("", "us-iso-east-1", "b") == "https b.s3.us-iso-east-1.c2s.ic.gov ");
  BOOST_TEST(made("", "us-isob-east-1", "b") == "https b.s3.us-isob-east-1.sc2s.sgov.gov ");
  BOOST_TEST(made("", "us-isof-south-1", "b") == "https b.s3.us-isof-south-1.csp.hci.ic.gov ");
  BOOST_TEST(made("", "eu-isoe-west-1", "b") == "https b.s3.eu-isoe-west-1.cloud.adc-e.uk ");
  BOOST_TEST(made("", "eusc-de-east-1", "b") == "https b.s3.eusc-de-east-1.amazonaws.eu ");
}

BOOST_AUTO_TEST_CASE(dual_stack_and_fips_have_hosts_of_their_own) {
  const auto host = [](const std::string& region, bool dualstack, bool fips,
                       const std::string& url = "") {
    endpoint_variant variant;
    variant.dualstack = dualstack ? "AWS_USE_DUALSTACK_ENDPOINT" : "";
    variant.fips = fips ? "AWS_USE_FIPS_ENDPOINT" : "";
    const auto where = make_endpoint(url, region, bucket_name("b"), addressing::automatic, variant,
                                     "AWS_ENDPOINT_URL");
    return where ? where->host : where.error().text();
  };
  BOOST_TEST(host("eu-west-1", true, false) == "b.s3.dualstack.eu-west-1.amazonaws.com");
  BOOST_TEST(host("us-east-1", false, true) == "b.s3-fips.us-east-1.amazonaws.com");
  BOOST_TEST(host("us-gov-east-1", true, true) ==
             "b.s3-fips.dualstack.us-gov-east-1.amazonaws.com");
  BOOST_TEST(host("cn-north-1", true, false) == "b.s3.dualstack.cn-north-1.amazonaws.com.cn");
  BOOST_TEST(host("cn-north-1", false, true) ==
             "AWS_USE_FIPS_ENDPOINT: S3 has no FIPS endpoint in region cn-north-1; unset it, or "
             "name another region in " +
                 shown(setting::region));
  BOOST_TEST(
      host("us-iso-east-1", true, false)
          .starts_with(
              "AWS_USE_DUALSTACK_ENDPOINT: S3 has no dual-stack endpoint in region us-iso-east-1"));
  for (const bool fips : {false, true}) {
    const std::string text = host("r", !fips, fips, "https://store");
    BOOST_TEST(text.starts_with("AWS_ENDPOINT_URL = \"https://store\": "), text);
    BOOST_TEST(text.find(fips ? "AWS_USE_FIPS_ENDPOINT" : "AWS_USE_DUALSTACK_ENDPOINT") !=
                   std::string::npos,
               text);
  }
}

BOOST_AUTO_TEST_CASE(the_zone_of_a_link_local_address_is_in_the_url_and_not_in_host) {
  for (const char* text :
       {"http://[fe80::1%25eth0]:9000/base", "http://[fe80::1%eth0]:9000/base"}) {
    const auto where = make_endpoint(text, "us-east-1", bucket_name("b"), addressing::automatic);
    BOOST_REQUIRE_MESSAGE(where.has_value(), text);
    BOOST_TEST(where->host == "[fe80::1]:9000");
    BOOST_TEST(where->url("/base/b/k", "x=1") == "http://[fe80::1%25eth0]:9000/base/b/k?x=1");
  }
  const auto plain = parse_endpoint_url("s3.endpoint_url", "https://[fe80::2%251]");
  BOOST_REQUIRE(plain.has_value());
  BOOST_TEST(plain->url("/", "") == "https://[fe80::2%251]/");
}

BOOST_AUTO_TEST_CASE(requests_to_loopback_addresses_stay_on_this_machine) {
  const auto stays = [](const char* url) {
    return parse_endpoint_url("s3.endpoint_url", url).value().loopback();
  };
  for (const char* url :
       {"http://localhost", "http://LOCALHOST:80", "https://a.localhost:9000", "http://127.0.0.1",
        "http://127.1.2.3:7480", "http://[::1]", "http://[::1]:9000/base"}) {
    BOOST_TEST(stays(url), url);
  }
  for (const char* url : {"http://localhost.example.org", "http://notlocalhost:80",
                          "http://127.example.org", "http://128.0.0.1", "http://[::2]:9000"}) {
    BOOST_TEST(!stays(url), url);
  }
}

BOOST_AUTO_TEST_CASE(a_bucket_with_dots_is_addressed_by_path) {
  BOOST_TEST(made("", "eu-central-1", "my.backups") ==
             "https s3.eu-central-1.amazonaws.com /my.backups");
}

BOOST_AUTO_TEST_CASE(a_custom_endpoint_is_addressed_by_path) {
  BOOST_TEST(made("http://127.0.0.1:9000", "us-east-1", "b") == "http 127.0.0.1:9000 /b");
  BOOST_TEST(made("https://Store.Example/", "us-east-1", "b") == "https store.example /b");
  BOOST_TEST(made("https://store.example/s3//", "us-east-1", "b") == "https store.example /s3/b");
  BOOST_TEST(made("http://[::1]:8000", "us-east-1", "b") == "http [::1]:8000 /b");
}

BOOST_AUTO_TEST_CASE(the_style_can_be_forced) {
  BOOST_TEST(made("https://store.example:8443", "us-east-1", "b", addressing::virtual_hosted) ==
             "https b.store.example:8443 ");
  BOOST_TEST(made("", "us-east-1", "b", addressing::path) == "https s3.us-east-1.amazonaws.com /b");
}

BOOST_AUTO_TEST_CASE(the_schemes_own_port_is_left_out_of_host) {
  BOOST_TEST(made("https://store.example:443", "us-east-1", "b") == "https store.example /b");
  BOOST_TEST(made("http://store.example:80", "us-east-1", "b") == "http store.example /b");
  BOOST_TEST(made("http://store.example:443", "us-east-1", "b") == "http store.example:443 /b");
}

BOOST_AUTO_TEST_CASE(a_malformed_url_is_refused_with_the_configurations_key) {
  for (const char* url :
       {"store.example", "ftp://store.example", "https://", "https:///x", "https://a b",
        "http://:80", "https://store.example:99999", "https://store.example:0",
        "https://store.example:port", "https://store.example/?x=1", "https://store.example/#x",
        "https://stor\xc3\xa9.example", "https://store.example\n", "HTTPS//x", "s3://bucket"}) {
    BOOST_TEST_CONTEXT(url) {
      BOOST_TEST(made(url, "us-east-1", "b").starts_with(shown(setting::endpoint) + " = \""));
    }
  }
}

BOOST_AUTO_TEST_CASE(credentials_in_the_url_are_refused_and_not_repeated) {
  const std::string message = made("https://user:hunter2@store.example", "us-east-1", "b");
  BOOST_TEST(message.starts_with(shown(setting::endpoint) + " = "));
  BOOST_TEST(message.find("hunter2") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_impossible_bucket_name_is_refused) {
  for (const char* bucket : {"", "a/b", "s3://b", "with space", "b?x", "..", "b\n"}) {
    BOOST_TEST_CONTEXT(bucket) {
      BOOST_TEST(made("", "us-east-1", bucket).starts_with(shown(setting::bucket) + " = \""));
    }
  }
  BOOST_TEST(
      made("", "us-east-1", std::string(256, 'b')).starts_with(shown(setting::bucket) + " = \""));
}

BOOST_AUTO_TEST_CASE(a_bucket_that_cannot_stand_in_a_host_name_needs_path_addressing) {
  BOOST_TEST(made("", "us-east-1", "Old_Bucket")
                 .starts_with(shown(setting::bucket) + " = \"Old_Bucket\""));
  BOOST_TEST(made("", "us-east-1", "Old_Bucket", addressing::path) ==
             "https s3.us-east-1.amazonaws.com /Old_Bucket");
}

BOOST_AUTO_TEST_CASE(an_ip_address_has_no_virtual_hosts) {
  for (const char* url : {"http://127.0.0.1", "http://127.0.0.1:9000", "http://[::1]:9000"}) {
    BOOST_TEST(made(url, "us-east-1", "b", addressing::virtual_hosted)
                   .starts_with(shown(setting::endpoint) + " = \""));
  }
}

BOOST_AUTO_TEST_CASE(a_missing_or_malformed_region_is_refused) {
  BOOST_TEST(made("", "", "b").starts_with(shown(setting::region) + " = \"\""));
  BOOST_TEST(made("", "eu central", "b").starts_with(shown(setting::region) + " = \""));
  BOOST_TEST(made("", "evil.example/", "b").starts_with(shown(setting::region) + " = \""));
}

BOOST_AUTO_TEST_CASE(url_joins_path_and_query) {
  const auto where = make_endpoint("http://h:1", "us-east-1", bucket_name("b"), addressing::path);
  BOOST_REQUIRE(where.has_value());
  BOOST_TEST(where->url("/b/k", "") == "http://h:1/b/k");
  BOOST_TEST(where->url("/b", "uploads=") == "http://h:1/b?uploads=");
  BOOST_TEST(!where->secure());
}

BOOST_AUTO_TEST_SUITE_END()
