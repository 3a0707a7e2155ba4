#include "engine/buffer_pool.hh"
#include "engine/async_scope.hh"
#include "engine/child_process.hh"

#include "tests/engine/support.hh"

#include <fcntl.h>
#include <unistd.h>

#include <string>

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

}  // namespace

BOOST_AUTO_TEST_SUITE(buffer_pool_suite)

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
