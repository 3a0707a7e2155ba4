#include "btrfs/subvolume.hh"

#include "btrfs/snapshot_manager.hh"

#include "tests/btrfs/loop_filesystem.hh"
#include "tests/support/as_nobody.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iostream>

using namespace bts3::btrfs;
using bts3::testing::as_nobody;
using bts3::testing::error_text;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

template <typename T>
std::string problem(const bts3::engine::result<T>& outcome) {
  return outcome ? std::string("accepted") : outcome.error().text();
}

// Subvolumes "000", "001" and so on in `directory`, without a process for each.
std::vector<std::string> make_many(const std::filesystem::path& directory, int count) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  BOOST_REQUIRE(fd >= 0);
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    const std::string number = std::to_string(i);
    names.push_back(std::string(3 - number.size(), '0') + number);
    btrfs_ioctl_vol_args arguments{};
    std::memcpy(arguments.name, names.back().c_str(), names.back().size() + 1);
    BOOST_REQUIRE(::ioctl(fd, BTRFS_IOC_SUBVOL_CREATE, &arguments) == 0);
  }
  ::close(fd);
  return names;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(subvolume_suite)

BOOST_AUTO_TEST_CASE(a_uuid_is_null_only_when_every_byte_is) {
  std::uint8_t raw[16] = {};
  BOOST_TEST(uuid().is_null());
  BOOST_TEST(uuid(raw).is_null());
  raw[15] = 1;
  BOOST_TEST(!uuid(raw).is_null());
  BOOST_TEST(uuid(raw).text() == "00000000-0000-0000-0000-000000000001");
  BOOST_TEST((uuid::parse(uuid(raw).text()) == uuid(raw)));
}

BOOST_AUTO_TEST_CASE(what_the_kernel_knows_of_a_subvolume_is_told) {
  BTS3_LOOP_FILESYSTEM(loop);
  const auto path = testing::make_subvolume(loop.directory() / "data");
  auto top = inspect_subvolume(loop.directory());
  auto data = inspect_subvolume(path);
  BOOST_REQUIRE_MESSAGE(top && data, error_text(top) + error_text(data));
  BOOST_TEST(top->id == 5u);  // BTRFS_FS_TREE_OBJECTID, the top level of any filesystem
  BOOST_TEST(top->name == "");
  BOOST_TEST(data->id > top->id);
  BOOST_TEST(data->name == "data");
  BOOST_TEST(!data->own_uuid.is_null());
  BOOST_TEST(data->parent_uuid.is_null());
  BOOST_TEST(data->received_uuid.is_null());
  BOOST_TEST(!data->read_only);
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "property", "set", path, "ro", "true"}));
  BOOST_TEST(inspect_subvolume(path)->read_only);
}

BOOST_AUTO_TEST_CASE(only_roots_of_subvolumes_are_subvolumes) {
  BTS3_LOOP_FILESYSTEM(loop);
  const auto path = testing::make_subvolume(loop.directory() / "data");
  const auto below = path / "folder";
  std::filesystem::create_directory(below);
  testing::write_file(path / "file", "");
  BOOST_TEST(is_subvolume(loop.directory()));
  BOOST_TEST(is_subvolume(path));
  BOOST_TEST(is_subvolume(path.string() + "/"));
  BOOST_TEST(!is_subvolume(below));
  BOOST_TEST(!is_subvolume(path / "file"));
  BOOST_TEST(!is_subvolume(path / "missing"));
  BOOST_TEST(!is_subvolume("/proc"));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_inspected_is_named_with_a_remedy) {
  BTS3_LOOP_FILESYSTEM(loop);
  const auto path = testing::make_subvolume(loop.directory() / "data");
  testing::write_file(path / "file", "");
  const std::string missing = problem(inspect_subvolume(path / "missing"));
  BOOST_TEST(missing.starts_with((path / "missing").string() + ": No such file"), missing);
  BOOST_TEST(has(missing, "; check that it is there, its filesystem mounted"), missing);
  BOOST_TEST(has(problem(inspect_subvolume(path / "file")), "Not a directory; check that"));
  const auto elsewhere = inspect_subvolume("/proc");
  BOOST_REQUIRE(!elsewhere);
  BOOST_TEST((elsewhere.error().why == bts3::engine::reason::configuration));
  BOOST_TEST(has(elsewhere.error().text(), "name a directory on Btrfs"));
}

