#include "s3/credentials/credentials.hh"

#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

using namespace bts3;
using namespace bts3::s3;

namespace {

// A home directory of its own and an environment of the test's making.
class scene {
 public:
  scene() {
    std::string pattern = (std::filesystem::temp_directory_path() / "bts3-cred-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    _home = pattern;
    std::filesystem::create_directory(_home / ".aws");
    variables["HOME"] = _home.string();
  }
  ~scene() { std::filesystem::remove_all(_home); }
  scene(const scene&) = delete;
  scene& operator=(const scene&) = delete;

  std::string write(const std::string& name, const std::string& text) const {
    const auto path = _home / name;
    std::ofstream(path) << text;
    return path.string();
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (_home / name).string(); }
  // The environment's keys, else the profile's.
  [[nodiscard]] engine::result<credentials> find() const {
    auto found = environment_keys(lookup());
    if (!found && found.error().what_now == engine::disposition::not_found) {
      const shared_profiles profiles = shared_profiles::read(lookup());
      return profile_keys(profiles, profiles.chosen());
    }
    return found;
  }
  [[nodiscard]] engine::environment_lookup lookup() const {
    return [this](std::string_view name) -> std::optional<std::string> {
      const auto found = variables.find(std::string(name));
      return found == variables.end() ? std::nullopt : std::optional(found->second);
    };
  }

  std::map<std::string, std::string> variables;

 private:
  std::filesystem::path _home;
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(credentials_chain)

BOOST_AUTO_TEST_CASE(the_environment_gives_keys_and_token) {
  scene here;
  here.variables["AWS_ACCESS_KEY_ID"] = "AKID";
  here.variables["AWS_SECRET_ACCESS_KEY"] = "secret";
  here.variables["AWS_SESSION_TOKEN"] = "token";
  const auto found = here.find();
  BOOST_REQUIRE_MESSAGE(found.has_value(), testing::error_text(found));
  BOOST_TEST(found->access_key_id == "AKID");
  BOOST_TEST(found->secret_access_key == "secret");
  BOOST_TEST(found->session_token == "token");
  BOOST_TEST(found->source == "the environment");
}

BOOST_AUTO_TEST_CASE(the_default_profile_is_read_from_the_credentials_file) {
  scene here;
  const std::string path = here.write(".aws/credentials",
                                      "# comment\n[default]\naws_access_key_id = AKID\r\n"
                                      "aws_secret_access_key=se=cret/+\n\n[other]\n"
                                      "aws_access_key_id=wrong\n");
  const auto found = here.find();
  BOOST_REQUIRE_MESSAGE(found.has_value(), testing::error_text(found));
  BOOST_TEST(found->access_key_id == "AKID");
  BOOST_TEST(found->secret_access_key == "se=cret/+");
  BOOST_TEST(found->session_token == "");
  BOOST_TEST(found->source == "profile \"default\" in " + path);
}

BOOST_AUTO_TEST_CASE(a_named_profile_is_read_from_the_config_file) {
  scene here;
  here.write(".aws/credentials", "[default]\naws_access_key_id=a\naws_secret_access_key=b\n");
  here.write(".aws/config",
             "[profile backup]\naws_access_key_id = AKID\naws_secret_access_key = secret\n"
             "aws_session_token = token\nregion = eu-central-1\n");
  here.variables["AWS_PROFILE"] = "backup";
  const auto found = here.find();
  BOOST_REQUIRE_MESSAGE(found.has_value(), testing::error_text(found));
  BOOST_TEST(found->access_key_id == "AKID");
  BOOST_TEST(found->session_token == "token");
  BOOST_TEST(find_region(here.lookup()).value_or("") == "eu-central-1");
}

BOOST_AUTO_TEST_CASE(variables_beat_a_profile_that_is_named) {
  scene here;
  here.write(".aws/credentials", "[backup]\naws_access_key_id=a\naws_secret_access_key=b\n");
  here.variables["AWS_PROFILE"] = "backup";
  here.variables["AWS_ACCESS_KEY_ID"] = "AKID";
  here.variables["AWS_SECRET_ACCESS_KEY"] = "secret";
  const auto found = here.find();
  BOOST_REQUIRE_MESSAGE(found.has_value(), testing::error_text(found));
  BOOST_TEST(found->access_key_id == "AKID");
}

BOOST_AUTO_TEST_CASE(the_files_can_be_elsewhere) {
  scene here;
  const std::string path =
      here.write("keys", "[default]\naws_access_key_id=AKID\naws_secret_access_key=secret\n");
  here.variables["AWS_SHARED_CREDENTIALS_FILE"] = path;
  const auto found = here.find();
  BOOST_REQUIRE_MESSAGE(found.has_value(), testing::error_text(found));
  BOOST_TEST(found->access_key_id == "AKID");
  here.variables["AWS_SHARED_CREDENTIALS_FILE"] = "~/keys";
  BOOST_TEST(here.find().has_value());
}

BOOST_AUTO_TEST_CASE(half_a_pair_in_the_environment_names_the_missing_half) {
  scene here;
  here.variables["AWS_ACCESS_KEY_ID"] = "AKID";
  here.variables["AWS_SECRET_ACCESS_KEY"] = "";
  auto found = here.find();
  BOOST_REQUIRE(!found.has_value());
  BOOST_TEST((found.error().why == engine::reason::access));
  BOOST_TEST(found.error().message ==
             "the environment has AWS_ACCESS_KEY_ID without AWS_SECRET_ACCESS_KEY");
  BOOST_TEST(contains(found.error().remedy, "set AWS_SECRET_ACCESS_KEY"));
  here.variables.erase("AWS_ACCESS_KEY_ID");
  here.variables["AWS_SECRET_ACCESS_KEY"] = "secret";
  found = here.find();
  BOOST_REQUIRE(!found.has_value());
  BOOST_TEST(contains(found.error().message, "without AWS_ACCESS_KEY_ID"));
}

BOOST_AUTO_TEST_CASE(half_a_pair_in_a_profile_names_file_and_missing_half) {
  scene here;
  const std::string path = here.write(".aws/credentials", "[default]\naws_access_key_id=AKID\n");
  const auto found = here.find();
  BOOST_REQUIRE(!found.has_value());
  BOOST_TEST(found.error().message == "profile \"default\" in " + path +
                                          " has aws_access_key_id without aws_secret_access_key");
}

BOOST_AUTO_TEST_CASE(files_without_keys_say_why) {
  scene here;
  here.write(".aws/config", "[default]\nregion = eu-west-1\n");
  auto found = here.find();
  BOOST_REQUIRE(!found.has_value());
  BOOST_TEST((found.error().why == engine::reason::access));
  BOOST_TEST((found.error().what_now == engine::disposition::not_found));
  BOOST_TEST(found.error().message ==
             here.path(".aws/credentials") + " (No such file or directory), " +
                 here.path(".aws/config") + " (profile \"default\" has no keys)");
  here.variables["AWS_PROFILE"] = "bakcup";
  found = here.find();
  BOOST_REQUIRE(!found.has_value());
  BOOST_TEST(contains(found.error().message, "has no profile \"bakcup\""));
}

BOOST_AUTO_TEST_CASE(settings_of_the_credentials_file_count_first) {
  scene here;
  const std::string keys =
      here.write(".aws/credentials", "[default]\nregion = eu-west-1\nrole_arn =\n");
  const std::string config =
      here.write(".aws/config", "[default]\nregion = eu-west-2\nrole_arn = arn\n");
  const shared_profiles profiles = shared_profiles::read(here.lookup());
  BOOST_TEST(profiles.chosen() == "default");
  BOOST_TEST(!profiles.explicitly_chosen());
  BOOST_TEST(profiles.setting("default", "region") == "eu-west-1");
  BOOST_TEST(profiles.setting("default", "role_arn") == "arn");
  BOOST_TEST(profiles.setting("other", "region") == "");
  BOOST_TEST(profiles.where("default", "region") == "profile \"default\" in " + keys);
  BOOST_TEST(profiles.where("default", "role_arn") == "profile \"default\" in " + config);
  BOOST_TEST(profiles.where("default", "output") == "profile \"default\" in " + keys);
  BOOST_TEST(profiles.has("default"));
  BOOST_TEST(!profiles.has("other"));
}

BOOST_AUTO_TEST_CASE(credentials_are_the_same_when_all_their_keys_are) {
  credentials one;
  one.access_key_id = "a";
  one.secret_access_key = "b";
  one.session_token = "c";
  credentials other = one;
  other.source = "elsewhere";
  BOOST_TEST(one.same_keys(other));
  other.access_key_id += "x";
  BOOST_TEST(!one.same_keys(other));
  for (engine::secret_string credentials::* member :
       {&credentials::secret_access_key, &credentials::session_token}) {
    other = one;
    other.*member = engine::secret_string((one.*member).view(), "x");
    BOOST_TEST(!one.same_keys(other));
  }
}

BOOST_AUTO_TEST_CASE(without_a_home_directory_the_message_says_so) {
  scene here;
  here.variables.erase("HOME");
  const auto found = here.find();
  BOOST_REQUIRE(!found.has_value());
  BOOST_TEST(contains(found.error().message, "~/.aws/credentials (HOME is not set)"));
}

BOOST_AUTO_TEST_CASE(a_file_without_end_is_not_read_without_end) {
  scene here;
  here.variables["AWS_SHARED_CREDENTIALS_FILE"] = "/dev/zero";
  const auto found = here.find();
  BOOST_REQUIRE(!found.has_value());
  BOOST_TEST(contains(found.error().message, "/dev/zero (is larger than 1 MiB)"));
}

BOOST_AUTO_TEST_CASE(the_region_comes_from_variables_before_the_profile) {
  scene here;
  BOOST_TEST(!find_region(here.lookup()).has_value());
  here.write(".aws/config", "[default]\nregion = eu-west-1\n");
  BOOST_TEST(find_region(here.lookup()).value_or("") == "eu-west-1");
  here.variables["AWS_DEFAULT_REGION"] = "eu-west-2";
  BOOST_TEST(find_region(here.lookup()).value_or("") == "eu-west-2");
  here.variables["AWS_REGION"] = "eu-west-3";
  BOOST_TEST(find_region(here.lookup()).value_or("") == "eu-west-3");
  here.variables["AWS_REGION"] = "";
  BOOST_TEST(find_region(here.lookup()).value_or("") == "eu-west-2");
}

BOOST_AUTO_TEST_CASE(nested_settings_have_their_blocks_name_and_odd_lines_are_left_out) {
  const profile_map profiles = parse_profiles(
      "orphan = 1\n[default]\ns3 =\n  max_concurrent_requests = 20\n\taws_access_key_id = nested\n"
      "aws_access_key_id = first\naws_access_key_id = last\nno equals sign\n; comment = 1\n"
      "[profile \"two words\"]\nregion=x\n[unclosed\nregion=y\n[default]\nregion = again");
  BOOST_TEST(profiles.size() == 3U);
  const auto& plain = profiles.at("default");
  BOOST_TEST(plain.at("aws_access_key_id") == "last");
  BOOST_TEST(plain.at("s3") == "");
  BOOST_TEST(plain.at("region") == "again");
  BOOST_TEST(plain.at("s3.max_concurrent_requests") == "20");
  BOOST_TEST(plain.at("s3.aws_access_key_id") == "nested");
  BOOST_TEST(plain.size() == 5U);
  BOOST_TEST(profiles.at("two words").at("region") == "x");
  BOOST_TEST(profiles.at("unclosed").at("region") == "y");
}

BOOST_AUTO_TEST_SUITE_END()
