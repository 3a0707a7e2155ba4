#include "app/cli.hh"

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

using namespace bts3::app;

namespace {

std::variant<command_line, early_exit> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "btrfs_to_s3");
  return parse_command_line(static_cast<int>(words.size()), words.data());
}

command_line accepted(std::vector<const char*> words) {
  auto parsed = parse(std::move(words));
  if (const auto* end = std::get_if<early_exit>(&parsed)) {
    BOOST_FAIL(end->text);
  }
  return std::get<command_line>(parsed);
}

early_exit ended(std::vector<const char*> words) {
  auto parsed = parse(std::move(words));
  BOOST_REQUIRE(std::holds_alternative<early_exit>(parsed));
  return std::get<early_exit>(parsed);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cli_suite)

BOOST_AUTO_TEST_CASE(global_options_stand_before_or_after_the_command) {
  for (const auto& line :
       {accepted({"--config", "/c", "backup"}), accepted({"backup", "--config", "/c"})}) {
    BOOST_TEST(line.common.config_path == "/c");
  }
  BOOST_TEST(accepted({"backup"}).common.config_path == "/etc/btrfs_to_s3/config.toml");
  BOOST_TEST(accepted({"backup", "--config", "c"}).common.config_path.front() == '/');
}

BOOST_AUTO_TEST_CASE(backup_takes_its_flags_and_several_subvolumes) {
  const auto line =
      accepted({"backup", "--once", "--no-s3", "--adopt", "--subvolume", "a", "--subvolume", "b"});
  const auto& backup = std::get<backup_command>(line.command);
  BOOST_TEST((backup.adopt && backup.once && backup.no_s3));
  const std::vector<std::string> names = {"a", "b"};
  BOOST_TEST(backup.subvolumes == names, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_dry_run_is_the_plan) {
  for (const auto& line : {accepted({"backup", "--dry-run", "--once", "--subvolume", "a"}),
                           accepted({"plan", "--once", "--subvolume", "a"})}) {
    const auto& plan = std::get<plan_command>(line.command);
    BOOST_TEST((plan.once && !plan.json && !plan.adopt));
    BOOST_TEST(plan.subvolumes.front() == "a");
  }
  BOOST_TEST(std::get<plan_command>(accepted({"plan", "--json", "--adopt"}).command).json);
}

BOOST_AUTO_TEST_CASE(restore_takes_a_manifest_or_the_current_one) {
  const auto line =
      accepted({"restore", "--subvolume", "d", "--target", "/t", "--manifest-key", "k"});
  BOOST_TEST(std::get<restore_command>(line.command).manifest_key == "k");
  BOOST_TEST(
      std::get<restore_command>(accepted({"restore", "--subvolume", "d", "--current"}).command)
          .manifest_key.empty());
  BOOST_TEST(ended({"restore", "--subvolume", "d", "--current", "--manifest-key", "k"}).status ==
             2);
  BOOST_TEST(ended({"restore"}).status == 2);
}

BOOST_AUTO_TEST_CASE(usage_errors_exit_2_and_help_exits_0_with_the_table) {
  BOOST_TEST(ended({}).status == 2);
  BOOST_TEST(ended({"bakup"}).status == 2);
  BOOST_TEST(ended({"backup", "--log-level", "loud"}).status == 2);
  BOOST_TEST(ended({"backup", "--no-such"}).to_stderr);
  const early_exit help = ended({"--help"});
  BOOST_TEST(help.status == 0);
  BOOST_TEST(help.text.find("Exit status: 0 done") != std::string::npos);
  BOOST_TEST(ended({"--version"}).text.starts_with("btrfs_to_s3 "));
}

BOOST_AUTO_TEST_SUITE_END()
