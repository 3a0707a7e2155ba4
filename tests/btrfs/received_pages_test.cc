#include "btrfs/received_pages.hh"

#include "btrfs/snapshot_manager.hh"

#include "tests/btrfs/loop_filesystem.hh"
#include "tests/support/no_threads.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <optional>
#include <vector>

using namespace bts3::btrfs;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

std::string content(std::size_t bytes) {
  std::string text(bytes, '\0');
  std::uint32_t state = 1;
  for (char& one : text) {
    state =
        state * 1664525 + 1013904223;  // Knuth's linear congruential generator: hard to compress
    one = static_cast<char>(state >> 24);
  }
  return text;
}

// Pages of a file that are in memory, by mincore(2). The kernel may take any clean one back at any
// time: only that pages are gone can be asserted, or that those are there which are in use.
std::size_t pages_in_memory(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  BOOST_REQUIRE(fd >= 0);
  const auto size = static_cast<std::size_t>(fs::file_size(path));
  void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  BOOST_REQUIRE(mapped != MAP_FAILED);
  std::vector<unsigned char> there((size + 4095) / 4096);
  BOOST_REQUIRE(::mincore(mapped, size, there.data()) == 0);
  ::munmap(mapped, size);
  return static_cast<std::size_t>(std::count_if(
      there.begin(), there.end(), [](unsigned char page) { return (page & 1) != 0; }));
}

// A stream of a tree with a large file, a few of 1 MiB, small ones and what is no file at all.
struct prepared {
  explicit prepared(const testing::loop_filesystem& loop)
      : into(loop.directory() / "received"), stream(loop.base() / "stream") {
    const fs::path source = testing::make_subvolume(loop.directory() / "data");
    fs::create_directories(source / "folder" / "below");
    BOOST_REQUIRE(::mkfifo((source / "fifo").c_str(), 0600) == 0);
    fs::create_symlink("/etc/passwd", source / "link");
    for (int i = 0; i < 5; ++i) {
      testing::write_file(source / "folder" / "below" / std::to_string(i), content(mib));
      testing::write_file(source / "folder" / ("small" + std::to_string(i)), "small");
    }
    testing::write_file(source / "large", content(40 * mib));
    // Its name is made after its file's, so that the stream has to move the file later.
    fs::create_directory(source / "late");
    fs::rename(source / "folder" / "below" / "4", source / "late" / "4");
    fs::create_directory(loop.directory() / "snapshots");
    auto made = create_snapshot(source, loop.directory() / "snapshots", "data", true);
    BOOST_REQUIRE_MESSAGE(made.has_value(), bts3::testing::error_text(made));
    BOOST_REQUIRE(testing::run_quietly(
        {"btrfs", "send", "-q", "-f", stream, loop.directory() / "snapshots" / "data"}));
    fs::create_directory(into);
  }
  void receive() const {
    BOOST_REQUIRE(testing::run_quietly({"btrfs", "receive", "-q", "-f", stream, into}));
    BOOST_REQUIRE(testing::run_quietly({"sync", "-f", into}));
  }
  fs::path into;
  fs::path stream;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(received_pages_suite)

BOOST_AUTO_TEST_CASE(what_was_received_leaves_the_memory_and_stays_on_disk) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared tree(loop);
  received_pages pages(tree.into, {});
  tree.receive();
  pages.finish();
  const fs::path received = tree.into / "data";
  BOOST_TEST(pages.bytes() == 45 * mib);
  for (const char* name : {"large", "folder/below/0", "folder/below/3", "late/4"}) {
    BOOST_TEST(pages_in_memory(received / name) == 0u, name);
  }
  BOOST_TEST((testing::read_file(received / "large") == content(40 * mib)));
  BOOST_TEST((testing::read_file(received / "late/4") == content(mib)));
}

