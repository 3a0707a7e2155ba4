// What the spool's file is: made, written and read back, gone.
#include "engine/spool.hh"

#include "tests/engine/loop_disk.hh"
#include "tests/engine/scratch_directory.hh"
#include "tests/engine/spool_scene.hh"
#include "tests/support/shown_setting.hh"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

// Whether direct I/O works where scratch directories are; that it does on ext4 has its own test.
bool direct_here() {
  static const bool direct = [] {
    const scratch_directory here;
    auto loop = make_reactor();
    recording_log log;
    const bool made =
        make_spool(*loop, options_for(here.path(), mebibyte, mebibyte), log)->direct();
    if (!made) {
      std::cout << "no direct I/O in " << here.path() << ": tested buffered\n";
    }
    return made;
  }();
  return direct;
}

// Pages of the spool's file that are in the page cache.
std::size_t cached_pages(const spool& disk, std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, disk.descriptor(), 0);
  BOOST_REQUIRE(memory != MAP_FAILED);
  std::vector<unsigned char> resident(bytes / static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
  BOOST_REQUIRE(::mincore(memory, bytes, resident.data()) == 0);
  ::munmap(memory, bytes);
  return static_cast<std::size_t>(
      std::count_if(resident.begin(), resident.end(), [](unsigned char page) { return page & 1; }));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(spool_suite)

BOOST_AUTO_TEST_CASE(parts_come_back_as_they_were_written) {
  const scratch_directory here;
  check_round_trip(here.path(), 3 * mebibyte, 3 * mebibyte, direct_here());
}

BOOST_AUTO_TEST_CASE(a_short_part_of_any_length_comes_back) {
  const scratch_directory here;
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{4095}, std::size_t{4096},
                                  std::size_t{4097}, mebibyte, mebibyte + 1, 3 * mebibyte - 1}) {
    check_round_trip(here.path(), 3 * mebibyte, bytes, direct_here());
  }
}

BOOST_AUTO_TEST_CASE(a_part_size_of_no_whole_blocks_is_rounded_up_on_the_disk) {
  const scratch_directory here;
  const std::size_t part = 2 * mebibyte + 64;
  check_round_trip(here.path(), part, part, direct_here());
  auto loop = make_reactor();
  recording_log log;
  // Four parts' bytes, but not four parts' blocks.
  BOOST_TEST(make_spool(*loop, options_for(here.path(), 4 * part, part), log)->parts() == 3U);
}

BOOST_AUTO_TEST_CASE(the_budget_is_what_the_disk_gives_at_most) {
  const scratch_directory here;
  auto loop = make_reactor();
  recording_log log;
  buffer_pool pool(*loop, mebibyte, 1, log);
  const auto disk = make_spool(*loop, options_for(here.path(), 5 * mebibyte - 1, mebibyte), log);
  BOOST_TEST(disk->parts() == 4U);
  struct stat before{};
  BOOST_REQUIRE(::fstat(disk->descriptor(), &before) == 0);
  // Nothing is allocated before it is needed.
  BOOST_TEST(static_cast<std::size_t>(before.st_blocks) * 512 < mebibyte);
  loop->run(fill_all(*disk, pool, mebibyte));
  struct stat info{};
  BOOST_REQUIRE(::fstat(disk->descriptor(), &info) == 0);
  BOOST_TEST(static_cast<std::size_t>(info.st_size) == 4 * mebibyte);
  BOOST_TEST(static_cast<std::size_t>(info.st_blocks) * 512 >= 4 * mebibyte);
  BOOST_TEST(static_cast<std::size_t>(info.st_blocks) * 512 < 5 * mebibyte);
}

BOOST_AUTO_TEST_CASE(what_cannot_work_is_refused_early_and_says_what_to_do) {
  const scratch_directory here;
  const error small = refusal(options_for(here.path(), mebibyte - 1, mebibyte));
  BOOST_TEST((small.why == reason::configuration));
  check_contains(small.message, bts3::testing::shown(setting::spool_size) + " (1048575)");
  check_contains(small.remedy, bts3::testing::shown(setting::part_size));

  // As where a disk is not mounted.
  const error missing = refusal(options_for(here.path() + "/none/at/all", 9 * mebibyte, mebibyte));
  BOOST_TEST((missing.why == reason::configuration));
  BOOST_TEST((missing.what_now == disposition::fail));
  check_contains(missing.message, here.path() + "/none/at/all");
  check_contains(missing.remedy, bts3::testing::shown(setting::spool_directory));

  std::ofstream(here.path() + "/file") << "no directory";
  const error file = refusal(options_for(here.path() + "/file", 9 * mebibyte, mebibyte));
  BOOST_TEST((file.why == reason::configuration));
  check_contains(file.message, here.path() + "/file");

  // /proc takes no files, whoever asks.
  const error proc = refusal(options_for("/proc/self", 9 * mebibyte, mebibyte));
  check_contains(proc.message, "/proc/self");
  BOOST_TEST(!proc.remedy.empty());
}

BOOST_AUTO_TEST_CASE(the_last_directory_of_the_path_is_made) {
  const scratch_directory here;
  auto loop = make_reactor();
  recording_log log;
  const auto made =
      make_spool(*loop, options_for(here.path() + "/spool", 9 * mebibyte, mebibyte), log);
  struct stat entry{};
  BOOST_REQUIRE(::stat((here.path() + "/spool").c_str(), &entry) == 0);
  BOOST_TEST((entry.st_mode & 07777) == 0700u);
}

