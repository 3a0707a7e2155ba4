// What the kernel refuses is told, and never taken for success.
#include "btrfs/snapshot_manager.hh"
#include "btrfs/subvolume.hh"

#include "tests/btrfs/failing_call.hh"
#include "tests/btrfs/loop_filesystem.hh"
#include "tests/support/shown_setting.hh"

#include <boost/test/unit_test.hpp>

#include <linux/btrfs.h>

#include <cerrno>
#include <iostream>

using bts3::engine::setting;
using bts3::testing::shown;

using namespace bts3::btrfs;
using testing::call;
using testing::failing_call;

namespace {

const std::string day_1 = "20260101T000000Z";

template <typename T>
std::string problem(const bts3::engine::result<T>& outcome) {
  return outcome ? std::string("accepted") : outcome.error().text();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(failures_suite)

BOOST_AUTO_TEST_CASE(a_snapshot_that_may_not_be_durable_is_no_snapshot) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::string source = testing::make_subvolume(loop.directory() / "data");
  const std::string base = loop.directory();
  const snapshot_manager snapshots(base);
  const failing_call sync(call::syncfs, EIO);
  const auto made = snapshots.create(source, "data", day_1, true);
  BOOST_TEST(sync.happened());
  BOOST_TEST(problem(made) == "syncing the filesystem of " + base + ": Input/output error");
  BOOST_TEST(snapshots.list("data")->empty());
}

BOOST_AUTO_TEST_CASE(a_snapshot_whose_identity_is_unknown_is_no_snapshot) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::string source = testing::make_subvolume(loop.directory() / "data");
  const snapshot_manager snapshots(loop.directory());
  const failing_call info(call::ioctl, EIO, BTRFS_IOC_GET_SUBVOL_INFO, 1);
  const auto made = snapshots.create(source, "data", day_1, true);
  BOOST_TEST(info.happened());
  BOOST_TEST(problem(made) == snapshots.path_of("data__" + day_1 + "__full") +
                                  ": BTRFS_IOC_GET_SUBVOL_INFO: Input/output error");
  BOOST_TEST(snapshots.list("data")->empty());
}

BOOST_AUTO_TEST_CASE(a_snapshot_that_stays_writable_is_no_snapshot) {
  BTS3_LOOP_FILESYSTEM(loop);
  const auto source = testing::make_subvolume(loop.directory() / "data");
  const snapshot_manager snapshots(loop.directory());
  auto original = snapshots.create(source, "data", day_1, true);
  BOOST_REQUIRE(original.has_value());
  const std::filesystem::path into = loop.directory() / "copies";
  std::filesystem::create_directory(into);
  const std::string stream = into / "stream";
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "send", "-q", "-f", stream, original->path}));
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "receive", "-q", "-f", stream, into}));
  const failing_call flags(call::ioctl, EPERM, BTRFS_IOC_SUBVOL_SETFLAGS);
  const auto made = snapshots.create(into / original->name, "copy", day_1, true);
  BOOST_TEST(flags.happened());
  BOOST_TEST(problem(made) == "making " + snapshots.path_of("copy__" + day_1 + "__full") +
                                  " read-only: Operation not permitted");
  BOOST_TEST(snapshots.list("copy")->empty());
}

BOOST_AUTO_TEST_CASE(a_directory_that_cannot_be_read_to_its_end_gives_no_list) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::string source = testing::make_subvolume(loop.directory() / "data");
  const std::string base = loop.directory();
  const snapshot_manager snapshots(base);
  BOOST_REQUIRE(snapshots.create(source, "data", day_1, true).has_value());
  const failing_call reading(call::readdir, EIO, 0, 3);
  const auto listed = snapshots.list("data");
  BOOST_TEST(reading.happened());
  BOOST_TEST(problem(listed) ==
             shown(setting::snapshot_directory) + " " + base + ": Input/output error");
}

BOOST_AUTO_TEST_CASE(questions_that_the_kernel_does_not_answer_are_errors) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::string path = loop.directory();
  {
    const failing_call statfs(call::fstatfs, EIO);
    BOOST_TEST(problem(inspect_subvolume(path)) == path + ": Input/output error");
    BOOST_TEST(statfs.happened());
  }
  {
    // As before Linux 4.18.
    const failing_call info(call::ioctl, ENOTTY, BTRFS_IOC_GET_SUBVOL_INFO);
    BOOST_TEST(problem(inspect_subvolume(path)) ==
               path + ": BTRFS_IOC_GET_SUBVOL_INFO: Inappropriate ioctl for device");
    BOOST_TEST(info.happened());
  }
  {
    const failing_call id(call::ioctl, EIO, BTRFS_IOC_FS_INFO);
    BOOST_TEST(problem(filesystem_id(path)) == path + ": BTRFS_IOC_FS_INFO: Input/output error");
    BOOST_TEST(id.happened());
  }
}

BOOST_AUTO_TEST_CASE(a_nested_subvolume_deleted_meanwhile_is_left_out_and_other_failures_are_told) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::filesystem::path outer = testing::make_subvolume(loop.directory() / "outer");
  testing::make_subvolume(outer / "first");
  testing::make_subvolume(outer / "second");
  {
    const failing_call gone(call::ioctl, ENOENT, BTRFS_IOC_INO_LOOKUP_USER);
    const auto nested = nested_subvolumes(outer);
    BOOST_TEST(gone.happened());
    BOOST_REQUIRE_MESSAGE(nested.has_value(), problem(nested));
    const std::vector<std::string> expected = {"second"};
    BOOST_TEST(*nested == expected, boost::test_tools::per_element());
  }
  const failing_call broken(call::ioctl, EIO, BTRFS_IOC_INO_LOOKUP_USER);
  BOOST_TEST(problem(nested_subvolumes(outer)) ==
             outer.string() + ": BTRFS_IOC_INO_LOOKUP_USER: Input/output error");
  BOOST_TEST(broken.happened());
}

BOOST_AUTO_TEST_SUITE_END()
