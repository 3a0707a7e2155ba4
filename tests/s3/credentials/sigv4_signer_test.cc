#include "s3/credentials/sigv4_signer.hh"
#include "s3/http/percent_encoding.hh"

#include <boost/test/unit_test.hpp>
#include <simdjson.h>

#include <ctime>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::s3;

namespace {

struct vector_case {
  std::string name;
  signing_input input;
  credentials who;
  signing_scope scope;
  std::chrono::system_clock::time_point when;
  std::string body;
  std::string payload_hash;
  std::string authorization;
};

std::string text(simdjson::dom::element element, const char* key) {
  return std::string(std::string_view(element[key]));
}

std::vector<std::pair<std::string, std::string>> pairs(simdjson::dom::element element,
                                                       const char* key) {
  std::vector<std::pair<std::string, std::string>> found;
  for (simdjson::dom::element pair : element[key].get_array()) {
    found.emplace_back(std::string(std::string_view(pair.at(0))),
                       std::string(std::string_view(pair.at(1))));
  }
  return found;
}

std::chrono::system_clock::time_point time_of(const std::string& stamp) {
  std::tm utc{};
  BOOST_REQUIRE(::strptime(stamp.c_str(), "%Y-%m-%dT%H:%M:%SZ", &utc) != nullptr);
  return std::chrono::system_clock::from_time_t(::timegm(&utc));
}

std::string day_of(std::string stamp) {
  stamp.resize(10);
  std::erase(stamp, '-');
  return stamp;
}

std::vector<vector_case> load(const char* file) {
  simdjson::dom::parser parser;
  const std::string path = std::string(BTS3_TEST_DATA) + "/sigv4/" + file;
  const simdjson::dom::element root = parser.load(path);
  std::vector<vector_case> cases;
  for (simdjson::dom::element element : root.get_array()) {
    vector_case made;
    made.name = text(element, "name");
    made.body = text(element, "body");
    made.payload_hash = text(element, "payload_hash");
    made.input.method = text(element, "method");
    made.input.path = uri_encode(text(element, "path"), true);
    made.input.query = pairs(element, "query");
    made.input.headers = pairs(element, "headers");
    made.input.payload = sha256_hex(made.body);
    made.scope.region = text(element, "region");
    made.scope.service = text(element, "service");
    if (bool(element["sign_body"])) {
      made.input.headers.emplace_back("x-amz-content-sha256", made.input.payload);
    }
    made.who.access_key_id = text(element, "access_key_id");
    made.who.secret_access_key = text(element, "secret_access_key");
    made.who.session_token = text(element, "session_token");
    const std::string stamp = text(element, "timestamp");
    made.when = time_of(stamp);
    made.authorization = "AWS4-HMAC-SHA256 Credential=" + made.who.access_key_id + "/" +
                         day_of(stamp) + "/" + made.scope.region + "/" + made.scope.service +
                         "/aws4_request, SignedHeaders=" + text(element, "signed_headers") +
                         ", Signature=" + text(element, "signature");
    cases.push_back(std::move(made));
  }
  return cases;
}

std::string header(const header_list& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (key == name) {
      return value;
    }
  }
  return "(none)";
}

void check(const std::vector<vector_case>& cases) {
  for (const vector_case& one : cases) {
    BOOST_TEST_CONTEXT(one.name) {
      BOOST_TEST(one.input.payload == one.payload_hash);
      const header_list added = sign(one.input, one.who, one.scope, one.when);
      BOOST_TEST(header(added, "Authorization") == one.authorization);
    }
  }
}

signing_input some_input() {
  signing_input input;
  input.method = "PUT";
  input.path = "/bucket/key";
  input.headers = {{"Host", "store.example"}};
  input.payload = unsigned_payload;
  return input;
}

credentials some_credentials() {
  credentials who;
  who.access_key_id = "AKIAIOSFODNN7EXAMPLE";
  who.secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
  return who;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sigv4_signer)

BOOST_AUTO_TEST_CASE(the_s3_references_worked_examples_are_signed_as_published) {
  const auto cases = load("s3_reference_examples.json");
  BOOST_TEST(cases.size() == 4U);
  check(cases);
}

