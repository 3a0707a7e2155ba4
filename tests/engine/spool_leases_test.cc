// Who gets a region of the spool and when, and what a full or broken disk does to those who have
// one.
#include "engine/spool.hh"

#include "engine/async_scope.hh"
#include "tests/engine/loop_disk.hh"
#include "tests/engine/scratch_directory.hh"
#include "tests/engine/spool_scene.hh"
#include "tests/support/shown_setting.hh"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;

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

BOOST_AUTO_TEST_SUITE(spool_leases_suite)

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

BOOST_AUTO_TEST_SUITE_END()
