#include "s3/credentials/credential_chain.hh"

#include "s3/credentials/container_credentials.hh"
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

using lines = std::vector<std::string>;

// An instance metadata service with role "backup", whose every step can be made to fail.
class metadata_service {
 public:
  metadata_service() : server([this](const small_request& request) { return answer(request); }) {}

  int token_status = 200;
  int role_status = 200;
  int keys_status = 200;
  std::string role = "backup";
  std::string keys = metadata_json("ASIA");
  small_http_server server;

 private:
  [[nodiscard]] small_answer answer(const small_request& request) const {
    if (request.target == "/latest/api/token") {
      const bool proper = request.method == "PUT" &&
                          request.header("x-aws-ec2-metadata-token-ttl-seconds") == "21600";
      return {proper ? token_status : 400, "the-token"};
    }
    if (request.method != "GET" || request.header("x-aws-ec2-metadata-token") != "the-token") {
      return {401, "Unauthorized"};
    }
    const std::string base = "/latest/meta-data/iam/security-credentials/";
    if (request.target == base) {
      return {role_status, role};
    }
    if (request.target == base + "backup") {
      return {keys_status, keys};
    }
    return {404, "not found"};
  }
};

void use(credential_scene& here, const metadata_service& service) {
  here.variables["AWS_EC2_METADATA_DISABLED"] = "false";
  here.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = service.server.url() + "/";
}

struct three_keys {
  std::string id = "ID";
  std::string secret = "secret";
  std::string token = "token";
};

// As a string in JSON.
std::string quoted(const std::string& text) {
  std::string made = "\"";
  for (const char letter : text) {
    made += letter == '\n'   ? "\\n"
            : letter == '\r' ? "\\r"
            : letter == '\t' ? "\\t"
                             : std::string(1, letter);
  }
  return made + '"';
}

std::string json_of(const three_keys& keys, const std::string& first, const char* token_name) {
  return "{" + first + ",\"AccessKeyId\":" + quoted(keys.id) +
         ",\"SecretAccessKey\":" + quoted(keys.secret) + ",\"" + token_name +
         "\":" + quoted(keys.token) + ",\"Expiration\":\"2013-05-24T06:00:00Z\"}";
}

// Every kind of place that keys come from, made to give three of the test's own.
class key_places {
 public:
  struct place {
    const char* name;
    const char* id;  // what it calls the three
    const char* secret;
    const char* token;
    bool has_newlines;
    engine::result<credentials> (key_places::*find)(const three_keys& keys);
  };
  static const place all[];

  key_places() : server([this](const small_request&) { return small_answer(200, body); }) {}

 private:
  engine::result<credentials> from_environment(const three_keys& keys) {
    credential_scene here;
    here.variables["AWS_ACCESS_KEY_ID"] = keys.id;
    here.variables["AWS_SECRET_ACCESS_KEY"] = keys.secret;
    here.variables["AWS_SESSION_TOKEN"] = keys.token;
    return here.find();
  }
  engine::result<credentials> from_profile(const three_keys& keys) {
    credential_scene here;
    here.write(".aws/credentials", "[default]\naws_access_key_id = " + keys.id +
                                       "\naws_secret_access_key = " + keys.secret +
                                       "\naws_session_token = " + keys.token + "\n");
    return here.find();
  }
  engine::result<credentials> from_process(const three_keys& keys) {
    credential_scene here;
    const std::string json = here.write("json", json_of(keys, "\"Version\":1", "SessionToken"));
    here.write(".aws/config", "[default]\ncredential_process = /bin/cat " + json + "\n");
    return here.find();
  }
  engine::result<credentials> from_web_identity(const three_keys& keys) {
    credential_scene here;
    body =
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
        "<AccessKeyId>" +
        keys.id + "</AccessKeyId><SecretAccessKey>" + keys.secret +
        "</SecretAccessKey><SessionToken>" + keys.token +
        "</SessionToken><Expiration>2013-05-24T06:00:00Z</Expiration></Credentials>"
        "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
    here.variables["AWS_WEB_IDENTITY_TOKEN_FILE"] = here.write("token", "jwt");
    here.variables["AWS_ROLE_ARN"] = "arn:aws:iam::1:role/r";
    here.variables["AWS_ENDPOINT_URL_STS"] = server.url();
    return here.find();
  }
  engine::result<credentials> from_container(const three_keys& keys) {
    credential_scene here;
    body = json_of(keys, "\"Code\":\"Success\"", "Token");
    here.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = server.url() + "/get";
    return here.find();
  }
  engine::result<credentials> from_instance_metadata(const three_keys& keys) {
    metadata_service service;
    service.keys = json_of(keys, "\"Code\":\"Success\"", "Token");
    credential_scene here;
    use(here, service);
    return here.find();
  }

