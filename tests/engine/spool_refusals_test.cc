// What a directory or a disk refuses of a spool, by real refusals: of ext4, full and broken disks,
// names that are taken.
#include "engine/spool.hh"

#include "tests/engine/loop_disk.hh"
#include "tests/engine/scratch_directory.hh"
#include "tests/engine/support.hh"
#include "tests/support/shown_setting.hh"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;

spool_options options_in(const std::string& directory, bool unnamed_file = true) {
  spool_options options;
  options.directory = directory;
  options.budget_bytes = 4 * mebibyte;
  options.part_bytes = 2 * mebibyte;
  options.unnamed_file = unnamed_file;
  return options;
}

void check_contains(const std::string& text, const std::string& part) {
  BOOST_TEST(text.find(part) != std::string::npos, "\"" << part << "\" is not in: " << text);
}

error refusal(spool_options options) {
  auto loop = make_reactor();
  recording_log log;
  auto made = spool::create(*loop, std::move(options), log);
  BOOST_REQUIRE(!made.has_value());
  return made.error();
}

// A directory that files may be made in and not removed from, while this lives.
class append_only {
 public:
  explicit append_only(const std::string& path)
      : _directory(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    BOOST_REQUIRE(::ioctl(_directory.get(), FS_IOC_GETFLAGS, &_before) == 0);
    int flags = _before | FS_APPEND_FL;
    _is = ::ioctl(_directory.get(), FS_IOC_SETFLAGS, &flags) == 0;
    BOOST_REQUIRE((_is || errno == EPERM));
  }
  ~append_only() { (void)::ioctl(_directory.get(), FS_IOC_SETFLAGS, &_before); }
  append_only(const append_only&) = delete;
  append_only& operator=(const append_only&) = delete;
  // Whether this process may do that (CAP_LINUX_IMMUTABLE).
  [[nodiscard]] bool is() const { return _is; }

 private:
  unique_fd _directory;
  int _before = 0;
  bool _is = false;
};

// Until not one block more fits.
void fill(const std::string& path) {
  const unique_fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  BOOST_REQUIRE(file.valid());
  const std::string block(mebibyte, 'x');
  for (std::size_t size = block.size(); size >= 512; size /= 2) {
    while (::write(file.get(), block.data(), size) > 0) {
    }
    BOOST_REQUIRE(errno == ENOSPC);
  }
  BOOST_REQUIRE(::fsync(file.get()) == 0);
}

struct reading_back {
  result<void> written;
  result<void> read;
};

