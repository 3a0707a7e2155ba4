#include "app/config/working_place.hh"

#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <map>
#include <string>

using namespace bts3::app;
using bts3::testing::error_text;

namespace {

bts3::engine::environment_lookup variables(std::map<std::string, std::string, std::less<>> values) {
  return [values = std::move(values)](std::string_view name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

}  // namespace

BOOST_AUTO_TEST_SUITE(working_place_suite)

BOOST_AUTO_TEST_CASE(a_bucket_alone_makes_a_configuration) {
  restore_command command;
  command.from = "s3://bucket/hosts/alpha/";
  command.region = "eu-central-1";
  auto made = config_of_bucket(command, variables({}));
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  BOOST_TEST(made->s3.bucket == "bucket");
  BOOST_TEST(made->s3.prefix == "hosts/alpha/");
  BOOST_TEST(made->s3.region == "eu-central-1");
  BOOST_TEST(made->s3.endpoint_url.empty());
  command.from = "s3://bucket";
  BOOST_TEST(config_of_bucket(command, variables({}))->s3.prefix.empty());
  command.region.clear();
  BOOST_TEST(config_of_bucket(command, variables({{"AWS_REGION", "r"}}))->s3.region == "r");
  // A server of one's own needs no region; Amazon does.
  BOOST_TEST(config_of_bucket(command, variables({{"AWS_ENDPOINT_URL", "http://h"}}))->s3.region ==
             "us-east-1");
  command.endpoint_url = "http://flag";
  BOOST_TEST(config_of_bucket(command, variables({{"AWS_ENDPOINT_URL_S3", "http://h"}}))
                 ->s3.endpoint_url == "http://flag");
  command.endpoint_url.clear();
  auto without = config_of_bucket(command, variables({}));
  BOOST_REQUIRE(!without);
  BOOST_TEST(without.error().text().find("--region") != std::string::npos);
  for (const char* wrong : {"bucket/prefix", "s3://", "s3:///prefix", "https://bucket"}) {
    command.from = wrong;
    BOOST_TEST(!config_of_bucket(command, variables({{"AWS_REGION", "r"}})).has_value(), wrong);
  }
}

BOOST_AUTO_TEST_CASE(the_environment_overrides_what_options_do_not_say) {
  restore_command command;
  command.from = "s3://bucket/p";
  const auto all = variables({{"HOME", "/h"},
                              {"BTRFS_TO_S3_SNAPSHOTS_BASE_DIR", "/mnt/snapshots"},
                              {"BTRFS_TO_S3_RESTORE_PRICE_TABLE", "~/prices.toml"},
                              {"BTRFS_TO_S3_S3_CA_BUNDLE", "/ca.pem"},
                              {"BTRFS_TO_S3_RESTORE_RESTORE_TIER", "Expedited"},
                              {"BTRFS_TO_S3_S3_BUCKET", "other"},
                              {"BTRFS_TO_S3_S3_PREFIX", "elsewhere"},
                              {"BTRFS_TO_S3_SUBVOLUMES_PATHS", "[\"/srv/other\"]"},
                              {"BTRFS_TO_S3_S3_REGION", "r"},
                              {"AWS_REGION", "less particular"},
                              {"BTRFS_TO_S3_S3_ENDPOINT_URL", "https://h"},
                              {"AWS_ENDPOINT_URL", "https://less"}});
  auto made = config_of_bucket(command, all);
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  BOOST_TEST(made->snapshots.base_dir == "/mnt/snapshots");
  BOOST_TEST(made->restore.price_table == "/h/prices.toml");
  BOOST_TEST(made->s3.ca_bundle == "/ca.pem");
  BOOST_TEST((made->thaw.tier == bts3::s3::retrieval_tier::expedited));
  BOOST_TEST((made->s3.bucket == "bucket" && made->s3.prefix == "p" && made->subvolumes.empty()));
  BOOST_TEST((made->s3.region == "r" && made->s3.endpoint_url == "https://h"));
  BOOST_TEST(made->global.state_path == "/h/.local/state/btrfs_to_s3/state.json");
  command.region = "said";
  command.endpoint_url = "https://said";
  made = config_of_bucket(command, all);
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  BOOST_TEST((made->s3.region == "said" && made->s3.endpoint_url == "https://said"));
  // Wrong ones are named; without a home there is still a place for the state.
  const auto wrong = config_of_bucket(command, variables({{"BTRFS_TO_S3_S3_CONCURRENCY", "many"}}));
  BOOST_TEST(error_text(wrong) ==
             "the environment: BTRFS_TO_S3_S3_CONCURRENCY = many must be a whole number from 1 to "
             "64");
  BOOST_TEST(config_of_bucket(command, variables({{"HOME", ""}}))->global.state_path ==
             "/root/.local/state/btrfs_to_s3/state.json");
}

BOOST_AUTO_TEST_CASE(without_a_configuration_file_a_bucket_is_offered_where_that_works) {
  command_line line;
  line.common.config_path = "/no/such/config.toml";
  const std::string offer = "--from s3://bucket/prefix --region NAME";
  restore_command restore;
  for (auto& command : std::initializer_list<decltype(line.command)>{
           restore, thaw_command(), list_command(), verify_command(), backup_command()}) {
    line.command = command;
    const std::string said = error_text(settings_for(line, variables({})));
    BOOST_TEST(said.find("/no/such/config.toml does not exist; name one with --config") !=
               std::string::npos);
    BOOST_TEST((said.find(offer) != std::string::npos) == (place_in(line) != nullptr), said);
  }
  BOOST_TEST(place_in(line) == nullptr);
  restore.from = "s3://bucket/p";
  restore.region = "r";
  line.command = restore;
  BOOST_TEST(settings_for(line, variables({}))->s3.bucket == "bucket");
}

BOOST_AUTO_TEST_CASE(a_named_profile_beats_keys_in_the_environment) {
  const auto plain = variables({{"AWS_ACCESS_KEY_ID", "A"},
                                {"AWS_SECRET_ACCESS_KEY", "B"},
                                {"AWS_SESSION_TOKEN", "C"},
                                {"AWS_PROFILE", "other"},
                                {"HOME", "/h"}});
  const auto with = environment_with_profile(plain, "rescue");
  BOOST_TEST(*with("AWS_PROFILE") == "rescue");
  BOOST_TEST(*with("HOME") == "/h");
  for (const char* name : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}) {
    BOOST_TEST(!with(name).has_value());
    BOOST_TEST(environment_with_profile(plain, "")(name).has_value());
  }
}

BOOST_AUTO_TEST_SUITE_END()
