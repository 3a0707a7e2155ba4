#include "engine/buffer_pool.hh"
#include "engine/async_scope.hh"
#include "engine/child_process.hh"

#include "tests/engine/support.hh"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

task<void> hold_briefly(reactor& loop, buffer_pool& pool, int name, std::string& order) {
  auto lease = co_await pool.acquire();
  BOOST_REQUIRE(lease.has_value());
  order += std::to_string(name);
  co_await loop.yield();
}

task<std::string> contend(reactor& loop, buffer_pool& pool) {
  std::string order;
  async_scope scope(loop);
  for (int name = 0; name < 8; ++name) {
    scope.spawn(hold_briefly(loop, pool, name, order));
    if (name == 4) {
      co_await loop.yield();
    }
  }
  co_await scope.join();
  co_return order;
}

task<void> wait_and_note(buffer_pool& pool, stop_token stop, bool& cancelled) {
  auto lease = co_await pool.acquire(stop);
  cancelled = !lease && lease.error().what_now == disposition::cancelled;
}

task<void> stop_a_waiter(reactor& loop, buffer_pool& pool, bool& cancelled) {
  auto held = co_await pool.acquire();
  BOOST_REQUIRE(held.has_value());
  stop_source stop;
  async_scope scope(loop);
  scope.spawn(wait_and_note(pool, stop.token(), cancelled));
  co_await loop.yield();
  stop.request_stop();
  co_await scope.join();
}

task<std::string> read_through_a_slot(buffer_pool& pool) {
  auto ends = make_pipe();
  BOOST_REQUIRE(ends.has_value());
  BOOST_REQUIRE(::write(ends->write_end.get(), "registered", 10) == 10);
  auto lease = co_await pool.acquire();
  BOOST_REQUIRE(lease.has_value());
  auto got = co_await pool.read_into(*lease, 100, 64, ends->read_end.get());
  BOOST_REQUIRE_MESSAGE(got.has_value(), bts3::testing::error_text(got));
  co_return std::string(reinterpret_cast<const char*>(lease->bytes().data() + 100), *got);
}

// The VmFlags of the mapping that holds `memory`, as /proc/self/smaps tells them: "rd wr ... hg ".
std::string flags_of(const std::byte* memory) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  std::ifstream file("/proc/self/smaps");
  std::string line;
  bool here = false;
  while (std::getline(file, line)) {
    std::uintptr_t from = 0;
    std::uintptr_t to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {
      here = from <= address && address < to;
    } else if (here && line.starts_with("VmFlags:")) {
      return line.substr(9);
    }
  }
  return "";
}

task<std::string> flags_of_a_slot(buffer_pool& pool) {
  auto lease = co_await pool.acquire();
  BOOST_REQUIRE(lease.has_value());
  co_return flags_of(lease->bytes().data());
}

// Of `memory`, by mincore(2).
std::size_t resident_bytes(std::span<const std::byte> memory) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages((memory.size() + page - 1) / page);
  auto* const start = const_cast<std::byte*>(memory.data());
  BOOST_REQUIRE(::mincore(start, memory.size(), pages.data()) == 0);
  return page * static_cast<std::size_t>(std::count_if(
                    pages.begin(), pages.end(), [](unsigned char one) { return (one & 1) != 0; }));
}

// What a slot has in memory after a read of 10 bytes at each of these places.
task<std::size_t> resident_after_reads(buffer_pool& pool, std::vector<std::size_t> places) {
  auto ends = make_pipe();
  BOOST_REQUIRE(ends.has_value());
  auto lease = co_await pool.acquire();
  BOOST_REQUIRE(lease.has_value());
  for (const std::size_t place : places) {
    BOOST_REQUIRE(::write(ends->write_end.get(), "registered", 10) == 10);
    auto reading = pool.read_into(*lease, place, 64, ends->read_end.get());
    auto got = co_await std::move(reading);
    BOOST_REQUIRE_MESSAGE(got.has_value(), bts3::testing::error_text(got));
    BOOST_TEST(*got <= 10u);
  }
  co_return resident_bytes(lease->bytes());
}

// Of this process's address space.
std::size_t virtual_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t pages = 0;
  file >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

task<std::size_t> growth_of_two_rounds(buffer_pool& pool) {
  const std::size_t before = virtual_bytes();
  for (int round = 0; round < 2; ++round) {
    std::vector<slot_lease> held;
    for (std::size_t i = 0; i < pool.slots(); ++i) {
      auto lease = co_await pool.acquire();
      BOOST_REQUIRE(lease.has_value());
      held.push_back(std::move(*lease));
    }
  }
  co_return virtual_bytes() - before;
}

