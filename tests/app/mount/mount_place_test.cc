// Where a filesystem can be mounted, and what is said where it cannot.
#include "app/mount/mount_place.hh"

#include "tests/app/support.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <string_view>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::error_text;
using bts3::testing::scratch_directory;
using bts3::testing::write_file;

namespace {

struct scene {
  scene() {
    write_file(tools.device, "");
    write_file(helper, "");
    ::chmod(helper.c_str(), 0755);
    std::filesystem::create_directory(place);
    tools.path = scratch / "";
  }
  // Refused, with these words.
  void refused(uid_t user, bool allow_other, std::string_view why, std::string_view remedy) {
    const auto outcome = usable_mount_point(tools, place, user, allow_other);
    BOOST_REQUIRE(!outcome);
    BOOST_TEST((outcome.error().why == engine::reason::configuration));
    BOOST_TEST(outcome.error().message.find(why) != std::string::npos, error_text(outcome));
    BOOST_TEST(outcome.error().remedy.find(remedy) != std::string::npos, error_text(outcome));
  }
  scratch_directory scratch;
  std::string place = scratch / "place";
  std::string helper = scratch / "helper";
  mount_tools tools{.device = scratch / "device",
                    .helper = "helper",
                    .settings = scratch / "fuse.conf",
                    .mounts = scratch / "mounts",
                    .path = {}};
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(mount_place_suite, scene)

BOOST_AUTO_TEST_CASE(an_empty_directory_can_be_mounted_at) {
  const std::string link = scratch / "link";
  std::filesystem::create_directory_symlink(place, link);
  const auto found = usable_mount_point(tools, link, 0, true);
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  BOOST_TEST(*found == std::filesystem::canonical(place).string());
  BOOST_TEST(usable_mount_point(tools, place, 1000, false).has_value());
}

BOOST_AUTO_TEST_CASE(what_is_no_empty_directory_is_refused_by_name) {
  write_file(place + "/something", "");
  refused(0, false, "is not empty", "empty directory");
  place = scratch / "device";
  refused(0, false, "is no directory", "empty directory");
  place = scratch / "nowhere";
  refused(0, false, "nowhere", "mkdir");
}

BOOST_AUTO_TEST_CASE(what_the_host_lacks_is_said) {
  std::filesystem::remove(tools.device);
  refused(0, false, "device", "modprobe fuse");
  write_file(tools.device, "");
  refused(1000, true, "--allow-other", "user_allow_other");
  write_file(tools.settings, "# user_allow_other\n");
  refused(1000, true, "--allow-other", "user_allow_other");
  write_file(tools.settings, "#\n user_allow_other \n");
  BOOST_TEST(usable_mount_point(tools, place, 1000, true).has_value());
  tools.helper = "no-such-helper";
  refused(1000, false, "no-such-helper", "fuse3");
  BOOST_TEST(usable_mount_point(tools, place, 0, false).has_value());
}

BOOST_AUTO_TEST_CASE(the_uppermost_mount_is_found_by_its_name) {
  write_file(tools.mounts,
             "30 1 0:25 / / rw - ext4 /dev/a rw\n"
             "41 30 0:57 / /a\\040b rw - fuse.x y rw\n"
             "42 30 0:58 / /a\\040b rw - fuse.x y rw\n"
             "43 30 0:59 / /a rw - fuse.x y rw\n");
  BOOST_TEST(mounted_at(tools, "/a b").value_or("") == "0:58");
  BOOST_TEST(mounted_at(tools, "/a").value_or("") == "0:59");
  BOOST_TEST(!mounted_at(tools, "/b").has_value());
  BOOST_TEST((*take_away(tools, "/b", "0:58") == unmounted::already));
  BOOST_TEST((*take_away(tools, "/a b", "0:57") == unmounted::already));
}

BOOST_AUTO_TEST_SUITE_END()
