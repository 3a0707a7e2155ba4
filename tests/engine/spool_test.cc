#include "engine/spool.hh"
#include "engine/async_scope.hh"

#include "tests/engine/loop_disk.hh"
#include "tests/engine/scratch_directory.hh"
#include "tests/engine/support.hh"
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
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;

spool_options options_for(const std::string& directory, std::uint64_t budget, std::size_t part) {
  spool_options options;
  options.directory = directory;
  options.budget_bytes = budget;
  options.part_bytes = part;
  return options;
}

std::unique_ptr<spool> make_spool(reactor& loop, spool_options options, log_sink& log) {
  auto made = spool::create(loop, std::move(options), log);
  BOOST_REQUIRE_MESSAGE(made.has_value(), bts3::testing::error_text(made));
  return std::move(*made);
}

error refusal(spool_options options) {
  auto loop = make_reactor();
  recording_log log;
  auto made = spool::create(*loop, std::move(options), log);
  BOOST_REQUIRE(!made.has_value());
  return made.error();
}

void check_contains(const std::string& text, const std::string& part) {
  BOOST_TEST(text.find(part) != std::string::npos, "\"" << part << "\" is not in: " << text);
}

// A byte that tells part, offset and seed apart.
std::byte pattern(std::size_t at, unsigned seed) {
  return static_cast<std::byte>((at * 2654435761U + seed * 97U) >> 7);
}

task<result<void>> write_part(spool& disk, buffer_pool& pool, const spool_lease& part,
                              std::size_t bytes, unsigned seed) {
  auto slot = co_await pool.acquire();
  BOOST_REQUIRE(slot.has_value());
  for (std::size_t at = 0; at < bytes; at += pool.slot_bytes()) {
    const std::size_t length = std::min(pool.slot_bytes(), bytes - at);
    for (std::size_t i = 0; i < length; ++i) {
      slot->bytes()[i] = pattern(at + i, seed);
    }
    auto writing = disk.write(part, pool, *slot, length, at);
    auto written = co_await std::move(writing);
    if (!written) {
      co_return written;
    }
  }
  co_return ok();
}

// How many bytes differ from what write_part() wrote.
task<result<std::size_t>> differences(spool& disk, buffer_pool& pool, const spool_lease& part,
                                      std::size_t bytes, unsigned seed) {
  auto slot = co_await pool.acquire();
  BOOST_REQUIRE(slot.has_value());
  const std::size_t half = pool.slot_bytes() / 2;
  std::size_t wrong = 0;
  for (std::size_t at = 0; at < bytes; at += half) {
    const std::size_t length = std::min(half, bytes - at);
    auto reading = disk.read(part, pool, *slot, half, length, at);
    auto read = co_await std::move(reading);
    if (!read) {
      co_return std::move(read.error());
    }
    for (std::size_t i = 0; i < length; ++i) {
      wrong += slot->bytes()[half + i] != pattern(at + i, seed) ? 1 : 0;
    }
  }
  co_return wrong;
}

// Fills every region with a part of its own and reads all back, twice over.
task<void> fill_all(spool& disk, buffer_pool& pool, std::size_t bytes) {
  for (unsigned round = 0; round < 2; ++round) {
    std::vector<spool_lease> parts;
    while (disk.free_parts() > 0) {
      auto lease = co_await disk.acquire();
      BOOST_REQUIRE_MESSAGE(lease.has_value(), bts3::testing::error_text(lease));
      parts.push_back(std::move(*lease));
      const auto seed = static_cast<unsigned>(parts.size()) + round * 100;
      auto writing = write_part(disk, pool, parts.back(), bytes, seed);
      const auto written = co_await std::move(writing);
      BOOST_REQUIRE_MESSAGE(written.has_value(), bts3::testing::error_text(written));
    }
    BOOST_TEST(parts.size() == disk.parts());
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto seed = static_cast<unsigned>(i + 1) + round * 100;
      auto comparing = differences(disk, pool, parts[i], bytes, seed);
      const auto wrong = co_await std::move(comparing);
      BOOST_REQUIRE_MESSAGE(wrong.has_value(), bts3::testing::error_text(wrong));
      BOOST_TEST(*wrong == 0U);
    }
  }
}

