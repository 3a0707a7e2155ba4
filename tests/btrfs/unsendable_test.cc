// Real files that cannot be read, and paths that are too long.
#include "btrfs/unsendable.hh"

#include "tests/btrfs/loop_filesystem.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

using namespace bts3::btrfs;
namespace fs = std::filesystem;

namespace {

const std::atomic<bool> go_on{false};

std::uint64_t inode_of(const fs::path& path) {
  struct stat what{};
  BOOST_REQUIRE(::stat(path.c_str(), &what) == 0);
  return what.st_ino;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(unsendable_suite)

BOOST_AUTO_TEST_CASE(paths_longer_than_a_stream_takes_are_found_and_no_others) {
  char name[] = "/tmp/bts3-long-XXXXXX";
  BOOST_REQUIRE(::mkdtemp(name) != nullptr);
  const std::string root = name;
  int at = ::open(root.c_str(), O_RDONLY | O_DIRECTORY);
  const std::string step(255, 'd');
  std::string path;
  for (int i = 0; i < 15; ++i) {  // 15 * 256 - 1 = 3839
    BOOST_REQUIRE(::mkdirat(at, step.c_str(), 0700) == 0);
    const int next = ::openat(at, step.c_str(), O_RDONLY | O_DIRECTORY);
    ::close(at);
    at = next;
    path += (path.empty() ? "" : "/") + step;
  }
  for (const std::size_t last : {255U, 254U}) {  // 4095 is sent, and what is in it is not
    BOOST_REQUIRE(::mkdirat(at, std::string(last, 'e').c_str(), 0700) == 0);
  }
  const int deepest = ::openat(at, std::string(255, 'e').c_str(), O_RDONLY | O_DIRECTORY);
  BOOST_REQUIRE(::mkdirat(deepest, "f", 0700) == 0);
  ::close(deepest);
  ::close(at);
  const auto found = find_long_paths(root, go_on);
  BOOST_REQUIRE(found.size() == 1U);
  BOOST_TEST(found[0].path == path + "/" + std::string(255, 'e') + "/f");
  BOOST_TEST(is_unsendable(root, found[0].path, go_on));
  BOOST_TEST(!is_unsendable("/proc/self", found[0].path, go_on));
  fs::remove_all(root);
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_read_is_found_in_the_order_of_sending) {
  BTS3_LOOP_FILESYSTEM(filesystem);
  const fs::path subvolume = bts3::btrfs::testing::make_subvolume(filesystem.directory() / "s");
  bts3::btrfs::testing::write_file(subvolume / "a", "good");
  fs::create_directory(subvolume / "d");
  // Found in the image by its content, and changed there, so that its checksum is wrong.
  const std::string content = "what the disk has lost, " + std::string(5000, 'x');
  bts3::btrfs::testing::write_file(subvolume / "d/b", content);
  bts3::btrfs::testing::write_file(subvolume / "c", "good as well");
  BOOST_TEST(find_unreadable(subvolume, "", UINT64_MAX, go_on).empty());
  ::sync();
  fs::path image;
  for (const auto& one : fs::directory_iterator(filesystem.base())) {
    image = one.is_regular_file() ? one.path() : image;
  }
  BOOST_REQUIRE(!image.empty());
  const std::string all = bts3::btrfs::testing::read_file(image);
  std::size_t places = 0;
  {
    std::fstream disk(image, std::ios::in | std::ios::out | std::ios::binary);
    for (std::size_t at = all.find(content.substr(0, 24)); at != std::string::npos;
         at = all.find(content.substr(0, 24), at + 1)) {
      disk.seekp(static_cast<std::streamoff>(at));
      disk << "X";
      ++places;
    }
  }
  BOOST_REQUIRE(places > 0U);
  // Nothing of it is in memory any more.
  const int file = ::open((subvolume / "d/b").c_str(), O_RDONLY);
  ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  ::close(file);
  std::ofstream("/proc/sys/vm/drop_caches") << "1";
  const auto found = find_unreadable(subvolume, "a", UINT64_MAX, go_on);
  BOOST_REQUIRE(found.size() == 1U);
  BOOST_TEST(found[0].path == "d/b");
  BOOST_TEST(found[0].inode == inode_of(subvolume / "d/b"));
  BOOST_TEST(found[0].problem == "Input/output error at byte 0");
  BOOST_TEST(is_unsendable(subvolume, "d/b", go_on));
  BOOST_TEST(!is_unsendable(subvolume, "c", go_on));
  BOOST_TEST(!is_unsendable(subvolume, "gone", go_on));
  // Behind it there is nothing.
  BOOST_TEST(find_unreadable(subvolume, "c", UINT64_MAX, go_on).empty());
}

BOOST_AUTO_TEST_SUITE_END()
