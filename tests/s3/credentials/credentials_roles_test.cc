#include "s3/credentials/sigv4_signer.hh"
#include "tests/s3/credentials/credentials_support.hh"

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;

namespace {

// STS that gives keys named by the role's last letter, and can be told to answer otherwise.
class token_service {
 public:
  token_service() : server([this](const small_request& request) { return answer(request); }) {}

  std::vector<small_answer> instead;  // used up first
  small_http_server server;

 private:
  small_answer answer(const small_request& request) {
    if (!instead.empty()) {
      small_answer next = instead.front();
      instead.erase(instead.begin());
      return next;
    }
    return {200,
            sts_xml(request.field("Action"),
                    "ASIA" + request.field("RoleArn").substr(request.field("RoleArn").size() - 1))};
  }
};

void use(credential_scene& here, const token_service& service) {
  here.variables["AWS_ENDPOINT_URL_STS"] = service.server.url();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(credentials_web_identity)

BOOST_AUTO_TEST_CASE(the_environments_token_is_exchanged_for_the_roles_credentials) {
  token_service sts;
  credential_scene here;
  use(here, sts);
  here.variables["AWS_WEB_IDENTITY_TOKEN_FILE"] = here.write("token", "a.b+c/d=\n");
  here.variables["AWS_ROLE_ARN"] = "arn:aws:iam::123456789012:role/R";
  auto found = here.find();
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  BOOST_TEST(found->access_key_id == "ASIAR");
  BOOST_TEST(found->secret_access_key == "secret");
  BOOST_TEST(found->session_token == "to&ken");
  BOOST_REQUIRE(found->expiration.has_value());
  BOOST_TEST((*found->expiration - here.clock.time == std::chrono::hours(1)));
  BOOST_TEST(found->source ==
             "role arn:aws:iam::123456789012:role/R for the web identity in the environment");
  // The next token, and a name of our own.
  here.write("token", "second");
  here.variables["AWS_ROLE_SESSION_NAME"] = "nightly";
  BOOST_TEST(here.find().has_value());
  const auto asked = sts.server.requests();
  BOOST_REQUIRE(asked.size() == 2U);
  BOOST_TEST(asked[0].method == "POST");
  BOOST_TEST(asked[0].target == "/");
  BOOST_TEST(asked[0].header("content-type") == "application/x-www-form-urlencoded; charset=utf-8");
  BOOST_TEST(asked[0].header("authorization") == "");
  BOOST_TEST(
      asked[0].body ==
      "Action=AssumeRoleWithWebIdentity&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2FR&"
      "RoleSessionName=btrfs_to_s3-1369353600&Version=2011-06-15&WebIdentityToken="
      "a.b%2Bc%2Fd%3D");
  BOOST_TEST(asked[1].field("WebIdentityToken") == "second");
  BOOST_TEST(asked[1].field("RoleSessionName") == "nightly");
}

BOOST_AUTO_TEST_CASE(a_profile_can_name_token_and_role) {
  token_service sts;
  credential_scene here;
  use(here, sts);
  const std::string token = here.write("token", "jwt");
  here.write(".aws/config", "[default]\nweb_identity_token_file = " + token +
                                "\nrole_arn = arn:R\nduration_seconds = 900\n");
  BOOST_TEST(here.found() == "ASIAR/secret/to&ken");
  BOOST_TEST(sts.server.requests().at(0).field("DurationSeconds") == "900");
  here.write(".aws/config", "[default]\nweb_identity_token_file = " + token + "\n");
  BOOST_TEST(contains(here.failure().message, "web_identity_token_file without role_arn"));
}

BOOST_AUTO_TEST_CASE(half_of_it_and_a_missing_file_are_errors) {
  credential_scene here;
  here.variables["AWS_WEB_IDENTITY_TOKEN_FILE"] = here.path("none");
  BOOST_TEST(contains(here.failure().message, "AWS_WEB_IDENTITY_TOKEN_FILE without AWS_ROLE_ARN"));
  here.variables["AWS_ROLE_ARN"] = "arn:R";
  BOOST_TEST(contains(here.failure().message,
                      "token file " + here.path("none") + ": No such file or directory"));
}

BOOST_AUTO_TEST_CASE(refusals_are_told_from_what_passes) {
  struct expectation {
    small_answer given;
    disposition what_now;
    reason why;
    const char* text;
  };
  const std::string cut = sts_xml("AssumeRoleWithWebIdentity", "");
  for (const auto& [given, what_now, why, text] :
       {expectation{{400, sts_error("ExpiredTokenException")},
                    disposition::fail,
                    reason::access,
                    "answered 400 ExpiredTokenException (it says no)"},
        {{403, sts_error("AccessDenied")}, disposition::fail, reason::access, "403 AccessDenied"},
        {{400, sts_error("IDPCommunicationError")}, disposition::retry, reason::unspecified, "400"},
        {{400, sts_error("Throttling")}, disposition::retry, reason::throttled, "Throttling"},
        {{503, "no XML"}, disposition::retry, reason::unspecified, "answered 503"},
        {{404, "no XML"}, disposition::fail, reason::access, "answered 404"},
        {{200, "<html>"}, disposition::retry, reason::protocol, "no whole set of credentials"},
        {{200, cut}, disposition::retry, reason::protocol, "no whole set of credentials"}}) {
    token_service sts;
    credential_scene here;
    use(here, sts);
    here.variables["AWS_WEB_IDENTITY_TOKEN_FILE"] = here.write("token", "hunter2");
    here.variables["AWS_ROLE_ARN"] = "arn:R";
    sts.instead.push_back(given);
    const engine::error failure = here.failure();
    BOOST_TEST((failure.what_now == what_now), failure.text());
    BOOST_TEST((failure.why == why), failure.text());
    BOOST_TEST(contains(failure.message, text), failure.text());
    BOOST_TEST(failure.message.starts_with("role arn:R for the web identity in the environment: "));
    BOOST_TEST(!contains(failure.text(), "hunter2"));
    BOOST_TEST(sts.server.requests().size() == 1U);
  }
}

BOOST_AUTO_TEST_CASE(the_address_is_the_regions_unless_the_environment_says_otherwise) {
  struct expectation {
    std::map<std::string, std::string> variables;
    const char* url;
  };
  for (const auto& [variables, url] :
       {expectation{{}, "https://sts.eu-central-1.amazonaws.com/"},
        {{{"AWS_REGION", "eu-west-1"}}, "https://sts.eu-west-1.amazonaws.com/"},
        {{{"AWS_REGION", "cn-north-1"}}, "https://sts.cn-north-1.amazonaws.com.cn/"},
        {{{"AWS_REGION", "eusc-de-east-1"}}, "https://sts.eusc-de-east-1.amazonaws.eu/"},
        {{{"AWS_STS_REGIONAL_ENDPOINTS", "legacy"}}, "https://sts.amazonaws.com/"},
        {{{"AWS_STS_REGIONAL_ENDPOINTS", "legacy"}, {"AWS_REGION", "af-south-1"}},
         "https://sts.af-south-1.amazonaws.com/"},
        {{{"AWS_USE_FIPS_ENDPOINT", "true"}, {"AWS_REGION", "us-east-1"}},
         "https://sts-fips.us-east-1.amazonaws.com/"},
        {{{"AWS_USE_FIPS_ENDPOINT", "true"}, {"AWS_REGION", "us-gov-west-1"}},
         "https://sts.us-gov-west-1.amazonaws.com/"},
        {{{"AWS_USE_DUALSTACK_ENDPOINT", "true"}}, "https://sts.eu-central-1.api.aws/"},
        {{{"AWS_ENDPOINT_URL", "http://ignored"}, {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"}},
         "https://sts.eu-central-1.amazonaws.com/"},
        {{{"AWS_ENDPOINT_URL", "http://store:9000/base/"}}, "http://store:9000/base"},
        {{{"AWS_ENDPOINT_URL", "http://store:9000"}, {"AWS_ENDPOINT_URL_STS", "https://sts"}},
         "https://sts/"}}) {
    credential_scene here;
    here.variables.insert(variables.begin(), variables.end());
    here.variables["AWS_WEB_IDENTITY_TOKEN_FILE"] = here.write("token", "jwt");
    here.variables["AWS_ROLE_ARN"] = "arn:R";
    here.fake.then(network_error());
    const auto found = here.find_over(here.fake);
    BOOST_REQUIRE(!found.has_value());
    BOOST_TEST((found.error().what_now == disposition::retry));
    BOOST_TEST(here.fake.sent.at(0).request.url == url);
  }
  credential_scene here;
  here.variables["AWS_WEB_IDENTITY_TOKEN_FILE"] = here.write("token", "jwt");
  here.variables["AWS_ROLE_ARN"] = "arn:R";
  here.variables["AWS_ENDPOINT_URL_STS"] = "sts.example";
  BOOST_TEST(contains(here.failure().message, "AWS_ENDPOINT_URL_STS = \"sts.example\""));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(credentials_assumed_role)

BOOST_AUTO_TEST_CASE(a_role_is_assumed_with_the_source_profiles_keys) {
  token_service sts;
  credential_scene here;
  use(here, sts);
  here.write(".aws/credentials", "[base]\naws_access_key_id=AKID\naws_secret_access_key=s\n");
  const std::string config =
      here.write(".aws/config",
                 "[profile backup]\nrole_arn = arn:R\nsource_profile = base\nexternal_id = x/1\n"
                 "role_session_name = nightly\nregion = eu-west-3\n");
  here.variables["AWS_PROFILE"] = "backup";
  const auto found = here.find();
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  BOOST_TEST(found->access_key_id == "ASIAR");
  BOOST_TEST(found->session_token == "to&ken");
  BOOST_TEST(found->source == "role arn:R of profile \"backup\" in " + config);
  const auto asked = sts.server.requests();
  BOOST_REQUIRE(asked.size() == 1U);
  BOOST_TEST(asked[0].body ==
             "Action=AssumeRole&ExternalId=x%2F1&RoleArn=arn%3AR&RoleSessionName=nightly&"
             "Version=2011-06-15");
  BOOST_TEST(
      asked[0]
          .header("authorization")
          .starts_with("AWS4-HMAC-SHA256 Credential=AKID/20130524/eu-west-3/sts/aws4_request,"
                       " SignedHeaders=content-type;host;x-amz-date, Signature="));
}

BOOST_AUTO_TEST_CASE(the_signature_of_a_request_for_a_role_covers_what_arrives) {
  token_service sts;
  credential_scene here;
  use(here, sts);
  here.write(".aws/credentials",
             "[default]\naws_access_key_id=AKID\naws_secret_access_key=s\n"
             "aws_session_token=t\nrole_arn=arn:R\nsource_profile=default\n");
  BOOST_TEST(here.find().has_value());
  const small_request asked = sts.server.requests().at(0);
  signing_input input;
  input.method = asked.method;
  input.path = asked.target;
  input.headers = {{"host", asked.header("host")}, {"content-type", asked.header("content-type")}};
  input.payload = sha256_hex(asked.body);
  credentials who;
  who.access_key_id = "AKID";
  who.secret_access_key = "s";
  who.session_token = "t";
  signing_scope scope;
  scope.region = "eu-central-1";
  scope.service = "sts";
  for (const auto& [name, value] : sign(input, who, scope, here.clock.time)) {
    std::string lower = name;
    lower = lower == "Authorization" ? "authorization" : lower;
    BOOST_TEST(asked.header(lower) == value);
  }
}

BOOST_AUTO_TEST_CASE(a_clock_that_is_off_is_corrected) {
  token_service sts;
  credential_scene here;
  use(here, sts);
  here.write(".aws/credentials",
             "[default]\naws_access_key_id=AKID\naws_secret_access_key=s\nrole_arn=arn:R\n"
             "source_profile=default\n");
  const small_answer skewed(403, sts_error("SignatureDoesNotMatch"),
                            {{"Date", "Fri, 24 May 2013 01:00:00 GMT"}});
  sts.instead.push_back(skewed);
  BOOST_TEST(here.found() == "ASIAR/secret/to&ken");
  auto asked = sts.server.requests();
  BOOST_REQUIRE(asked.size() == 2U);
  BOOST_TEST(asked[0].header("x-amz-date") == "20130524T000000Z");
  BOOST_TEST(asked[1].header("x-amz-date") == "20130524T010000Z");
  // Once: what is refused then is final, and names the key.
  const small_answer more_skewed(403, sts_error("SignatureDoesNotMatch"),
                                 {{"Date", "Fri, 24 May 2013 02:00:00 GMT"}});
  sts.instead = {skewed, more_skewed};
  const engine::error failure = here.failure();
  BOOST_TEST(contains(failure.message, "SignatureDoesNotMatch"));
  BOOST_TEST(contains(failure.message, "access key AKID from profile \"default\""));
  BOOST_TEST(sts.server.requests().size() == 4U);
}

// STS takes a quarter of an hour to twelve hours, in seconds.
BOOST_AUTO_TEST_CASE(a_session_is_as_long_as_sts_takes_or_not_asked_for) {
  const std::string role =
      "[default]\naws_access_key_id=AKID\naws_secret_access_key=s\nrole_arn=arn:R\n"
      "source_profile=default\nduration_seconds = ";
  for (const char* wrong :
       {"12h", "899", "43201", "-1", "3600.5", "99999999999999999999", "+900"}) {
    token_service sts;
    credential_scene here;
    use(here, sts);
    const std::string file = here.write(".aws/config", role + wrong + "\n");
    const engine::error failure = here.failure();
    BOOST_TEST(contains(failure.message, std::string("duration_seconds = ") + wrong),
               failure.message);
    BOOST_TEST(contains(failure.remedy, "from 900 to 43200"), failure.remedy);
    BOOST_TEST((failure.what_now == disposition::fail));
    BOOST_TEST(sts.server.requests().empty());
  }
  for (const char* right : {"900", "43200"}) {
    token_service sts;
    credential_scene here;
    use(here, sts);
    here.write(".aws/config", role + right + "\n");
    BOOST_TEST(here.found() == "ASIAR/secret/to&ken");
    BOOST_TEST(sts.server.requests().at(0).field("DurationSeconds") == right);
  }
}

BOOST_AUTO_TEST_CASE(roles_can_lead_to_roles_and_begin_anywhere) {
  token_service sts;
  credential_scene here;
  use(here, sts);
  const std::string program = here.write_script(
      "keys", "echo '{\"Version\":1,\"AccessKeyId\":\"PROC\",\"SecretAccessKey\":\"s\"}'\n");
  here.write(".aws/config",
             "[default]\nrole_arn=arn:A\nsource_profile=second\n"
             "[profile second]\nrole_arn=arn:B\nsource_profile=third\n"
             "[profile third]\ncredential_process = " +
                 program + "\n");
  BOOST_TEST(here.found() == "ASIAA/secret/to&ken");
  const auto asked = sts.server.requests();
  BOOST_REQUIRE(asked.size() == 2U);
  BOOST_TEST(asked[0].field("RoleArn") == "arn%3AB");
  BOOST_TEST(contains(asked[0].header("authorization"), "Credential=PROC/"));
  BOOST_TEST(asked[1].field("RoleArn") == "arn%3AA");
  BOOST_TEST(contains(asked[1].header("authorization"), "Credential=ASIAB/"));
  BOOST_TEST(asked[1].header("x-amz-security-token") == "to&ken");
}

BOOST_AUTO_TEST_CASE(a_role_can_begin_at_another_place_by_name) {
  token_service sts;
  small_http_server container(
      [](const small_request&) { return small_answer(200, metadata_json("CONT")); });
  credential_scene here;
  use(here, sts);
  here.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = container.url();
  here.write(".aws/config", "[default]\nrole_arn=arn:R\ncredential_source=EcsContainer\n");
  BOOST_TEST(here.found() == "ASIAR/secret/to&ken");
  BOOST_TEST(contains(sts.server.requests().at(0).header("authorization"), "Credential=CONT/"));
  here.write(".aws/config", "[default]\nrole_arn=arn:R\ncredential_source=Environment\n");
  engine::error failure = here.failure();
  BOOST_TEST(contains(failure.message, "its source has no credentials: the environment"));
  BOOST_TEST((failure.what_now == disposition::fail));
  here.write(".aws/config", "[default]\nrole_arn=arn:R\ncredential_source=Ec2InstanceMetadata\n");
  BOOST_TEST(contains(here.failure().message, "AWS_EC2_METADATA_DISABLED is true"));
  here.write(".aws/config", "[default]\nrole_arn=arn:R\ncredential_source=Elsewhere\n");
  BOOST_TEST(contains(here.failure().message, "credential_source = Elsewhere is unknown"));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_done_is_said_and_nothing_else_is_tried) {
  struct expectation {
    const char* config;
    const char* text;
  };
  const std::string keys = "aws_access_key_id=AKID\naws_secret_access_key=s\n";
  for (const auto& [config, text] :
       {expectation{"source_profile=base\nmfa_serial=arn:mfa\n", "mfa_serial is not supported"},
        {"", "role_arn needs source_profile, credential_source or web_identity_token_file"},
        {"source_profile=base\ncredential_source=Environment\n", "and not two of them"},
        {"source_profile=nowhere\n", "there is no profile \"nowhere\""},
        {"source_profile=empty\n", "profile \"empty\" has no keys"},
        {"source_profile=a\n", "leads in a circle: default -> a -> default"}}) {
    token_service sts;
    credential_scene here;
    use(here, sts);
    here.write(".aws/config", std::string("[default]\n") + keys + "role_arn=arn:R\n" + config +
                                  "[profile base]\n" + keys + "[profile empty]\noutput=json\n" +
                                  "[profile a]\nrole_arn=arn:S\nsource_profile=default\n");
    const engine::error failure = here.failure();
    BOOST_TEST(contains(failure.message, text), failure.message);
    BOOST_TEST((failure.what_now == disposition::fail));
    BOOST_TEST(!failure.remedy.empty());
    BOOST_TEST(sts.server.requests().empty());
  }
}

BOOST_AUTO_TEST_SUITE_END()