// How a child ends that does this: the signal, 0 for none.
template <typename Work>
int signal_of(Work work) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGABRT, SIG_DFL);
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ::dup2(nowhere, STDERR_FILENO);  // the assertion's message
    work();
    ::_exit(0);
  }
  int status = 0;
  BOOST_REQUIRE(child > 0 && ::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

// A pool of its own in the child; what is taken from it outlives it where `keep` says so.
void leave_a_pool(bool keep) {
  auto loop = make_reactor();
  recording_log log;
  slot_lease kept;
  {
    buffer_pool pool(*loop, 4096, 1, log);
    auto taking = pool.acquire();
    auto taken = loop->run(std::move(taking));
    if (keep && taken) {
      kept = std::move(*taken);
    }
  }
  kept.release();
}

task<void> read_past_the_end(buffer_pool& pool) {
  auto lease = co_await pool.acquire();
  BOOST_REQUIRE(lease.has_value());
  auto reading = pool.read_into(*lease, 1, pool.slot_bytes(), STDIN_FILENO);
  (void)co_await std::move(reading);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(buffer_pool_suite)

BOOST_AUTO_TEST_CASE(slots_are_advised_to_huge_pages_and_not_inherited) {
  auto loop = make_reactor();
  recording_log log;
  buffer_pool pool(*loop, 4 << 20, 1, log);
  const std::string flags = loop->run(flags_of_a_slot(pool));
  BOOST_REQUIRE(!flags.empty());
  BOOST_TEST(flags.find("dc ") != std::string::npos, flags);  // MADV_DONTFORK
  if (std::filesystem::exists("/sys/kernel/mm/transparent_hugepage")) {
    BOOST_TEST(flags.find("hg ") != std::string::npos, flags);
  }
}

BOOST_AUTO_TEST_CASE(no_more_memory_is_mapped_than_the_slots_have) {
  auto loop = make_reactor();
  recording_log log;
  const std::size_t slot = std::size_t{16} << 20;
  buffer_pool pool(*loop, slot, 4, log);
  const std::size_t grown = loop->run(growth_of_two_rounds(pool));
  BOOST_TEST(grown >= 4 * slot);
  BOOST_TEST(grown < 5 * slot);
}

BOOST_AUTO_TEST_CASE(a_slot_that_outlives_its_pool_and_a_read_beyond_one_stop_the_program) {
  BOOST_TEST(signal_of([] { leave_a_pool(false); }) == 0);
  BOOST_TEST(signal_of([] { leave_a_pool(true); }) == SIGABRT);
  BOOST_TEST(signal_of([] {
               auto loop = make_reactor();
               recording_log log;
               buffer_pool pool(*loop, 4096, 1, log);
               loop->run(read_past_the_end(pool));
             }) == SIGABRT);
}

BOOST_AUTO_TEST_CASE(what_is_not_used_of_a_slot_is_not_in_memory) {
  auto loop = make_reactor();
  recording_log log;
  constexpr std::size_t mebibyte = 1 << 20;
  buffer_pool pool(*loop, 64 * mebibyte, 1, log);
  BOOST_TEST(loop->run(resident_after_reads(pool, {})) == 0u);
  // One registered piece each; the second read is at the border of two.
  BOOST_TEST(loop->run(resident_after_reads(pool, {100})) == 4 * mebibyte);
  BOOST_TEST(loop->run(resident_after_reads(pool, {4 * mebibyte - 5})) == 4 * mebibyte);
  BOOST_TEST(loop->run(resident_after_reads(pool, {40 * mebibyte})) == 8 * mebibyte);
  BOOST_TEST(log.events.empty());
}

BOOST_AUTO_TEST_CASE(waiters_are_served_in_order_and_every_slot_comes_back) {
  auto loop = make_reactor();
  recording_log log;
  buffer_pool pool(*loop, 1 << 20, 2, log);
  BOOST_TEST(loop->run(contend(*loop, pool)) == "01234567");
  BOOST_TEST(pool.free_slots() == 2u);
}

BOOST_AUTO_TEST_CASE(a_stopped_waiter_is_cancelled_and_no_slot_is_lost) {
  auto loop = make_reactor();
  recording_log log;
  buffer_pool pool(*loop, 4096, 1, log);
  bool cancelled = false;
  loop->run(stop_a_waiter(*loop, pool, cancelled));
  BOOST_TEST(cancelled);
  BOOST_TEST(pool.free_slots() == 1u);
}

BOOST_AUTO_TEST_CASE(a_slot_takes_reads_at_an_offset) {
  auto loop = make_reactor();
  recording_log log;
  buffer_pool pool(*loop, 1 << 20, 3, log);
  BOOST_TEST(loop->run(read_through_a_slot(pool)) == "registered");
  BOOST_TEST(log.events.empty());
}

BOOST_AUTO_TEST_CASE(two_pools_one_after_the_other_may_use_one_ring) {
  auto loop = make_reactor();
  recording_log log;
  for (int round = 0; round < 2; ++round) {
    buffer_pool pool(*loop, 1 << 20, 2, log);
    BOOST_TEST(loop->run(read_through_a_slot(pool)) == "registered");
  }
  BOOST_TEST(log.events.empty());
}

BOOST_AUTO_TEST_SUITE_END()