// Writes one piece, lets `meanwhile` happen and reads it back.
task<reading_back> write_and_read(spool& disk, buffer_pool& pool, std::function<void()> meanwhile) {
  reading_back seen;
  auto lease = co_await disk.acquire();
  BOOST_REQUIRE_MESSAGE(lease.has_value(), bts3::testing::error_text(lease));
  auto slot = co_await pool.acquire();
  BOOST_REQUIRE(slot.has_value());
  std::fill(slot->bytes().begin(), slot->bytes().end(), std::byte{0x5a});
  auto writing = disk.write(*lease, pool, *slot, mebibyte, 0);
  seen.written = co_await std::move(writing);
  meanwhile();
  std::fill(slot->bytes().begin(), slot->bytes().end(), std::byte{0});
  auto reading = disk.read(*lease, pool, *slot, 0, mebibyte, 0);
  seen.read = co_await std::move(reading);
  if (seen.read) {
    BOOST_TEST(static_cast<std::size_t>(std::count(slot->bytes().begin(), slot->bytes().end(),
                                                   std::byte{0x5a})) == mebibyte);
  }
  co_return seen;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(spool_refusals)

// Files can be made there, but nothing goes again.
BOOST_AUTO_TEST_CASE(a_directory_that_keeps_every_name_is_used_without_names_or_refused) {
  BTS3_LOOP_DISK(small, "ext4", 32 * mebibyte);
  const std::string left = small.directory() / ".btrfs_to_s3-spool.4711.0";
  std::ofstream(left) << "left";
  const append_only kept(small.directory());
  if (!kept.is()) {
    std::cout << "skipped: chattr +a is not allowed here\n";
    return;
  }
  {
    auto loop = make_reactor();
    recording_log log;
    const auto made = spool::create(*loop, options_in(small.directory()), log);
    BOOST_REQUIRE_MESSAGE(made.has_value(), bts3::testing::error_text(made));
    // What a crashed run left costs space, and is named: nothing else is wrong.
    BOOST_TEST(log.events == std::vector<std::string>{"spool_leftover_not_removed"},
               boost::test_tools::per_element());
    BOOST_TEST(std::filesystem::exists(left));
  }
  const error named = refusal(options_in(small.directory(), false));
  BOOST_TEST((named.why == reason::configuration));
  BOOST_TEST(named.message ==
             "making a spool file in " + small.directory().string() + ": Operation not permitted");
  check_contains(named.remedy, bts3::testing::shown(setting::spool_directory) +
                                   " must name a writable directory");
}

BOOST_AUTO_TEST_CASE(names_that_are_all_taken_are_an_error) {
  const scratch_directory here;
  const std::string taken = here.path() + "/.btrfs_to_s3-spool." + std::to_string(::getpid()) + ".";
  for (int number = 0; number < 100; ++number) {
    std::filesystem::create_directory(taken + std::to_string(number));  // not ours to remove
  }
  const error refused = refusal(options_in(here.path(), false));
  BOOST_TEST(refused.message == "making a spool file in " + here.path() + ": File exists");
  std::filesystem::remove(taken + "99");
  auto loop = make_reactor();
  recording_log log;
  BOOST_TEST(spool::create(*loop, options_in(here.path(), false), log).has_value());
  BOOST_TEST(here.files() == 99U);
}

BOOST_AUTO_TEST_CASE(a_disk_without_room_for_one_block_says_what_to_do) {
  BTS3_LOOP_DISK(small, "ext4", 32 * mebibyte);
  fill(small.directory() / "filler");
  for (const bool direct : {true, false}) {
    spool_options options = options_in(small.directory());
    options.direct = direct;
    const error full = refusal(options);
    BOOST_TEST(full.code == "ENOSPC");
    BOOST_TEST((full.what_now == disposition::fail));
    BOOST_TEST(full.message.starts_with("the spool in " + small.directory().string() + ": "),
               full.message);
    check_contains(full.remedy,
                   "free space there, lower " + bts3::testing::shown(setting::spool_size));
  }
}

// ext4 with data in its journal writes around no cache, and takes O_DIRECT all the same.
BOOST_AUTO_TEST_CASE(a_filesystem_that_journals_data_is_used_buffered) {
  BTS3_LOOP_DISK(small, "ext4", 64 * mebibyte, "data=journal");
  auto loop = make_reactor();
  recording_log log;
  buffer_pool pool(*loop, mebibyte, 1, log);
  const auto disk = spool::create(*loop, options_in(small.directory()), log);
  BOOST_REQUIRE_MESSAGE(disk.has_value(), bts3::testing::error_text(disk));
  BOOST_TEST(!(*disk)->direct());
  BOOST_TEST(log.events == std::vector<std::string>{"spool_buffered"},
             boost::test_tools::per_element());
  const reading_back seen = loop->run(write_and_read(**disk, pool, [] {}));
  BOOST_TEST(seen.written.has_value(), bts3::testing::error_text(seen.written));
  BOOST_TEST(seen.read.has_value(), bts3::testing::error_text(seen.read));
}

BOOST_AUTO_TEST_CASE(a_file_that_was_cut_short_is_an_error_and_no_endless_reading) {
  const scratch_directory here;
  auto loop = make_reactor();
  recording_log log;
  buffer_pool pool(*loop, mebibyte, 1, log);
  const auto disk = spool::create(*loop, options_in(here.path()), log);
  BOOST_REQUIRE_MESSAGE(disk.has_value(), bts3::testing::error_text(disk));
  const reading_back seen = loop->run(write_and_read(
      **disk, pool, [&disk] { BOOST_REQUIRE(::ftruncate((*disk)->descriptor(), 8192) == 0); }));
  BOOST_TEST(seen.written.has_value());
  BOOST_REQUIRE(!seen.read);
  BOOST_TEST(seen.read.error().message == "the spool in " + here.path() +
                                              ": the file ends before the part does: "
                                              "Input/output error");
  check_contains(seen.read.error().remedy, "the disk may be failing");
}

// Buffered, a write succeeds in memory: what counts is whether the disk took it.
BOOST_AUTO_TEST_CASE(a_disk_that_takes_nothing_is_noticed_by_the_piece_that_was_for_it) {
  BTS3_LOOP_DISK(small, "ext4", 64 * mebibyte);
  auto loop = make_reactor();
  recording_log log;
  buffer_pool pool(*loop, mebibyte, 1, log);
  spool_options options = options_in(small.directory());
  options.direct = false;
  const auto disk = spool::create(*loop, options, log);
  BOOST_REQUIRE_MESSAGE(disk.has_value(), bts3::testing::error_text(disk));
  BOOST_TEST(loop->run(write_and_read(**disk, pool, [] {})).written.has_value());
  small.break_off();
  const reading_back seen = loop->run(write_and_read(**disk, pool, [] {}));
  BOOST_REQUIRE(!seen.written);
  BOOST_TEST(seen.written.error().code == "EIO");
  check_contains(seen.written.error().message, "the spool in " + small.directory().string());
  check_contains(seen.written.error().remedy, "look at the kernel's log");
}

BOOST_AUTO_TEST_SUITE_END()