BOOST_AUTO_TEST_CASE(a_filesystem_has_one_id_and_others_have_others) {
  BTS3_LOOP_FILESYSTEM(loop);
  const testing::loop_filesystem second;
  const auto path = testing::make_subvolume(loop.directory() / "data");
  auto top = filesystem_id(loop.directory());
  auto data = filesystem_id(path);
  auto other = filesystem_id(second.directory());
  BOOST_REQUIRE_MESSAGE(top && data && other, error_text(top) + error_text(other));
  BOOST_TEST((*top == *data));
  BOOST_TEST((*top != *other));
  BOOST_TEST(has(problem(filesystem_id("/proc")), "/proc is not on a Btrfs filesystem"));
  BOOST_TEST(has(problem(filesystem_id(path / "missing")), "No such file"));
}

// The kernel returns 255 at a time.
BOOST_AUTO_TEST_CASE(nested_subvolumes_are_all_named_however_many) {
  BTS3_LOOP_FILESYSTEM(loop);
  const auto outer = testing::make_subvolume(loop.directory() / "outer");
  std::vector<std::string> expected = make_many(outer, 255);
  auto nested = nested_subvolumes(outer);
  BOOST_REQUIRE_MESSAGE(nested.has_value(), error_text(nested));
  BOOST_TEST(*nested == expected, boost::test_tools::per_element());
  std::filesystem::create_directory(outer / "more");
  for (const std::string& name : make_many(outer / "more", 300)) {
    expected.push_back("more/" + name);
  }
  nested = nested_subvolumes(outer);
  BOOST_REQUIRE_MESSAGE(nested.has_value(), error_text(nested));
  BOOST_TEST(*nested == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(nested_subvolumes_are_named_whatever_their_names_and_the_mount) {
  BTS3_LOOP_FILESYSTEM(loop);
  const auto outer = testing::make_subvolume(loop.directory() / "outer");
  const std::string odd = "a b\n\"'\\\xc3\xa4";
  std::filesystem::create_directory(outer / odd);
  testing::make_subvolume(outer / odd / ("-" + odd));
  testing::make_subvolume(outer / std::string(255, 'n'));
  loop.remount_only("outer");
  auto nested = nested_subvolumes(loop.directory());
  BOOST_REQUIRE_MESSAGE(nested.has_value(), error_text(nested));
  const std::vector<std::string> expected = {odd + "/-" + odd, std::string(255, 'n')};
  BOOST_TEST(*nested == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(where_nested_subvolumes_cannot_be_listed_the_path_is_named) {
  BTS3_LOOP_FILESYSTEM(loop);
  const auto outer = testing::make_subvolume(loop.directory() / "outer");
  std::filesystem::create_directory(outer / "folder");
  testing::make_subvolume(outer / "folder" / "inner");
  BOOST_TEST(has(problem(nested_subvolumes(outer / "missing")), "missing: No such file"));
  BOOST_TEST(has(problem(nested_subvolumes("/proc")), "/proc: BTRFS_IOC_GET_SUBVOL_ROOTREF"));
  BOOST_REQUIRE(::chmod(loop.base().c_str(), 0755) == 0);
  std::string text;
  {
    const as_nobody nobody;
    text = problem(nested_subvolumes(outer));
  }
  BOOST_TEST(text ==
             outer.string() + ": BTRFS_IOC_INO_LOOKUP: Operation not permitted; this needs root");
}

BOOST_AUTO_TEST_SUITE_END()