BOOST_AUTO_TEST_CASE(the_signing_suite_is_signed_as_published) {
  const auto cases = load("aws_signing_suite.json");
  BOOST_TEST(cases.size() == 31U);
  check(cases);
}

BOOST_AUTO_TEST_CASE(every_header_that_is_added_is_signed) {
  credentials who = some_credentials();
  who.session_token = "token";
  signing_scope scope;
  scope.region = "us-east-1";
  const header_list added =
      sign(some_input(), who, scope, std::chrono::system_clock::from_time_t(1'369'353'600));
  BOOST_TEST(added.size() == 4U);
  BOOST_TEST(header(added, "x-amz-date") == "20130524T000000Z");
  BOOST_TEST(header(added, "x-amz-content-sha256") == "UNSIGNED-PAYLOAD");
  BOOST_TEST(header(added, "x-amz-security-token") == "token");
  BOOST_TEST(
      header(added, "Authorization")
          .find("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,") !=
      std::string::npos);
}

BOOST_AUTO_TEST_CASE(every_part_of_the_request_changes_the_signature) {
  signing_scope scope;
  scope.region = "us-east-1";
  const auto when = std::chrono::system_clock::from_time_t(1'369'353'600);
  const auto signature = [&](const signing_input& input, const signing_scope& where,
                             std::chrono::system_clock::time_point time) {
    const header_list added = sign(input, some_credentials(), where, time);
    const std::string value = header(added, "Authorization");
    return value.substr(value.find("Signature="));
  };
  std::vector<std::string> seen = {signature(some_input(), scope, when)};
  signing_input input = some_input();
  input.method = "GET";
  seen.push_back(signature(input, scope, when));
  input = some_input();
  input.path = "/bucket//key";
  seen.push_back(signature(input, scope, when));
  input = some_input();
  input.query = {{"partNumber", "1"}};
  seen.push_back(signature(input, scope, when));
  input = some_input();
  input.headers.emplace_back("x-amz-storage-class", "DEEP_ARCHIVE");
  seen.push_back(signature(input, scope, when));
  input = some_input();
  input.payload = empty_payload;
  seen.push_back(signature(input, scope, when));
  seen.push_back(signature(some_input(), scope, when + std::chrono::seconds(1)));
  scope.region = "eu-central-1";
  seen.push_back(signature(some_input(), scope, when));
  std::sort(seen.begin(), seen.end());
  BOOST_TEST((std::adjacent_find(seen.begin(), seen.end()) == seen.end()));
}

BOOST_AUTO_TEST_CASE(percent_encoding_leaves_only_unreserved_characters) {
  BOOST_TEST(uri_encode("azAZ09-._~", false) == "azAZ09-._~");
  BOOST_TEST(uri_encode("a/b c", true) == "a/b%20c");
  BOOST_TEST(uri_encode("a/b", false) == "a%2Fb");
  BOOST_TEST(uri_encode("+%*'()!@$&=:;,", false) == "%2B%25%2A%27%28%29%21%40%24%26%3D%3A%3B%2C");
  BOOST_TEST(uri_encode("\xe1\x88\xb4", false) == "%E1%88%B4");
  BOOST_TEST(uri_encode(std::string_view("\0\n", 2), false) == "%00%0A");
  BOOST_TEST(uri_encode("/a//b/../c/", true) == "/a//b/../c/");
}

BOOST_AUTO_TEST_CASE(the_query_is_sorted_after_encoding) {
  BOOST_TEST(canonical_query({}) == "");
  BOOST_TEST(canonical_query({{"uploads", ""}}) == "uploads=");
  BOOST_TEST(canonical_query({{"prefix", "a/b"}, {"list-type", "2"}}) ==
             "list-type=2&prefix=a%2Fb");
  BOOST_TEST(canonical_query({{"a", "2"}, {"a", "1"}, {"A", "3"}}) == "A=3&a=1&a=2");
}

BOOST_AUTO_TEST_CASE(the_empty_payloads_hash_is_sha256_of_nothing) {
  BOOST_TEST(sha256_hex("") == empty_payload);
}

BOOST_AUTO_TEST_SUITE_END()
