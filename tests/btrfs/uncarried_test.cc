// Attributes that a stream does not carry, and that it really does not.
#include "btrfs/uncarried.hh"

#include "tests/btrfs/loop_filesystem.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <linux/fsverity.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

using namespace bts3::btrfs;
using bts3::btrfs::testing::make_subvolume;
using bts3::btrfs::testing::run_quietly;
using bts3::btrfs::testing::write_file;
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t all = UINT64_MAX;

std::string told(const uncarried_report& found) {
  std::string text = std::to_string(found.count);
  for (const uncarried_file& one : found.examples) {
    text += " " + one.path + "=" + one.attributes;
  }
  return text + (found.whole ? "" : " and more");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(uncarried_suite)

BOOST_AUTO_TEST_CASE(attributes_that_a_stream_does_not_carry_are_found_with_examples) {
  BTS3_LOOP_FILESYSTEM(filesystem);
  const fs::path data = make_subvolume(filesystem.directory() / "data");
  write_file(data / "plain", "text");
  fs::create_directories(data / "logs/journal");
  write_file(data / "logs/audit", "text");
  write_file(data / "fixed", "text");
  write_file(data / "swapfile", "");
  BOOST_REQUIRE(run_quietly({"btrfs", "property", "set", data / "plain", "compression", "zstd"}));
  BOOST_TEST(told(find_uncarried(data, 3, all).value()) == "0");
  BOOST_REQUIRE(run_quietly({"chattr", "+C", data / "logs/journal"}));
  BOOST_REQUIRE(run_quietly({"chattr", "+C", data / "swapfile"}));
  BOOST_REQUIRE(run_quietly({"chattr", "+a", data / "logs/audit"}));
  BOOST_REQUIRE(run_quietly({"chattr", "+iA", data / "fixed"}));
  ::sync();
  BOOST_TEST(told(find_uncarried(data, 9, all).value()) ==
             "4 logs/journal=+C logs/audit=+a fixed=+Ai swapfile=+C");
  BOOST_TEST(told(find_uncarried(data, 2, all).value()) == "4 logs/journal=+C logs/audit=+a");
  BOOST_TEST(told(find_uncarried(data, 9, 2).value()) == "0 and more");

  // They are really lost.
  const fs::path snapshot = filesystem.directory() / "snapshot";
  BOOST_REQUIRE(run_quietly({"btrfs", "subvolume", "snapshot", "-r", data, snapshot}));
  const fs::path stream = filesystem.base() / "stream";
  BOOST_REQUIRE(run_quietly({"btrfs", "send", "-q", "-f", stream, snapshot}));
  const fs::path received = filesystem.directory() / "received";
  fs::create_directory(received);
  BOOST_REQUIRE(run_quietly({"btrfs", "receive", "-f", stream, received}));
  BOOST_TEST(told(find_uncarried(snapshot, 0, all).value()) == "4");
  BOOST_TEST(told(find_uncarried(received / "snapshot", 9, all).value()) == "0");
}

BOOST_AUTO_TEST_CASE(verity_is_found_where_the_kernel_has_it) {
  BTS3_LOOP_FILESYSTEM(filesystem);
  const fs::path data = make_subvolume(filesystem.directory() / "data");
  write_file(data / "sealed", std::string(10'000, 's'));
  const int file = ::open((data / "sealed").c_str(), O_RDONLY);
  fsverity_enable_arg how{};
  how.version = 1;
  how.hash_algorithm = FS_VERITY_HASH_ALG_SHA256;
  how.block_size = 4096;
  const bool sealed = ::ioctl(file, FS_IOC_ENABLE_VERITY, &how) == 0;
  const int problem = errno;
  ::close(file);
  if (!sealed) {
    BOOST_REQUIRE((problem == EOPNOTSUPP || problem == ENOTTY));
    std::cout << "skipped: this kernel has no fs-verity\n";
    return;
  }
  ::sync();
  BOOST_TEST(told(find_uncarried(data, 9, all).value()) == "1 sealed=verity");
}

BOOST_AUTO_TEST_CASE(what_is_no_subvolume_is_named) {
  const auto gone = find_uncarried("/proc", 3, all);
  BOOST_REQUIRE(!gone);
  BOOST_TEST(gone.error().text().find("/proc") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
