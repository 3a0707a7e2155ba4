#include "engine/async_scope.hh"
#include "engine/channel.hh"
#include "engine/event.hh"
#include "engine/semaphore.hh"

#include "tests/engine/support.hh"

#include <string>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

task<void> count_after_yields(reactor& loop, int yields, int& count) {
  for (int i = 0; i < yields; ++i) {
    co_await loop.yield();
  }
  ++count;
}

task<void> spawn_three(reactor& loop, int& count) {
  async_scope scope(loop);
  scope.spawn(count_after_yields(loop, 0, count));
  scope.spawn(count_after_yields(loop, 1, count));
  scope.spawn(count_after_yields(loop, 50, count));
  co_await scope.join();
  BOOST_TEST(scope.active() == 0u);
}

task<void> use_permit(reactor& loop, semaphore& permits, int name, std::string& trace, int& holders,
                      int& most) {
  auto held = co_await permits.acquire();
  BOOST_REQUIRE(held.has_value());
  trace += std::to_string(name);
  most = std::max(most, ++holders);
  co_await loop.yield();
  co_await loop.yield();
  --holders;
}

task<void> contend(reactor& loop, semaphore& permits, std::string& trace, int& most) {
  async_scope scope(loop);
  int holders = 0;
  for (int name = 0; name < 6; ++name) {
    scope.spawn(use_permit(loop, permits, name, trace, holders, most));
  }
  co_await scope.join();
}

task<void> wait_stopped(semaphore& permits, stop_token stop, bool& cancelled) {
  auto held = co_await permits.acquire(stop);
  cancelled = !held && held.error().what_now == disposition::cancelled;
}

task<void> stop_a_waiter(reactor& loop, bool& cancelled) {
  semaphore permits(loop, 1);
  auto first = co_await permits.acquire();
  BOOST_REQUIRE(first.has_value());
  stop_source stop;
  async_scope scope(loop);
  scope.spawn(wait_stopped(permits, stop.token(), cancelled));
  co_await loop.yield();
  stop.request_stop();
  co_await scope.join();
  first->release();
  BOOST_TEST(permits.available() == 1u);
}

task<void> produce(channel<int>& numbers, int count) {
  for (int i = 0; i < count; ++i) {
    auto pushed = co_await numbers.push(i);
    BOOST_REQUIRE(pushed.has_value());
  }
  numbers.close();
}

task<std::vector<int>> consume_all(reactor& loop) {
  channel<int> numbers(loop, 3);
  async_scope scope(loop);
  scope.spawn(produce(numbers, 100));
  std::vector<int> seen;
  for (;;) {
    auto item = co_await numbers.pop();
    BOOST_REQUIRE(item.has_value());
    if (!*item) {
      break;
    }
    BOOST_TEST(numbers.size() <= 3u);
    seen.push_back(**item);
  }
  co_await scope.join();
  co_return seen;
}

task<void> await_event(event& happened, int& resumed) {
  auto waited = co_await happened.wait();
  BOOST_REQUIRE(waited.has_value());
  ++resumed;
}

task<void> set_for_three(reactor& loop, int& resumed) {
  event happened(loop);
  async_scope scope(loop);
  for (int i = 0; i < 3; ++i) {
    scope.spawn(await_event(happened, resumed));
  }
  co_await loop.yield();
  BOOST_TEST(resumed == 0);
  happened.set();
  co_await scope.join();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(scope_suite)

BOOST_AUTO_TEST_CASE(permits_can_be_taken_out_while_they_are_held) {
  auto loop = make_reactor();
  semaphore permits(*loop, 3);
  auto first = loop->run(permits.acquire());
  auto second = loop->run(permits.acquire());
  BOOST_REQUIRE((first.has_value() && second.has_value()));
  permits.take_out(2);  // the free one, and the next that comes back
  BOOST_TEST(permits.available() == 0U);
  first->release();
  BOOST_TEST(permits.available() == 0U);
  second->release();
  BOOST_TEST(permits.available() == 1U);
  permits.put_in(2);
  BOOST_TEST(permits.available() == 3U);
  permits.take_out(3);
  BOOST_TEST(permits.available() == 0U);
}

BOOST_AUTO_TEST_CASE(join_waits_for_all_that_was_spawned) {
  auto loop = make_reactor();
  int count = 0;
  loop->run(spawn_three(*loop, count));
  BOOST_TEST(count == 3);
}

BOOST_AUTO_TEST_CASE(a_semaphore_serves_in_order_and_never_exceeds_its_permits) {
  auto loop = make_reactor();
  semaphore permits(*loop, 2);
  std::string trace;
  int most = 0;
  loop->run(contend(*loop, permits, trace, most));
  BOOST_TEST(trace == "012345");
  BOOST_TEST(most == 2);
  BOOST_TEST(permits.available() == 2u);
}

BOOST_AUTO_TEST_CASE(a_stopped_waiter_leaves_the_queue_with_cancelled) {
  auto loop = make_reactor();
  bool cancelled = false;
  loop->run(stop_a_waiter(*loop, cancelled));
  BOOST_TEST(cancelled);
}

BOOST_AUTO_TEST_CASE(a_channel_keeps_order_and_bounds) {
  auto loop = make_reactor();
  const auto seen = loop->run(consume_all(*loop));
  BOOST_REQUIRE(seen.size() == 100u);
  for (int i = 0; i < 100; ++i) {
    BOOST_TEST(seen[static_cast<std::size_t>(i)] == i);
  }
}

BOOST_AUTO_TEST_CASE(an_event_resumes_everyone_who_waits) {
  auto loop = make_reactor();
  int resumed = 0;
  loop->run(set_for_three(*loop, resumed));
  BOOST_TEST(resumed == 3);
}

BOOST_AUTO_TEST_SUITE_END()
