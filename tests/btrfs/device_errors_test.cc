#include "btrfs/device_errors.hh"

#include "tests/btrfs/loop_filesystem.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <iostream>

using namespace bts3::btrfs;

namespace {

device_errors of(std::uint64_t id, std::uint64_t writes, std::uint64_t flushes = 0) {
  device_errors made;
  made.id = id;
  made.device = "/dev/sd" + std::string(1, static_cast<char>('a' + id));
  made.writes = writes;
  made.flushes = flushes;
  return made;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(device_errors_suite)

BOOST_AUTO_TEST_CASE(only_what_has_risen_is_told_and_of_a_new_device_all) {
  const auto found = risen({of(1, 5), of(2, 7)}, {of(1, 5), of(2, 9, 1), of(3, 4)});
  BOOST_REQUIRE(found.size() == 2);
  BOOST_TEST(found[0].text() == "/dev/sdc: 2 writes and 1 flush refused");
  BOOST_TEST(found[1].text() == "/dev/sdd: 4 writes refused");
  // Counters that somebody set back meanwhile tell nothing.
  BOOST_TEST(risen({of(1, 5)}, {of(1, 0)}).empty());
}

BOOST_AUTO_TEST_CASE(errors_of_a_device_are_told_in_words) {
  device_errors one = of(1, 1);
  BOOST_TEST(one.text() == "/dev/sdb: 1 write refused");
  one.reads = 2;
  one.flushes = 3;
  one.corruptions = 1;
  BOOST_TEST(one.text() == "/dev/sdb: 1 write, 2 reads and 3 flushes refused, 1 block damaged");
  one = of(4, 0);
  one.device.clear();
  one.corruptions = 2;
  BOOST_TEST(one.text() == "device 4: 2 blocks damaged");
}

BOOST_AUTO_TEST_CASE(a_sound_device_has_no_errors) {
  BTS3_LOOP_FILESYSTEM(loop);
  auto found = device_errors_of(loop.directory());
  BOOST_REQUIRE_MESSAGE(found.has_value(), bts3::testing::error_text(found));
  BOOST_REQUIRE(found->size() == 1);
  BOOST_TEST(!found->front().any());
  BOOST_TEST(found->front().device.starts_with("/dev/"));
  BOOST_TEST(!device_errors_of("/nowhere").has_value());
}

BOOST_AUTO_TEST_SUITE_END()