BOOST_AUTO_TEST_CASE(a_large_file_leaves_the_memory_while_it_grows) {
  BTS3_LOOP_FILESYSTEM(loop);
  const fs::path into = loop.directory() / "received";
  fs::create_directory(into);
  received_pages pages(into, {});
  const fs::path subvolume = testing::make_subvolume(into / "data");
  testing::write_file(subvolume / "large", content(100 * mib));
  BOOST_REQUIRE(testing::run_quietly({"sync", "-f", into}));
  // The newest file: what lies beyond its last 32 MiB goes without finish().
  for (int i = 0; i < 3000 && pages.bytes() < 96 * mib; ++i) {
    ::usleep(10'000);
  }
  BOOST_TEST(pages.bytes() == 96 * mib);
  BOOST_TEST(pages_in_memory(subvolume / "large") <= 4 * mib / 4096);
}

// A slow disk has not written everything when its time comes, and pages in use cannot go either.
BOOST_AUTO_TEST_CASE(what_cannot_go_yet_is_let_go_of_later) {
  BTS3_LOOP_FILESYSTEM(loop);
  const fs::path into = loop.directory() / "received";
  fs::create_directory(into);
  const fs::path subvolume = testing::make_subvolume(into / "data");
  const fs::path large = subvolume / "large";
  testing::write_file(large, content(40 * mib));
  testing::write_file(subvolume / "next", content(mib));
  BOOST_REQUIRE(testing::run_quietly({"sync", "-f", into}));
  const int fd = ::open(large.c_str(), O_RDONLY | O_CLOEXEC);
  BOOST_REQUIRE(fd >= 0);
  // Not by mlock(2), which sanitizers turn into nothing.
  void* used = ::mmap(nullptr, mib, PROT_READ, MAP_SHARED | MAP_LOCKED, fd, mib);
  ::close(fd);
  BOOST_REQUIRE(used != MAP_FAILED);

  received_pages pages(into, {});
  const std::size_t in_use = mib / 4096;
  for (int i = 0; i < 3000 && pages_in_memory(large) > in_use; ++i) {
    ::usleep(10'000);
  }
  ::usleep(2'500'000);  // more than two attempts
  BOOST_TEST(pages_in_memory(large) == in_use);
  BOOST_TEST(pages.bytes() == 0u);
  ::munmap(used, mib);
  for (int i = 0; i < 3000 && pages.bytes() < 40 * mib; ++i) {
    ::usleep(10'000);
  }
  BOOST_TEST(pages.bytes() == 40 * mib);
  BOOST_TEST(pages_in_memory(large) == 0u);
}

// Among many small files most are passed over; the newest never is, nor what lies behind a large
// one.
BOOST_AUTO_TEST_CASE(large_files_behind_many_small_ones_are_found) {
  BTS3_LOOP_FILESYSTEM(loop);
  const fs::path into = loop.directory() / "received";
  fs::create_directory(into);
  const fs::path subvolume = testing::make_subvolume(into / "data");
  for (int i = 0; i < 500; ++i) {
    testing::write_file(subvolume / ("small" + std::to_string(i)), "small");
  }
  for (int i = 0; i < 40; ++i) {
    testing::write_file(subvolume / ("large" + std::to_string(i)), content(mib));
  }
  BOOST_REQUIRE(testing::run_quietly({"sync", "-f", into}));
  received_pages pages(into, {});
  pages.finish();
  BOOST_TEST(pages.bytes() >= 25 * mib);  // all but the 15 at most before the first that is met
  BOOST_TEST(pages_in_memory(subvolume / "large39") == 0u);
}

BOOST_AUTO_TEST_CASE(other_subvolumes_keep_their_pages) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared tree(loop);
  const fs::path other = testing::make_subvolume(tree.into / "before");
  testing::write_file(other / "file", content(2 * mib));
  received_pages pages(tree.into, {"before"});
  tree.receive();
  pages.finish();
  BOOST_TEST(pages.bytes() == 45 * mib);
  BOOST_TEST(pages_in_memory(tree.into / "data" / "large") == 0u);
}

BOOST_AUTO_TEST_CASE(a_receiver_that_never_begins_is_not_waited_for) {
  BTS3_LOOP_FILESYSTEM(loop);
  {
    const received_pages dropped(loop.directory() / "nowhere", {});
  }
  received_pages pages(loop.directory(), {});
  pages.finish();
  BOOST_TEST(pages.bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(without_a_thread_it_does_nothing) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared tree(loop);
  std::optional<received_pages> pages;
  {
    const bts3::testing::no_threads here;
    BOOST_CHECK_NO_THROW(pages.emplace(tree.into, std::vector<std::string>{}));
  }
  tree.receive();
  BOOST_REQUIRE(pages.has_value());
  pages->finish();
  BOOST_TEST(pages->bytes() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
