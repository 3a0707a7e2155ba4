#include "app/restore/restore_request.hh"

#include <boost/test/unit_test.hpp>

#include <chrono>

using namespace bts3::app;
using std::chrono::hours;
namespace s3 = bts3::s3;

BOOST_AUTO_TEST_SUITE(restore_request_suite)

BOOST_AUTO_TEST_CASE(a_target_that_is_not_named_is_below_the_target_base) {
  config settings;
  settings.restore.target_base_dir = "/restored";
  restore_command command;
  command.subvolume = "data";
  BOOST_TEST(request_of(settings, command, command.subvolume).target == "/restored/data");
  command.target_base = "/mnt/";
  BOOST_TEST(request_of(settings, command, command.subvolume).target == "/mnt/data");
  command.target = "/srv/data.old";
  BOOST_TEST(request_of(settings, command, command.subvolume).target == "/srv/data.old");
  // With --all each has its own.
  command = restore_command();
  command.all = true;
  const restore_request home = request_of(settings, command, "home");
  BOOST_TEST(home.target == "/restored/home");
  BOOST_TEST(home.wanted.subvolume == "home");
  BOOST_TEST(home.one_of_all);
}

BOOST_AUTO_TEST_CASE(what_is_wanted_says_whether_a_bucket_was_named_instead_of_a_configuration) {
  const config settings;
  restore_command command;
  command.subvolume = "data";
  command.manifest_key = "p/key";
  command.at = "2026-01-02";
  BOOST_TEST(!wanted_by(settings, command).of_bucket);
  command.from = "s3://b/p";
  const wanted_backup wanted = wanted_by(settings, command);
  BOOST_TEST(wanted.of_bucket);
  BOOST_TEST(wanted.subvolume == "data");
  BOOST_TEST(wanted.manifest_key == "p/key");
  BOOST_TEST(wanted.at == "2026-01-02");
}

BOOST_AUTO_TEST_CASE(trusted_signers_are_the_configured_ones_unless_others_are_named) {
  config settings;
  restore_command command;
  BOOST_TEST(request_of(settings, command, "data").wanted.trusted_signers == "");
  settings.restore.trusted_signers_file = "/configured";
  BOOST_TEST(request_of(settings, command, "data").wanted.trusted_signers == "/configured");
  command.trusted_signers = "/named";
  BOOST_TEST(request_of(settings, command, "data").wanted.trusted_signers == "/named");
  command.trusted_signers = "";  // said so
  BOOST_TEST(request_of(settings, command, "data").wanted.trusted_signers == "");
}

BOOST_AUTO_TEST_CASE(the_verification_is_the_configured_one_unless_it_is_said) {
  config settings;
  settings.restore.verify_mode = verify_mode::sample;
  restore_command command;
  BOOST_TEST((request_of(settings, command, "data").verify == verify_mode::sample));
  command.verify = verify_mode::none;
  BOOST_TEST((request_of(settings, command, "data").verify == verify_mode::none));
}

BOOST_AUTO_TEST_CASE(the_command_line_beats_the_configuration) {
  config settings;
  settings.thaw.timeout_seconds = std::chrono::seconds(100);
  settings.thaw.tier = s3::retrieval_tier::bulk;
  settings.thaw.days = 12;
  restore_command command;
  BOOST_TEST(thaw_policy_of(settings, command).timeout.count() == 100);
  BOOST_TEST((thaw_policy_of(settings, command).tier == s3::retrieval_tier::bulk));
  BOOST_TEST(*thaw_policy_of(settings, command).days == 12u);
  BOOST_TEST(thaw_policy_of(settings, thaw_command()).timeout.count() == 0);
  command.tier = s3::retrieval_tier::expedited;
  BOOST_TEST((thaw_policy_of(settings, command).tier == s3::retrieval_tier::expedited));
  thaw_command alone;
  BOOST_TEST((thaw_policy_of(settings, alone).tier == s3::retrieval_tier::bulk));
  alone.tier = s3::retrieval_tier::standard;
  BOOST_TEST((thaw_policy_of(settings, alone).tier == s3::retrieval_tier::standard));
  command.wait_thaw = false;
  BOOST_TEST(thaw_policy_of(settings, command).timeout.count() == 0);
  settings.thaw.wait = false;
  command.wait_thaw.reset();
  BOOST_TEST(thaw_policy_of(settings, command).timeout.count() == 0);
  command.wait_thaw = true;
  BOOST_TEST(thaw_policy_of(settings, command).timeout.count() == 100);
  command.wait_thaw.reset();
  command.thaw_timeout = hours(6);  // whoever says how long means to wait
  BOOST_TEST(thaw_policy_of(settings, command).timeout.count() == 21'600);
  BOOST_TEST(!thaw_policy_of(config(), command).days.has_value());
}

BOOST_AUTO_TEST_SUITE_END()
