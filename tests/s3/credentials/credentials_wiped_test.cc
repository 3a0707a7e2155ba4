// What is left in memory of credentials that are not used any more: nothing of ours.
#include "s3/credentials/container_credentials.hh"
#include "s3/credentials/credential_process.hh"
#include "s3/credentials/credential_provider.hh"
#include "s3/credentials/instance_metadata.hh"
#include "s3/credentials/sigv4_signer.hh"
#include "s3/credentials/sts.hh"
#include "tests/s3/credentials/credentials_support.hh"
#include "tests/support/memory_search.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <utility>

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;

namespace {

// Past streams, whose buffers would keep it.
void write_bare(const std::string& path, std::string text) {
  const engine::wiped afterwards(text);
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  BOOST_REQUIRE(::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  ::close(file);
}

// Uses what was found as a request does.
void sign_with(const credentials& who) {
  signing_input input;
  input.method = "GET";
  input.path = "/bucket/key";
  input.headers = {{"Host", "store.example"}};
  input.payload = unsigned_payload;
  signing_scope scope;
  scope.region = "eu-central-1";
  header_list added =
      sign(input, who, scope, std::chrono::system_clock::from_time_t(reference_time));
  BOOST_TEST(added.size() >= 3U);
  for (auto& [name, value] : added) {
    engine::wipe(value);  // the transport does so
  }
}

// Each test has others, so that one that fails spoils no other.
sought secret(0);
sought token(0);

struct with_secrets_of_its_own {
  with_secrets_of_its_own() {
    static std::uint64_t made = 100;
    secret = sought(made += 100);
    token = sought(made += 100);
  }
};

void expect_nothing_left() {
  BOOST_TEST(secret.has_copies(0));
  BOOST_TEST(token.has_copies(0));
}

// `found` is there, is used, and goes.
void use_and_drop(engine::result<credentials> found) {
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  sign_with(*found);
  const credentials moved = std::move(*found);
  BOOST_TEST(secret.has_copies(1));
  BOOST_TEST(token.has_copies(1));
}

std::string metadata_document() {
  std::string text = secret.within(R"({"Code":"Success","AccessKeyId":"AKID","SecretAccessKey":")",
                                   R"(","Expiration":"2013-05-24T06:00:00Z","Token":")");
  const engine::wiped afterwards(text);
  return token.within(text, "\"}");
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(credentials_wiped, with_secrets_of_its_own)

BOOST_AUTO_TEST_CASE(keys_of_a_profile_are_gone_with_the_credentials) {
  credential_scene here;
  {
    std::string first = secret.within(
        "[default]\naws_access_key_id = AKID\n"
        "aws_secret_access_key = ",
        "\naws_session_token =   ");
    const engine::wiped afterwards(first);
    write_bare(here.path(".aws/credentials"), token.within(first, "\n[other]\nregion = r\n"));
  }
  expect_nothing_left();
  use_and_drop(here.find());
  expect_nothing_left();
}

BOOST_AUTO_TEST_CASE(keys_of_the_environment_are_nowhere_but_there) {
  credential_scene here;
  {
    source_context with = here.context(*here.transport);
    with.environment = [](std::string_view name) -> std::optional<std::string> {
      if (name == "AWS_ACCESS_KEY_ID") {
        return "AKID";
      }
      if (name == "AWS_SECRET_ACCESS_KEY") {
        return secret.within("  ", "\n");
      }
      return name == "AWS_SESSION_TOKEN" ? std::optional(token.text()) : std::nullopt;
    };
    use_and_drop(environment_keys(with.environment));
  }
  expect_nothing_left();
}

BOOST_AUTO_TEST_CASE(what_a_program_printed_is_gone_with_the_credentials) {
  credential_scene here;
  const std::string script = here.write_script(
      "keys",
      "plain() { echo \"$1\" | tr a-z n-za-m; }\nprintf '{\"Version\":1,\"AccessKeyId\":"
      "\"AKID\",\"SecretAccessKey\":\"%s\",\"SessionToken\":\"%s\"}' \"$(plain " +
          secret.disguised() + ")\" \"$(plain " + token.disguised() + ")\"\n");
  use_and_drop(here.loop->run(
      run_credential_process(*here.loop, script, "the program", {}, std::chrono::minutes(1))));
  expect_nothing_left();
  // Nor of one that says too much.
  const std::string wordy = here.write_script(
      "wordy", "yes \"$(echo " + secret.disguised() + " | tr a-z n-za-m)\" | head -c 100000\n");
  const auto refused = here.loop->run(
      run_credential_process(*here.loop, wordy, "the program", {}, std::chrono::minutes(1)));
  BOOST_TEST(!refused.has_value());
  expect_nothing_left();
  // And of one that is no JSON, or lacks something.
  const std::string broken =
      here.write_script("broken", "echo \"{\\\"Version\\\":1,\\\"SecretAccessKey\\\":\\\"$(echo " +
                                      secret.disguised() + " | tr a-z n-za-m)\\\"}\"\n");
  const auto half = here.loop->run(
      run_credential_process(*here.loop, broken, "the program", {}, std::chrono::minutes(1)));
  BOOST_TEST(!half.has_value());
  expect_nothing_left();
}

BOOST_AUTO_TEST_CASE(answers_of_metadata_services_are_gone_with_the_credentials) {
  credential_scene here;
  here.variables.erase("AWS_EC2_METADATA_DISABLED");
  here.fake.handler = [](const sent_request& asked) -> fake_transport::outcome {
    if (asked.request.method == "PUT") {
      return bare_answer(200, {}, "metadata-token");
    }
    return asked.request.url.ends_with("-credentials/") ? bare_answer(200, {}, "role")
                                                        : bare_answer(200, {}, metadata_document());
  };
  use_and_drop(here.loop->run(find_in_instance_metadata(here.context(here.fake), {})));
  expect_nothing_left();
  here.variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/x";
  here.fake.handler = [](const sent_request&) -> fake_transport::outcome {
    return bare_answer(200, {}, metadata_document());
  };
  use_and_drop(here.loop->run(find_in_container(here.context(here.fake), {})));
  expect_nothing_left();
}

BOOST_AUTO_TEST_CASE(answers_of_sts_are_gone_with_the_credentials) {
  credential_scene here;
  here.write("token", "jwt");
  here.fake.handler = [](const sent_request&) -> fake_transport::outcome {
    std::string first = secret.within(
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
        "<AccessKeyId>AKID</AccessKeyId><SecretAccessKey>",
        "</SecretAccessKey><SessionToken>");
    const engine::wiped afterwards(first);
    return bare_answer(200, {},
                       token.within(first,
                                    "</SessionToken><Expiration>2013-05-24T01:00:00Z</Expiration>"
                                    "</Credentials></AssumeRoleWithWebIdentityResult>"
                                    "</AssumeRoleWithWebIdentityResponse>"));
  };
  role_request wanted;
  wanted.role_arn = "arn:R";
  wanted.source = "the test";
  use_and_drop(here.loop->run(
      assume_role_with_web_identity(here.context(here.fake), wanted, here.path("token"), {})));
  expect_nothing_left();
}

// What a provider keeps is one copy, and the one before goes when others take its place.
BOOST_AUTO_TEST_CASE(credentials_that_were_replaced_are_gone) {
  credential_scene here;
  class changing final : public credential_source {
   public:
    engine::task<engine::result<credentials>> find(engine::stop_token) override {
      credentials made;
      made.access_key_id = "AKID" + std::to_string(++_times);
      std::string text = _times == 1 ? secret.text() : token.text();
      const engine::wiped afterwards(text);
      made.secret_access_key = text;
      co_return std::move(made);
    }

   private:
    int _times = 0;
  };
  changing source;
  {
    refreshing_credentials provider(*here.loop, source, here.clock, here.log);
    {
      const auto first = here.loop->run(provider.get({}));
      BOOST_REQUIRE(first.has_value());
      provider.invalidate(*first);
    }
    BOOST_TEST(secret.has_copies(1));
    BOOST_TEST(here.loop->run(provider.get({})).has_value());
    BOOST_TEST(secret.has_copies(0));
    BOOST_TEST(token.has_copies(1));
  }
  expect_nothing_left();
}

BOOST_AUTO_TEST_SUITE_END()