  std::string body;
  small_http_server server;
};

const key_places::place key_places::all[] = {
    {"environment", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", true,
     &key_places::from_environment},
    {"profile", "aws_access_key_id", "aws_secret_access_key", "aws_session_token", false,
     &key_places::from_profile},
    {"process", "AccessKeyId", "SecretAccessKey", "SessionToken", true, &key_places::from_process},
    {"web identity", "AccessKeyId", "SecretAccessKey", "SessionToken", true,
     &key_places::from_web_identity},
    {"container", "AccessKeyId", "SecretAccessKey", "Token", true, &key_places::from_container},
    {"instance metadata", "AccessKeyId", "SecretAccessKey", "Token", true,
     &key_places::from_instance_metadata},
};

}  // namespace

BOOST_AUTO_TEST_SUITE(credentials_places)

BOOST_AUTO_TEST_CASE(no_credentials_lists_every_place_and_the_remedy) {
  credential_scene here;
  here.write(".aws/config", "[default]\nregion = eu-west-1\n");
  const engine::error failure = here.failure();
  BOOST_TEST((failure.why == reason::access));
  BOOST_TEST((failure.what_now == disposition::fail));
  BOOST_TEST(failure.message ==
             "no S3 credentials found; looked at the environment (AWS_ACCESS_KEY_ID and "
             "AWS_SECRET_ACCESS_KEY are not set); a web identity (AWS_WEB_IDENTITY_TOKEN_FILE is "
             "not set); " +
                 here.path(".aws/credentials") + " (No such file or directory), " +
                 here.path(".aws/config") +
                 " (profile \"default\" has no keys); a container "
                 "(AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and AWS_CONTAINER_CREDENTIALS_FULL_URI "
                 "are not set); the EC2 instance metadata service (AWS_EC2_METADATA_DISABLED is "
                 "true)");
  BOOST_TEST(contains(failure.remedy, "[default] in " + here.path(".aws/credentials")));
}

BOOST_AUTO_TEST_CASE(under_the_unit_the_remedy_names_the_file_that_it_reads) {
  credential_scene here;
  here.variables["AWS_SHARED_CREDENTIALS_FILE"] = here.write("aws_credentials", "#");
  BOOST_TEST(contains(here.failure().remedy, "[default] in " + here.path("aws_credentials")));
  here.variables["CREDENTIALS_DIRECTORY"] = here.path("");
  const std::string remedy = here.failure().remedy;
  BOOST_TEST(contains(remedy, "[default] in /etc/btrfs_to_s3/aws_credentials"));
  BOOST_TEST(!contains(remedy, here.path("")));
}

