// What a stream is expected to hold, against what real files are made of and what is really sent.
#include "btrfs/size_estimate.hh"

#include "tests/btrfs/loop_filesystem.hh"

#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <utility>

using namespace bts3::btrfs;
using bts3::btrfs::testing::make_subvolume;
using bts3::btrfs::testing::run_quietly;
using bts3::btrfs::testing::write_file;
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
const std::atomic<bool> go_on{false};

std::string noise(std::size_t bytes) {
  static std::mt19937_64 random(17);
  std::string text(bytes, '\0');
  for (char& one : text) {
    one = static_cast<char>(random());
  }
  return text;
}

// What compresses to a thirtieth.
std::string words(std::size_t bytes) {
  return std::string(bytes, 'w');
}

size_estimate estimated(const fs::path& subvolume, const fs::path& parent, bool compressed) {
  estimate_request request{subvolume, {}, compressed};
  if (!parent.empty()) {
    request.parent = inspect_subvolume(parent).value();
  }
  return estimate_stream(request, go_on).value();
}

std::uint64_t sent(const bts3::btrfs::testing::loop_filesystem& filesystem,
                   const fs::path& snapshot, const fs::path& parent, bool compressed) {
  const fs::path file = filesystem.base() / "stream";
  std::vector<std::string> argv = {"btrfs", "send", "-q", "-f", file};
  if (compressed) {
    argv.insert(argv.end(), {"--proto", "2", "--compressed-data"});
  }
  if (!parent.empty()) {
    argv.insert(argv.end(), {"-p", parent});
  }
  argv.push_back(snapshot);
  BOOST_REQUIRE(run_quietly(argv));
  return fs::file_size(file);
}

fs::path snapshot_of(const fs::path& subvolume, const fs::path& at) {
  ::sync();
  BOOST_REQUIRE(run_quietly({"btrfs", "subvolume", "snapshot", "-r", subvolume, at}));
  return at;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(size_estimate_suite)

BOOST_AUTO_TEST_CASE(a_full_counts_its_data_and_an_incremental_what_came_to_it) {
  BTS3_LOOP_FILESYSTEM(filesystem);
  const fs::path data = make_subvolume(filesystem.directory() / "data");
  write_file(data / "first", noise(5 * mib));
  write_file(data / "small", noise(100));
  const size_estimate full = estimated(data, {}, false);
  BOOST_TEST(full.bytes == 5 * mib + 100);
  BOOST_TEST(!full.at_least);
  const fs::path before = snapshot_of(data, filesystem.directory() / "before");
  BOOST_TEST(estimated(data, before, false).bytes == 0U);
  write_file(data / "second", noise(3 * mib + 1));
  BOOST_REQUIRE(run_quietly({"fallocate", "-l", "64M", data / "reserved"}));
  const size_estimate later = estimated(data, before, false);
  BOOST_TEST(later.bytes == 3 * mib + 1);
  BOOST_TEST(later.at_least);
}

BOOST_AUTO_TEST_CASE(what_is_moved_here_from_another_subvolume_counts) {
  BTS3_LOOP_FILESYSTEM(filesystem);
  const fs::path data = make_subvolume(filesystem.directory() / "data");
  const fs::path other = make_subvolume(filesystem.directory() / "other");
  write_file(other / "film", noise(6 * mib));
  write_file(data / "own", noise(2 * mib));
  const fs::path before = snapshot_of(data, filesystem.directory() / "before");
  // As `mv` between subvolumes does it.
  BOOST_REQUIRE(run_quietly({"cp", "--reflink=always", other / "film", data / "film"}));
  fs::remove(other / "film");
  // Of what is here already, a copy costs nothing.
  BOOST_REQUIRE(run_quietly({"cp", "--reflink=always", data / "own", data / "own too"}));
  const size_estimate found = estimated(data, before, false);
  BOOST_TEST(found.bytes == 6 * mib);
  BOOST_TEST(found.at_least);
  const fs::path after = snapshot_of(data, filesystem.directory() / "after");
  const std::uint64_t stream = sent(filesystem, after, before, false);
  BOOST_TEST(stream >= found.bytes);
  BOOST_TEST(stream < found.bytes + mib / 2);
}

BOOST_AUTO_TEST_CASE(reflinks_of_compressed_files_count_once_and_as_they_are_sent) {
  BTS3_LOOP_FILESYSTEM(filesystem);
  const fs::path data = make_subvolume(filesystem.directory() / "data");
  BOOST_REQUIRE(run_quietly({"btrfs", "property", "set", data, "compression", "zstd"}));
  write_file(data / "text", words(16 * mib));
  ::sync();
  for (int i = 0; i < 5; ++i) {
    BOOST_REQUIRE(run_quietly(
        {"cp", "--reflink=always", data / "text", data / ("copy " + std::to_string(i))}));
  }
  BOOST_TEST(estimated(data, {}, false).bytes == 16 * mib);
  const size_estimate packed = estimated(data, {}, true);
  BOOST_TEST(packed.bytes < 2 * mib);
  const fs::path snapshot = snapshot_of(data, filesystem.directory() / "snapshot");
  const std::uint64_t stream = sent(filesystem, snapshot, {}, true);
  BOOST_TEST_MESSAGE("estimated " << packed.bytes << ", sent " << stream);
  BOOST_TEST(packed.bytes <= stream);
  BOOST_TEST(stream < packed.bytes * 2);
  // New compressed data in an incremental: the same.
  write_file(data / "more", words(8 * mib));
  ::sync();
  BOOST_REQUIRE(run_quietly({"cp", "--reflink=always", data / "more", data / "more too"}));
  const size_estimate more = estimated(data, snapshot, true);
  BOOST_TEST(more.bytes > 0U);
  BOOST_TEST(more.bytes < mib);
}

BOOST_AUTO_TEST_CASE(an_estimate_ends_when_it_is_told_to_and_names_what_cannot_be_read) {
  BTS3_LOOP_FILESYSTEM(filesystem);
  const fs::path data = make_subvolume(filesystem.directory() / "data");
  write_file(data / "file", "text");
  ::sync();
  const std::atomic<bool> stop{true};
  const auto stopped = estimate_stream(estimate_request{data, {}, false}, stop);
  BOOST_REQUIRE(!stopped);
  BOOST_TEST((stopped.error().what_now == bts3::engine::disposition::cancelled));
  const auto gone = estimate_stream(estimate_request{data / "gone", {}, false}, go_on);
  BOOST_REQUIRE(!gone);
  BOOST_TEST(gone.error().text().find("gone") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