void check_round_trip(const std::string& directory, std::size_t part_bytes, std::size_t bytes,
                      bool direct) {
  auto loop = make_reactor();
  recording_log log;
  buffer_pool pool(*loop, mebibyte, 2, log);
  const auto disk = make_spool(*loop, options_for(directory, 4 * 3 * mebibyte, part_bytes), log);
  BOOST_TEST(disk->direct() == direct);
  BOOST_TEST(log.events ==
                 (direct ? std::vector<std::string>{} : std::vector<std::string>{"spool_buffered"}),
             boost::test_tools::per_element());
  loop->run(fill_all(*disk, pool, bytes));
  BOOST_TEST(disk->free_parts() == disk->parts());
  BOOST_TEST(pool.free_slots() == 2U);
}

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

namespace {

task<void> hold_briefly(reactor& loop, spool& disk, int name, std::string& order) {
  auto lease = co_await disk.acquire();
  BOOST_REQUIRE_MESSAGE(lease.has_value(), bts3::testing::error_text(lease));
  order += std::to_string(name);
  co_await loop.yield();
}

task<std::string> contend(reactor& loop, spool& disk) {
  std::string order;
  async_scope scope(loop);
  for (int name = 0; name < 8; ++name) {
    scope.spawn(hold_briefly(loop, disk, name, order));
    if (name == 4) {
      co_await loop.yield();
    }
  }
  co_await scope.join();
  co_return order;
}

task<void> note_cancelled(spool& disk, stop_token stop, int& cancelled) {
  auto lease = co_await disk.acquire(stop);
  cancelled += !lease && lease.error().what_now == disposition::cancelled ? 1 : 0;
}

// One waits for a region, one for its turn, one is stopped before it asks.
task<int> stop_waiters(reactor& loop, spool& disk) {
  auto held = co_await disk.acquire();
  BOOST_REQUIRE(held.has_value());
  int cancelled = 0;
  stop_source stop;
  async_scope scope(loop);
  scope.spawn(note_cancelled(disk, stop.token(), cancelled));
  scope.spawn(note_cancelled(disk, stop.token(), cancelled));
  co_await loop.yield();
  stop.request_stop();
  scope.spawn(note_cancelled(disk, stop.token(), cancelled));
  co_await scope.join();
  held->release();
  auto again = co_await disk.acquire();
  BOOST_TEST(again.has_value());
  co_return cancelled;
}

// A stop while the region is being allocated or written: whatever comes of it, nothing is lost.
task<void> stop_at_work(reactor& loop, spool& disk, buffer_pool& pool) {
  stop_source early;
  async_scope scope(loop);
  int cancelled = 0;
  scope.spawn(note_cancelled(disk, early.token(), cancelled));
  early.request_stop();
  co_await scope.join();
  auto lease = co_await disk.acquire();
  BOOST_REQUIRE(lease.has_value());
  auto slot = co_await pool.acquire();
  BOOST_REQUIRE(slot.has_value());
  stop_source stop;
  stop.request_stop();
  auto writing = disk.write(*lease, pool, *slot, 4096, 0, stop.token());
  const auto written = co_await std::move(writing);
  BOOST_REQUIRE(!written.has_value());
  BOOST_TEST((written.error().what_now == disposition::cancelled));
  auto reading = disk.read(*lease, pool, *slot, 0, 4096, 0, stop.token());
  const auto read = co_await std::move(reading);
  BOOST_REQUIRE(!read.has_value());
  BOOST_TEST((read.error().what_now == disposition::cancelled));
}

task<void> wait_for_region(spool& disk, std::optional<spool_lease>& got) {
  auto lease = co_await disk.acquire();
  BOOST_REQUIRE_MESSAGE(lease.has_value(), bts3::testing::error_text(lease));
  got.emplace(std::move(*lease));
}

// Takes what the disk has room for; then one more, which must wait for the first to come back.
task<std::size_t> outgrow(reactor& loop, spool& disk) {
  std::vector<spool_lease> held;
  const std::size_t promised = disk.parts();
  while (disk.parts() == promised) {
    std::optional<spool_lease> got;
    async_scope scope(loop);
    scope.spawn(wait_for_region(disk, got));
    while (!got && disk.parts() == promised) {
      co_await loop.yield();
    }
    if (!got) {
      BOOST_REQUIRE(!held.empty());
      held.pop_back();
    }
    co_await scope.join();
    BOOST_REQUIRE(got.has_value());
    held.push_back(std::move(*got));
  }
  co_return held.size();
}

task<error> acquire_fails(spool& disk) {
  auto lease = co_await disk.acquire();
  BOOST_REQUIRE(!lease.has_value());
  co_return lease.error();
}

struct broken_disk {
  error write;
  error read;
};

task<broken_disk> use_broken(spool& disk, buffer_pool& pool, std::function<void()> break_it) {
  auto lease = co_await disk.acquire();
  BOOST_REQUIRE(lease.has_value());
  auto writing = write_part(disk, pool, *lease, 2 * mebibyte, 1);
  const auto written = co_await std::move(writing);
  BOOST_REQUIRE_MESSAGE(written.has_value(), bts3::testing::error_text(written));
  break_it();
  broken_disk seen;
  auto reading = differences(disk, pool, *lease, 2 * mebibyte, 1);
  const auto read = co_await std::move(reading);
  BOOST_REQUIRE(!read.has_value());
  seen.read = read.error();
  auto rewriting = write_part(disk, pool, *lease, 2 * mebibyte, 1);
  const auto rewritten = co_await std::move(rewriting);
  BOOST_REQUIRE(!rewritten.has_value());
  seen.write = rewritten.error();
  co_return seen;
}

void check_broken(const std::string& directory, const std::function<void(spool&)>& break_it) {
  auto loop = make_reactor();
  recording_log log;
  buffer_pool pool(*loop, mebibyte, 1, log);
  const auto disk = make_spool(*loop, options_for(directory, 4 * mebibyte, 2 * mebibyte), log);
  const broken_disk seen = loop->run(use_broken(*disk, pool, [&] { break_it(*disk); }));
  for (const error& failure : {seen.read, seen.write}) {
    BOOST_TEST((failure.why == reason::system));
    BOOST_TEST((failure.what_now == disposition::fail));
    BOOST_TEST(failure.code == "EIO");
    check_contains(failure.message, directory);
    check_contains(failure.remedy, "disk");
  }
  check_contains(seen.read.message, "read");
  check_contains(seen.write.message, "write");
  BOOST_TEST(disk->free_parts() == 2U);
  BOOST_TEST(pool.free_slots() == 1U);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_lease_that_is_moved_onto_another_gives_that_one_back) {
  const scratch_directory here;
  auto loop = make_reactor();
  recording_log log;
  const auto disk = make_spool(*loop, options_for(here.path(), 2 * mebibyte, mebibyte), log);
  std::optional<spool_lease> one;
  std::optional<spool_lease> two;
  loop->run(wait_for_region(*disk, one));
  loop->run(wait_for_region(*disk, two));
  BOOST_TEST(disk->free_parts() == 0U);
  *one = std::move(*two);
  BOOST_TEST((one->valid() && !two->valid()));
  BOOST_TEST(disk->free_parts() == 1U);
  spool_lease three(std::move(*one));
  BOOST_TEST(disk->free_parts() == 1U);
  three.release();
  three.release();
  BOOST_TEST(disk->free_parts() == 2U);
}

BOOST_AUTO_TEST_CASE(waiters_get_their_region_in_order) {
  const scratch_directory here;
  auto loop = make_reactor();
  recording_log log;
  const auto disk = make_spool(*loop, options_for(here.path(), 2 * mebibyte, mebibyte), log);
  BOOST_TEST(loop->run(contend(*loop, *disk)) == "01234567");
  BOOST_TEST(disk->free_parts() == 2U);
}

BOOST_AUTO_TEST_CASE(stopped_waiters_are_cancelled_and_no_region_is_lost) {
  const scratch_directory here;
  auto loop = make_reactor();
  recording_log log;
  const auto disk = make_spool(*loop, options_for(here.path(), mebibyte, mebibyte), log);
  BOOST_TEST(loop->run(stop_waiters(*loop, *disk)) == 3);
  BOOST_TEST(disk->free_parts() == 1U);
}

BOOST_AUTO_TEST_CASE(work_that_is_stopped_is_cancelled) {
  const scratch_directory here;
  auto loop = make_reactor();
  recording_log log;
  buffer_pool pool(*loop, mebibyte, 1, log);
  const auto disk = make_spool(*loop, options_for(here.path(), mebibyte, mebibyte), log);
  loop->run(stop_at_work(*loop, *disk, pool));
  BOOST_TEST(disk->free_parts() == 1U);
  BOOST_TEST(loop->operations_in_flight() == 0U);
}

BOOST_AUTO_TEST_CASE(a_disk_fuller_than_the_budget_shrinks_the_spool) {
  BTS3_LOOP_DISK(small, "ext4", 32 * mebibyte);
  auto loop = make_reactor();
  recording_log log;
  buffer_pool pool(*loop, mebibyte, 1, log);
  const auto disk =
      make_spool(*loop, options_for(small.directory(), 400 * mebibyte, 4 * mebibyte), log);
  BOOST_TEST(log.events == std::vector<std::string>{"spool_larger_than_free_space"},
             boost::test_tools::per_element());
  const std::size_t got = loop->run(outgrow(*loop, *disk));
  BOOST_TEST(got >= 4U);
  BOOST_TEST(got < 8U);
  BOOST_TEST(disk->parts() == got);
  BOOST_TEST(disk->free_parts() == got);
  BOOST_TEST(log.events.back() == "spool_shrunk");
  // What was promised for it holds.
  loop->run(fill_all(*disk, pool, 4 * mebibyte));
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error_with_path_and_remedy) {
  BTS3_LOOP_DISK(small, "ext4", 32 * mebibyte);
  const error early = refusal(options_for(small.directory(), 400 * mebibyte, 40 * mebibyte));
  BOOST_TEST(early.code == "ENOSPC");
  check_contains(early.message, small.directory());
  check_contains(early.remedy, bts3::testing::shown(setting::spool_size));

  auto loop = make_reactor();
  recording_log log;
  const auto disk =
      make_spool(*loop, options_for(small.directory(), 400 * mebibyte, 4 * mebibyte), log);
  std::ofstream filler(small.directory() / "filler");
  const std::string block(mebibyte, 'x');
  while (filler.good()) {
    filler << block << std::flush;
  }
  const error full = loop->run(acquire_fails(*disk));
  BOOST_TEST(full.code == "ENOSPC");
  BOOST_TEST((full.what_now == disposition::fail));
  check_contains(full.message, small.directory());
  check_contains(full.remedy, bts3::testing::shown(setting::spool_size));
  BOOST_TEST(disk->free_parts() == disk->parts());
}

BOOST_AUTO_TEST_CASE(a_broken_disk_is_an_error_with_path_and_remedy) {
  BTS3_LOOP_DISK(small, "ext4", 64 * mebibyte);
  check_broken(small.directory(), [&small](spool&) { small.break_off(); });
}

// The same where no device can be broken: reads and writes of address 0 of this process give EIO.
BOOST_AUTO_TEST_CASE(a_broken_file_is_an_error_with_path_and_remedy) {
  const scratch_directory here;
  check_broken(here.path(), [](spool& disk) {
    const unique_fd memory(::open("/proc/self/mem", O_RDWR | O_CLOEXEC));
    BOOST_REQUIRE(memory.valid());
    BOOST_REQUIRE(::dup3(memory.get(), disk.descriptor(), O_CLOEXEC) == disk.descriptor());
  });
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