BOOST_AUTO_TEST_CASE(places_are_asked_in_order) {
  metadata_service service;
  small_http_server container(
      [](const small_request&) { return small_answer(200, metadata_json("FROM_CONTAINER")); });
  small_http_server sts([](const small_request&) {
    return small_answer(200, sts_xml("AssumeRoleWithWebIdentity", "FROM_STS"));
  });
  credential_scene here;
  use(here, service);
  BOOST_TEST(here.found() == "ASIA/secret/token");
  here.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = container.url() + "/get";
  BOOST_TEST(here.found() == "FROM_CONTAINER/secret/token");
  here.write(".aws/credentials", "[default]\naws_access_key_id=P\naws_secret_access_key=s\n");
  BOOST_TEST(here.found() == "P/s/");
  here.variables["AWS_WEB_IDENTITY_TOKEN_FILE"] = here.write("token", "jwt");
  here.variables["AWS_ROLE_ARN"] = "arn:aws:iam::1:role/r";
  here.variables["AWS_ENDPOINT_URL_STS"] = sts.url();
  BOOST_TEST(here.found() == "FROM_STS/secret/to&ken");
  here.variables["AWS_ACCESS_KEY_ID"] = "E";
  here.variables["AWS_SECRET_ACCESS_KEY"] = "s";
  BOOST_TEST(here.found() == "E/s/");
  BOOST_TEST(service.server.requests().size() == 3U);
  BOOST_TEST(container.requests().size() == 1U);
  BOOST_TEST(sts.requests().size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_place_that_is_configured_and_fails_ends_the_search) {
  metadata_service service;
  credential_scene here;
  use(here, service);
  here.variables["AWS_PROFILE"] = "bakcup";
  BOOST_TEST(contains(here.failure().message, "there is no profile \"bakcup\""));
  here.variables.erase("AWS_PROFILE");
  here.variables["AWS_ACCESS_KEY_ID"] = "E";
  BOOST_TEST(contains(here.failure().message, "without AWS_SECRET_ACCESS_KEY"));
  here.variables.erase("AWS_ACCESS_KEY_ID");
  here.write(".aws/credentials", "[default]\nsso_session = work\n");
  BOOST_TEST(contains(here.failure().message, "relies on sso_session"));
  BOOST_TEST(contains(here.failure().remedy, "credential_process = aws configure"));
  BOOST_TEST(service.server.requests().empty());
}

BOOST_AUTO_TEST_CASE(a_place_that_has_given_credentials_is_the_only_one_asked_again) {
  metadata_service service;
  credential_scene here;
  use(here, service);
  const std::string keys = "[default]\naws_access_key_id=P\naws_secret_access_key=s\n";
  here.write(".aws/credentials", keys);
  credential_chain chain(here.context(*here.transport));
  auto found = here.loop->run(chain.find({}));
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  // Somebody replaces the file: gone, and there again with other keys.
  here.write(".aws/credentials", "");
  found = here.loop->run(chain.find({}));
  BOOST_REQUIRE(!found.has_value());
  BOOST_TEST((found.error().what_now == disposition::retry));
  BOOST_TEST(contains(found.error().message, "the credentials that were used so far are gone: "));
  BOOST_TEST(service.server.requests().empty());
  here.write(".aws/credentials", "[default]\naws_access_key_id=Q\naws_secret_access_key=s\n");
  found = here.loop->run(chain.find({}));
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  BOOST_TEST(found->access_key_id == "Q");
}

BOOST_AUTO_TEST_CASE(blanks_and_line_ends_around_keys_are_dropped_wherever_they_come_from) {
  key_places places;
  for (const auto& from : key_places::all) {
    for (const std::string end : {"\n", "\r", "\r\n", " ", "\t \n\n"}) {
      if (!from.has_newlines && end.find('\n') != std::string::npos) {
        continue;
      }
      BOOST_TEST_CONTEXT(from.name << ", " << quoted(end)) {
        three_keys keys;
        keys.id = end + keys.id + end;
        keys.secret += end;
        keys.token += end;
        const auto found = (places.*from.find)(keys);
        BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
        BOOST_TEST(found->access_key_id == "ID");
        BOOST_TEST(found->secret_access_key == "secret");
        BOOST_TEST(found->session_token == "token");
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(line_ends_inside_of_keys_are_refused_wherever_they_come_from) {
  key_places places;
  for (const auto& from : key_places::all) {
    for (const std::string inside : {"\n", "\r", "\x7f"}) {
      if (!from.has_newlines && inside == "\n") {
        continue;
      }
      const struct {
        const char* name;
        std::string three_keys::* field;
      } fields[] = {{from.id, &three_keys::id},
                    {from.secret, &three_keys::secret},
                    {from.token, &three_keys::token}};
      for (const auto& [name, field] : fields) {
        BOOST_TEST_CONTEXT(from.name << ", " << name << ", " << quoted(inside)) {
          three_keys keys;
          keys.*field = "hid" + inside + "den";
          const auto found = (places.*from.find)(keys);
          BOOST_REQUIRE(!found.has_value());
          BOOST_TEST((found.error().why == reason::access));
          BOOST_TEST((found.error().what_now == disposition::fail));
          BOOST_TEST(contains(found.error().message, std::string(": ") + name + " has a "));
          // Of the metadata service every failure is one line in the list of places.
          const bool guessed = std::string(from.name) == "instance metadata";
          BOOST_TEST((guessed || contains(found.error().remedy, name)));
          BOOST_TEST(!contains(found.error().text(), "hid"));
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_blank_may_be_inside_of_a_secret_alone) {
  key_places places;
  for (const auto& from : key_places::all) {
    BOOST_TEST_CONTEXT(from.name) {
      three_keys keys;
      keys.secret = "two words";
      const auto found = (places.*from.find)(keys);
      BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
      BOOST_TEST(found->secret_access_key == "two words");
      keys.id = "two words";
      BOOST_TEST(!(places.*from.find)(keys).has_value());
    }
  }
}

// Without the check this one ends in the header of a request to STS.
BOOST_AUTO_TEST_CASE(keys_and_a_region_that_ask_for_a_role_are_looked_at_before_that) {
  small_http_server sts(
      [](const small_request&) { return small_answer(200, sts_xml("AssumeRole", "ASIA")); });
  credential_scene here;
  here.variables["AWS_ENDPOINT_URL_STS"] = sts.url();
  here.write(".aws/config",
             "[profile role]\nrole_arn = arn:R\nsource_profile = keys\n"
             "[profile keys]\naws_access_key_id = A\rB\n"
             "aws_secret_access_key = s\n");
  here.variables["AWS_PROFILE"] = "role";
  BOOST_TEST(contains(here.failure().message, "aws_access_key_id has a blank, a line end"));
  here.write(".aws/config",
             "[profile role]\nrole_arn = arn:R\nsource_profile = keys\n"
             "[profile keys]\naws_access_key_id = A\n"
             "aws_secret_access_key = s\n");
  here.variables["AWS_REGION"] = "eu-\nwest-1";
  BOOST_TEST(contains(here.failure().message, "the region for STS, \"eu- west-1\", is none"));
  BOOST_TEST(sts.requests().empty());
  here.variables["AWS_REGION"] = "eu-west-1\n";
  BOOST_TEST(here.found() == "ASIA/secret/to&ken");
  BOOST_TEST(contains(sts.requests().at(0).header("authorization"), "/eu-west-1/sts/"));
}

BOOST_AUTO_TEST_CASE(a_stop_ends_the_search) {
  credential_scene here;
  const silent_server silent;
  here.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = silent.url() + "/get";
  engine::stop_source source;
  source.request_stop();
  credential_chain chain(here.context(*here.transport));
  const auto found = here.loop->run(chain.find(source.token()));
  BOOST_REQUIRE(!found.has_value());
  BOOST_TEST((found.error().what_now == disposition::cancelled));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(credentials_instance_metadata)

BOOST_AUTO_TEST_CASE(a_token_then_the_role_then_its_keys_are_asked_for) {
  metadata_service service;
  credential_scene here;
  use(here, service);
  const auto found = here.find();
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  BOOST_TEST(found->access_key_id == "ASIA");
  BOOST_TEST(found->session_token == "token");
  BOOST_TEST(found->source == "the EC2 instance metadata service (role backup)");
  BOOST_REQUIRE(found->expiration.has_value());
  BOOST_TEST((*found->expiration - here.clock.time == std::chrono::hours(6)));
  BOOST_TEST((service.server.lines() ==
              lines{"PUT /latest/api/token", "GET /latest/meta-data/iam/security-credentials/",
                    "GET /latest/meta-data/iam/security-credentials/backup"}));
  BOOST_TEST(service.server.requests().at(0).header("content-length") == "0");
}

BOOST_AUTO_TEST_CASE(what_fails_is_named_in_the_list_of_places_and_asked_once) {
  credential_scene here;
  {
    metadata_service service;
    use(here, service);
    service.token_status = 403;
    BOOST_TEST(contains(here.failure().message, "(no token: it answered 403)"));
    service.token_status = 500;
    BOOST_TEST(contains(here.failure().message, "(no token: it answered 500)"));
    BOOST_TEST(service.server.requests().size() == 2U);
    service.token_status = 200;
    service.role_status = 404;
    BOOST_TEST(contains(here.failure().message, "no role is attached to this instance"));
    service.role_status = 200;
    service.role = "";
    BOOST_TEST(contains(here.failure().message, "no role is attached to this instance"));
    service.role = "backup\nother";
    service.keys = R"({"Code":"AssumeRoleUnauthorizedAccess"})";
    BOOST_TEST(contains(here.failure().message, "it says AssumeRoleUnauthorizedAccess"));
    service.keys_status = 500;
    BOOST_TEST(contains(here.failure().message, "(no credentials: it answered 500)"));
    BOOST_TEST(service.server.requests().size() == 2U + 2U + 2U + 3U + 3U);
  }
  const engine::error refused = here.failure();  // nobody listens there any more
  BOOST_TEST(contains(refused.message, "the EC2 instance metadata service: 127.0.0.1:"));
  BOOST_TEST((refused.what_now == disposition::fail));
}

BOOST_AUTO_TEST_CASE(silence_is_given_up_without_repetition) {
  const silent_server silent;
  credential_scene here;
  here.variables["AWS_EC2_METADATA_DISABLED"] = "";
  here.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = silent.url();
  const engine::error failure = here.failure();
  BOOST_TEST(contains(failure.message, "PUT stalled: no byte moved for 1000 ms"));
  BOOST_TEST((failure.what_now == disposition::fail));
  BOOST_TEST(here.transport->counters().exchanges == 1U);
}

BOOST_AUTO_TEST_CASE(a_service_that_has_given_keys_and_falls_silent_is_worth_a_repetition) {
  metadata_service service;
  credential_scene here;
  use(here, service);
  credential_chain chain(here.context(*here.transport));
  BOOST_TEST(here.loop->run(chain.find({})).has_value());
  service.token_status = 503;
  auto found = here.loop->run(chain.find({}));
  BOOST_REQUIRE(!found.has_value());
  BOOST_TEST((found.error().what_now == disposition::retry));
  service.token_status = 200;
  service.role_status = 404;
  found = here.loop->run(chain.find({}));
  BOOST_REQUIRE(!found.has_value());
  BOOST_TEST((found.error().what_now == disposition::retry));
  service.role_status = 200;
  BOOST_TEST(here.loop->run(chain.find({})).has_value());
}

BOOST_AUTO_TEST_CASE(the_address_is_ec2s_unless_the_environment_says_otherwise) {
  struct expectation {
    const char* endpoint;
    const char* mode;
    const char* url;
  };
  for (const auto& [endpoint, mode, url] :
       {expectation{"", "", "http://169.254.169.254/latest/api/token"},
        {"", "IPv4", "http://169.254.169.254/latest/api/token"},
        {"", "IPv6", "http://[fd00:ec2::254]/latest/api/token"},
        {"http://h:1/base/", "IPv6", "http://h:1/base/latest/api/token"}}) {
    credential_scene here;
    here.variables["AWS_EC2_METADATA_DISABLED"] = "no";
    here.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = endpoint;
    here.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"] = mode;
    here.fake.then(network_error());
    BOOST_TEST(!here.find_over(here.fake).has_value());
    BOOST_REQUIRE(here.fake.sent.size() == 1U);
    BOOST_TEST(here.fake.sent[0].request.method == "PUT");
    BOOST_TEST(here.fake.sent[0].request.url == url);
    BOOST_TEST((here.fake.sent[0].request.stall_timeout == std::chrono::seconds(1)));
  }
  credential_scene here;
  here.variables["AWS_EC2_METADATA_DISABLED"] = "";
  here.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"] = "ipx";
  BOOST_TEST(contains(here.failure().message, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE = \"ipx\""));
  here.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = "169.254.169.254";
  BOOST_TEST(contains(here.failure().message, "AWS_EC2_METADATA_SERVICE_ENDPOINT = "));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(credentials_container)

BOOST_AUTO_TEST_CASE(the_full_address_is_asked_with_the_token) {
  small_http_server server(
      [](const small_request&) { return small_answer(200, metadata_json("ASIA")); });
  credential_scene here;
  here.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = server.url() + "/v1/get?a=1";
  BOOST_TEST(here.found() == "ASIA/secret/token");
  here.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "Basic abcd";
  BOOST_TEST(here.found() == "ASIA/secret/token");
  // The file counts, and is read each time.
  here.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = here.write("token", "first\n");
  BOOST_TEST(here.found() == "ASIA/secret/token");
  here.write("token", "second");
  BOOST_TEST(here.found() == "ASIA/secret/token");
  const auto asked = server.requests();
  BOOST_REQUIRE(asked.size() == 4U);
  BOOST_TEST(asked[0].target == "/v1/get?a=1");
  BOOST_TEST(asked[0].header("accept") == "application/json");
  BOOST_TEST(asked[0].header("authorization") == "");
  BOOST_TEST(asked[1].header("authorization") == "Basic abcd");
  BOOST_TEST(asked[2].header("authorization") == "first");
  BOOST_TEST(asked[3].header("authorization") == "second");
}

BOOST_AUTO_TEST_CASE(a_relative_address_is_ecss_and_counts_first) {
  credential_scene here;
  here.variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/credentials/x";
  here.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://127.0.0.1:9/";
  here.fake.then(answer(200, {}, metadata_json("ASIA")));
  const auto found = here.find_over(here.fake);
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  BOOST_TEST(here.fake.sent.at(0).request.url == "http://169.254.170.2/v2/credentials/x");
  BOOST_TEST(found->source == "the container's endpoint http://169.254.170.2/v2/credentials/x");
  here.variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "@evil.example/x";
  BOOST_TEST(contains(here.failure().message, "is no path"));
}

BOOST_AUTO_TEST_CASE(the_token_goes_over_http_only_to_this_machine_ecs_and_eks) {
  for (const char* url : {"https://credentials.example/get", "http://localhost:8080/get",
                          "http://127.0.0.1/", "http://127.1.2.3:99/", "http://[::1]/get",
                          "http://169.254.170.2/get", "http://169.254.170.23/v1/credentials",
                          "http://[fd00:ec2::23]/v1/credentials", "http://[fd00:ec2:0::0023]/v1"}) {
    BOOST_TEST_CONTEXT(url) {
      BOOST_TEST(may_ask_for_credentials(url));
    }
  }
  for (const char* url :
       {"http://credentials.example/get", "http://128.0.0.1/", "http://169.254.170.3/",
        "http://169.254.169.254/", "http://127.0.0.1.example/", "http://localhost.example/",
        "http://[::2]/", "http://[fd00:ec2::254]/", "http://127.0.0.1@10.0.0.1/",
        "ftp://127.0.0.1/", "127.0.0.1/get", "/get", ""}) {
    BOOST_TEST_CONTEXT(url) {
      BOOST_TEST(!may_ask_for_credentials(url));
    }
  }
  credential_scene here;
  here.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://10.0.0.1/get";
  BOOST_TEST(!here.find_over(here.fake).has_value());
  BOOST_TEST(here.fake.sent.empty());
}

BOOST_AUTO_TEST_CASE(refusals_are_final_and_the_rest_is_worth_a_repetition) {
  int status = 0;
  small_http_server server([&status](const small_request&) { return small_answer(status, "{}"); });
  credential_scene here;
  here.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = server.url() + "/get";
  for (const auto& [given, expected] : std::map<int, disposition>{{200, disposition::fail},
                                                                  {400, disposition::fail},
                                                                  {404, disposition::fail},
                                                                  {429, disposition::retry},
                                                                  {500, disposition::retry},
                                                                  {503, disposition::retry}}) {
    status = given;
    const engine::error failure = here.failure();
    BOOST_TEST_CONTEXT(given) {
      BOOST_TEST((failure.what_now == expected));
    }
    BOOST_TEST(contains(failure.message, "the container's endpoint " + server.url() + "/get"));
  }
  here.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "a\r\nX-Evil: b";
  BOOST_TEST(contains(here.failure().message, "more than one line"));
  here.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = here.path("none");
  BOOST_TEST(contains(here.failure().message, "No such file or directory"));
}

BOOST_AUTO_TEST_SUITE_END()
