#include "engine/async_scope.hh"
#include "engine/channel.hh"
#include "engine/event.hh"
#include "engine/for_each_at_most.hh"
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

// What each of many does: `fails` is the one that fails, `stops` the one that asks all to stop.
struct many {
  explicit many(reactor& with) : loop(with) {}
  reactor& loop;
  std::vector<std::size_t> begun;
  std::size_t ended = 0;
  std::size_t under_way = 0;
  std::size_t most = 0;
  std::size_t fails = 1000;
  std::size_t stops = 1000;
  stop_source stop;
};

task<result<void>> do_one(many& all, std::size_t index, int yields) {
  all.begun.push_back(index);
  all.most = std::max(all.most, ++all.under_way);
  for (int i = 0; i < yields; ++i) {
    co_await all.loop.yield();
  }
  --all.under_way;
  ++all.ended;
  if (index == all.stops) {
    all.stop.request_stop();
  }
  if (index == all.fails) {
    error failure;
    failure.message = "number " + std::to_string(index);
    co_return failure;
  }
  co_return ok();
}

result<void> do_many(many& all, std::size_t at_once, std::size_t count) {
  return all.loop.run(for_each_at_most(
      all.loop, at_once, count,
      [&all](std::size_t index) { return do_one(all, index, static_cast<int>(index % 3)); },
      all.stop.token()));
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

BOOST_AUTO_TEST_CASE(many_are_done_in_order_and_a_few_at_a_time) {
  for (const std::size_t at_once : {1U, 2U, 3U, 7U, 100U}) {
    for (const std::size_t count : {0U, 1U, 2U, 10U}) {
      const auto loop = make_reactor();
      many all(*loop);
      BOOST_TEST(do_many(all, at_once, count).has_value());
      BOOST_TEST(all.ended == count);
      BOOST_TEST(all.most <= std::min(at_once, count));
      BOOST_TEST(std::is_sorted(all.begun.begin(), all.begun.end()));
    }
  }
}

BOOST_AUTO_TEST_CASE(after_a_failure_no_more_is_begun_and_what_has_begun_ends) {
  const auto loop = make_reactor();
  many all(*loop);
  all.fails = 4;
  const auto done = do_many(all, 3, 100);
  BOOST_REQUIRE(!done.has_value());
  BOOST_TEST(done.error().message == "number 4");
  BOOST_TEST(all.under_way == 0U);
  BOOST_TEST(all.ended == all.begun.size());
  BOOST_TEST(all.begun.size() < 10U);
}

BOOST_AUTO_TEST_CASE(a_stop_begins_no_more_and_cancels_unless_all_is_done) {
  const auto loop = make_reactor();
  many all(*loop);
  all.stops = 4;
  const auto done = do_many(all, 2, 100);
  BOOST_REQUIRE(!done.has_value());
  BOOST_TEST((done.error().what_now == disposition::cancelled));
  BOOST_TEST(all.ended == all.begun.size());
  BOOST_TEST(all.begun.size() < 10U);
  many last(*loop);
  last.stops = 9;
  BOOST_TEST(do_many(last, 1, 10).has_value());
  BOOST_TEST(last.ended == 10U);
}

BOOST_AUTO_TEST_SUITE_END()
