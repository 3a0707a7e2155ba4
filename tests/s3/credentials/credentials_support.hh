// Shared by the tests of places that credentials come from: a home directory and an environment of
// the test's own, a real transport, and answers as the services write them.
#pragma once

#include "s3/credentials/credential_chain.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/s3/http/wire_support.hh"
#include "tests/support/small_http_server.hh"

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace bts3::testing {

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Nothing is configured, and the metadata service is disabled.
class credential_scene {
 public:
  credential_scene() : loop(engine::testing::make_reactor()), fake(*loop), clock(reference_time) {
    std::signal(SIGPIPE, SIG_IGN);
    std::string pattern = (std::filesystem::temp_directory_path() / "bts3-cred-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    _home = pattern;
    std::filesystem::create_directory(_home / ".aws");
    variables["HOME"] = _home.string();
    variables["AWS_EC2_METADATA_DISABLED"] = "true";
    auto made = s3::curl_transport::create(*loop, s3::curl_options());
    BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
    transport = std::move(*made);
  }
  ~credential_scene() {
    loop->run(transport->close());
    transport.reset();
    BOOST_TEST(loop->operations_in_flight() == 0U);
    std::filesystem::remove_all(_home);
  }
  credential_scene(const credential_scene&) = delete;
  credential_scene& operator=(const credential_scene&) = delete;

  std::string write(const std::string& name, const std::string& text) const {
    const auto path = _home / name;
    std::ofstream(path) << text;
    return path.string();
  }
  std::string write_script(const std::string& name, const std::string& text) const {
    const std::string path = write(name, "#!/bin/sh\n" + text);
    BOOST_REQUIRE(::chmod(path.c_str(), 0700) == 0);
    return path;
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (_home / name).string(); }

  [[nodiscard]] s3::source_context context(s3::http_transport& over) {
    return s3::source_context{*loop,
                              over,
                              clock,
                              log,
                              [this](std::string_view name) -> std::optional<std::string> {
                                const auto found = variables.find(std::string(name));
                                return found == variables.end() ? std::nullopt
                                                                : std::optional(found->second);
                              },
                              "eu-central-1"};
  }
  // A new chain's answer.
  engine::result<s3::credentials> find() { return find_over(*transport); }
  engine::result<s3::credentials> find_over(s3::http_transport& over) {
    s3::credential_chain chain(context(over));
    return loop->run(chain.find({}));
  }
  // "KEY/SECRET/TOKEN", or the error.
  std::string found() {
    const auto outcome = find();
    if (!outcome) {
      return outcome.error().text();
    }
    return outcome->access_key_id + "/" + std::string(outcome->secret_access_key.view()) + "/" +
           std::string(outcome->session_token.view());
  }
  engine::error failure() {
    auto outcome = find();
    BOOST_REQUIRE_MESSAGE(!outcome.has_value(), "credentials were found");
    return outcome.error();
  }

  std::map<std::string, std::string> variables;
  std::unique_ptr<engine::reactor> loop;
  std::unique_ptr<s3::curl_transport> transport;
  fake_transport fake;
  fixed_clock clock;
  line_log log;

 private:
  std::filesystem::path _home;
};

inline std::string metadata_json(const std::string& id,
                                 const std::string& expiration = "2013-05-24T06:00:00Z") {
  return R"({"Code":"Success","AccessKeyId":")" + id +
         R"(","SecretAccessKey":"secret","Token":"token","Expiration":")" + expiration + "\"}";
}

inline std::string sts_xml(const std::string& action, const std::string& id,
                           const std::string& expiration = "2013-05-24T01:00:00Z") {
  return "<" + action + "Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><" + action +
         "Result><AssumedRoleUser><Arn>arn</Arn></AssumedRoleUser><Credentials><AccessKeyId>" + id +
         "</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>to&amp;ken"
         "</SessionToken><Expiration>" +
         expiration + "</Expiration></Credentials></" + action + "Result></" + action + "Response>";
}

inline std::string sts_error(const std::string& code) {
  return "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>"
         "<Type>Sender</Type><Code>" +
         code +
         "</Code><Message>it says no</Message></Error><RequestId>1</RequestId>"
         "</ErrorResponse>";
}

}  // namespace bts3::testing