BOOST_AUTO_TEST_CASE(a_directory_that_is_not_writable_is_refused) {
  if (::geteuid() == 0) {
    // Root writes everywhere: another user tries, in a child.
    const scratch_directory here;
    BOOST_REQUIRE(::chmod(here.path().c_str(), 0555) == 0);
    const pid_t child = ::fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
      if (::setresuid(65534, 65534, 65534) != 0) {
        ::_exit(9);
      }
      auto loop = reactor::create();
      if (!loop) {
        ::_exit(8);
      }
      recording_log log;
      const auto made =
          spool::create(**loop, options_for(here.path(), 9 * mebibyte, mebibyte), log);
      const bool right = !made.has_value() && made.error().why == reason::configuration &&
                         made.error().message.find(here.path()) != std::string::npos;
      ::_exit(right ? 0 : 1);
    }
    int status = 0;
    BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
    BOOST_REQUIRE(WIFEXITED(status));
    BOOST_TEST(WEXITSTATUS(status) == 0);
    return;
  }
  const scratch_directory here;
  BOOST_REQUIRE(::chmod(here.path().c_str(), 0555) == 0);
  const error refused = refusal(options_for(here.path(), 9 * mebibyte, mebibyte));
  BOOST_TEST((refused.why == reason::configuration));
  check_contains(refused.message, here.path());
}

BOOST_AUTO_TEST_CASE(a_filesystem_in_memory_is_used_buffered_and_said_so_once) {
  struct statfs info{};
  constexpr long tmpfs_magic = 0x01021994;  // linux/magic.h
  if (::statfs("/dev/shm", &info) != 0 || info.f_type != tmpfs_magic) {
    std::cout << "skipped: /dev/shm is no tmpfs\n";
    return;
  }
  const scratch_directory here("/dev/shm");
  check_round_trip(here.path(), 3 * mebibyte, 3 * mebibyte - 7, false);
}

BOOST_AUTO_TEST_CASE(the_page_cache_does_not_fill) {
  BTS3_LOOP_DISK(small, "ext4", 64 * mebibyte);
  for (const bool direct : {true, false}) {
    auto loop = make_reactor();
    recording_log log;
    buffer_pool pool(*loop, mebibyte, 1, log);
    auto options = options_for(small.directory(), 8 * mebibyte, 4 * mebibyte);
    options.direct = direct;
    const auto disk = make_spool(*loop, options, log);
    BOOST_TEST(disk->direct() == direct);
    loop->run(fill_all(*disk, pool, 4 * mebibyte));
    BOOST_TEST(cached_pages(*disk, 8 * mebibyte) == 0U);
  }
}

BOOST_AUTO_TEST_CASE(no_file_is_seen_and_none_is_left) {
  const scratch_directory here;
  auto loop = make_reactor();
  recording_log log;
  const std::size_t open_before = open_descriptors();
  for (const bool unnamed : {true, false}) {
    auto options = options_for(here.path(), 2 * mebibyte, mebibyte);
    options.unnamed_file = unnamed;
    const auto disk = make_spool(*loop, options, log);
    BOOST_TEST(here.files() == 0U);
  }
  BOOST_TEST(open_descriptors() == open_before);
}

BOOST_AUTO_TEST_CASE(what_a_crashed_run_left_is_removed_and_nothing_else) {
  const scratch_directory here;
  std::ofstream(here.path() + "/.btrfs_to_s3-spool.4711.0") << "left";
  std::ofstream(here.path() + "/.btrfs_to_s3-spool.4711.1") << "left";
  std::ofstream(here.path() + "/btrfs_to_s3-spool.4711.0") << "somebody's";
  std::filesystem::create_directory(here.path() + "/.btrfs_to_s3-spool.d");
  auto loop = make_reactor();
  recording_log log;
  make_spool(*loop, options_for(here.path(), 2 * mebibyte, mebibyte), log);
  BOOST_TEST(!std::filesystem::exists(here.path() + "/.btrfs_to_s3-spool.4711.0"));
  BOOST_TEST(!std::filesystem::exists(here.path() + "/.btrfs_to_s3-spool.4711.1"));
  BOOST_TEST(here.files() == 2U);
  BOOST_TEST(std::count(log.events.begin(), log.events.end(), "spool_leftover_removed") == 2);
}

BOOST_AUTO_TEST_CASE(a_killed_run_leaves_no_file) {
  for (const bool unnamed : {true, false}) {
    const scratch_directory here;
    const pid_t child = ::fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
      auto loop = reactor::create();
      recording_log log;
      auto options = options_for(here.path(), 2 * mebibyte, mebibyte);
      options.unnamed_file = unnamed;
      if (loop) {
        const auto made = spool::create(**loop, options, log);
        if (made) {
          ::raise(SIGKILL);
        }
      }
      ::_exit(1);
    }
    int status = 0;
    BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
    BOOST_TEST((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    BOOST_TEST(here.files() == 0U);
  }
}

BOOST_AUTO_TEST_CASE(on_ext4_the_file_is_written_directly) {
  BTS3_LOOP_DISK(small, "ext4", 64 * mebibyte);
  check_round_trip(small.directory(), 3 * mebibyte, 3 * mebibyte - 100, true);
}

BOOST_AUTO_TEST_CASE(on_btrfs_the_file_is_written_in_place_and_directly) {
  BTS3_LOOP_DISK(small, "btrfs", 256 * mebibyte);
  check_round_trip(small.directory(), 3 * mebibyte, 3 * mebibyte - 100, true);
  auto loop = make_reactor();
  recording_log log;
  const auto disk = make_spool(*loop, options_for(small.directory(), mebibyte, mebibyte), log);
  int flags = 0;
  BOOST_REQUIRE(::ioctl(disk->descriptor(), FS_IOC_GETFLAGS, &flags) == 0);
  BOOST_TEST((flags & FS_NOCOW_FL) != 0);
}

BOOST_AUTO_TEST_SUITE_END()
