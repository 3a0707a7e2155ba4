#include "app/config/setting_names.hh"

#include "app/config/config.hh"
#include "engine/setting.hh"
#include "tests/app/support.hh"
#include "tests/support/shown_setting.hh"

#include <algorithm>
#include <string>

using namespace bts3::app;
using bts3::engine::setting;
using bts3::engine::setting_count;
using bts3::testing::shown;

namespace {

bool is_key(const std::string& text) {
  const auto keys = config_keys();
  return std::find(keys.begin(), keys.end(), text) != keys.end();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(setting_names_suite)

BOOST_AUTO_TEST_CASE(every_setting_is_a_key_of_the_configuration) {
  for (std::size_t i = 0; i < setting_count; ++i) {
    const std::string name = shown(static_cast<setting>(i));
    BOOST_TEST((is_key(name) || name == "thaw.tier, or --tier"), name);
  }
}

BOOST_AUTO_TEST_CASE(options_stand_for_the_keys_that_have_one) {
  {
    const settings_named options(named_as::options_of_bucket);
    BOOST_TEST(shown(setting::bucket) == "the bucket in --from");
    BOOST_TEST(shown(setting::region) == "--region");
    BOOST_TEST(shown(setting::key_prefix) == "the prefix in --from");
    BOOST_TEST(shown(setting::endpoint) == "--endpoint-url");
    BOOST_TEST(shown(setting::part_size) == "s3.part_size_bytes");
    const settings_named of_init(named_as::options_of_init);
    BOOST_TEST(shown(setting::bucket) == "--bucket");
    BOOST_TEST(shown(setting::subvolumes) == "--subvolume");
    BOOST_TEST(shown(setting::part_size) == "s3.part_size_bytes");
    BOOST_TEST(shown_key("schedule.full_every_days") == "--full-every-days");
    BOOST_TEST(shown_key("global.state_path") == "global.state_path");
  }
  BOOST_TEST(shown(setting::bucket) == "s3.bucket");
  BOOST_TEST(shown_key("s3.prefix") == "s3.prefix");
}

BOOST_AUTO_TEST_SUITE_END()
