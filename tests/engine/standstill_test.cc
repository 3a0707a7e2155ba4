#include "engine/standstill.hh"

#include "engine/async_scope.hh"
#include "engine/channel.hh"
#include "engine/child_process.hh"
#include "engine/event.hh"
#include "engine/hash_worker.hh"
#include "engine/offload.hh"
#include "engine/semaphore.hh"
#include "engine/stop.hh"
#include "tests/engine/support.hh"

#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <thread>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

using std::chrono::milliseconds;

// Four looks, five milliseconds apart.
const standstill_limits quick{milliseconds(20), 4};

struct watched {
  bool found = false;
  std::string waits;
};

task<void> watch(reactor& loop, watched& outcome, stop_source& on_standstill, stop_token until) {
  auto watching = until_it_stands_still(loop, quick, until);
  outcome.found = co_await std::move(watching);
  if (outcome.found) {
    outcome.waits = loop.waits_text();
    on_standstill.request_stop();
  }
}

using work = std::function<task<void>(reactor&, stop_token)>;

task<watched> beside(reactor& loop, work make) {
  watched outcome;
  stop_source stop;
  stop_source end;
  async_scope scope(loop);
  scope.spawn(watch(loop, outcome, stop, end.token()));
  auto working = make(loop, stop.token());
  co_await std::move(working);
  end.request_stop();
  auto joining = scope.join();
  co_await std::move(joining);
  co_return outcome;
}

// What a watch makes of this.
watched seen_of(work make) {
  auto loop = make_reactor();
  return loop->run(beside(*loop, std::move(make)));
}

task<void> take_both(semaphore& first, semaphore& second, event& other_has_one, event& has_one,
                     stop_token stop) {
  auto taking = first.acquire(stop);
  const auto one = co_await std::move(taking);
  has_one.set();
  auto waiting = other_has_one.wait(stop);
  (void)co_await std::move(waiting);
  auto more = second.acquire(stop);
  (void)co_await std::move(more);
}

// Each has what the other one waits for.
task<void> circle(reactor& loop, stop_token stop) {
  semaphore slots(loop, 1, "a slot");
  semaphore turns(loop, 1, "a turn");
  event here(loop);
  event there(loop);
  async_scope scope(loop);
  scope.spawn(take_both(slots, turns, here, there, stop));
  scope.spawn(take_both(turns, slots, there, here, stop));
  auto joining = scope.join();
  co_await std::move(joining);
}

task<void> pop_from_nobody(reactor& loop, stop_token stop) {
  channel<int> items(loop, 1, "an item");
  auto popping = items.pop(stop);
  (void)co_await std::move(popping);
}

task<void> tick(reactor& loop, stop_token stop) {
  for (;;) {
    auto sleeping = loop.sleep_aside(milliseconds(1), stop);
    const auto slept = co_await std::move(sleeping);
    if (!slept) {
      co_return;
    }
  }
}

task<void> read_on(reactor& loop, int fd, stop_token stop) {
  std::array<std::byte, 1> piece{};
  auto reading = loop.read_aside(fd, piece, stop);
  (void)co_await std::move(reading);
}

// A clock, a signal and a child that only complains are no movement.
task<void> circle_with_onlookers(reactor& loop, stop_token stop) {
  auto ends = make_pipe();
  BOOST_REQUIRE(ends.has_value());
  BOOST_REQUIRE(set_nonblocking(ends->read_end.get()).has_value());
  async_scope scope(loop);
  scope.spawn(tick(loop, stop));
  scope.spawn(read_on(loop, ends->read_end.get(), stop));
  child_options options;
  options.argv = {"sh", "-c", "while true; do echo no >&2; sleep 0.001; done"};
  auto child = child_process::spawn(loop, std::move(options));
  BOOST_REQUIRE(child.has_value());
  auto waiting = pop_from_nobody(loop, stop);
  co_await std::move(waiting);
  child->terminate();
  auto ending = child->wait();
  (void)co_await std::move(ending);
  auto joining = scope.join();
  co_await std::move(joining);
}

// Ten times as long as a standstill may be.
constexpr milliseconds long_time{200};

task<void> sleep_long(reactor& loop, stop_token stop) {
  auto sleeping = loop.sleep_for(long_time, stop);
  (void)co_await std::move(sleeping);
}

task<void> wait_for_child(reactor& loop, stop_token) {
  child_options options;
  options.argv = {"sleep", "0.2"};
  auto child = child_process::spawn(loop, std::move(options));
  BOOST_REQUIRE(child.has_value());
  auto waiting = child->wait();
  (void)co_await std::move(waiting);
}

task<void> wait_for_output(reactor& loop, stop_token stop) {
  auto ends = make_pipe();
  BOOST_REQUIRE(ends.has_value());
  child_options options;
  options.argv = {"sh", "-c", "sleep 0.2; echo there"};
  options.stdout_fd = ends->write_end.get();
  auto child = child_process::spawn(loop, std::move(options));
  BOOST_REQUIRE(child.has_value());
  ends->write_end.reset();
  std::array<std::byte, 16> piece{};
  auto reading = loop.read(ends->read_end.get(), piece, stop);
  const auto got = co_await std::move(reading);
  BOOST_TEST(got.value() == 6U);
  auto waiting = child->wait();
  (void)co_await std::move(waiting);
}

// A disk that hangs, for a call that the ring has no operation for.
task<void> wait_for_thread(reactor& loop, stop_token) {
  std::function<result<int>()> call = [] {
    std::this_thread::sleep_for(long_time);
    return result<int>(1);
  };
  auto calling = offload(loop, std::move(call));
  BOOST_TEST((co_await std::move(calling)).value() == 1);
}

// As long, on the reactor's own thread: it was held up, and is looked at once after it.
task<void> hold_up_the_loop(reactor& loop, stop_token) {
  std::this_thread::sleep_for(long_time);
  auto yielding = loop.yield();
  co_await std::move(yielding);
  std::this_thread::sleep_for(long_time);
}

// Moves by little steps, none of which is in the ring when somebody looks.
task<void> turn_over(reactor& loop, stop_token) {
  const auto end = std::chrono::steady_clock::now() + long_time;
  while (std::chrono::steady_clock::now() < end) {
    auto yielding = loop.yield();
    co_await std::move(yielding);
  }
}

task<void> wait_for_digest(reactor& loop, stop_token) {
  hash_worker worker(loop, true);
  BOOST_REQUIRE(worker.ready().has_value());
  std::vector<std::byte> memory(32 << 20);  // 100 ms of SHA-256, or more
  part_hash hash = worker.begin(memory, true);
  hash.publish(memory.size());
  auto finishing = hash.finish();
  (void)co_await std::move(finishing);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(standstill_suite)

BOOST_AUTO_TEST_CASE(a_circle_of_waits_is_found_with_what_is_waited_for) {
  const watched outcome = seen_of(circle);
  BOOST_TEST(outcome.found);
  BOOST_TEST(outcome.waits == "1 for a slot, 1 for a turn");
}

BOOST_AUTO_TEST_CASE(a_wait_for_what_nobody_makes_is_found) {
  const watched outcome = seen_of(pop_from_nobody);
  BOOST_TEST(outcome.found);
  BOOST_TEST(outcome.waits == "1 for an item");
}

BOOST_AUTO_TEST_CASE(what_looks_on_beside_the_work_is_no_movement) {
  const watched outcome = seen_of(circle_with_onlookers);
  BOOST_TEST(outcome.found);
  BOOST_TEST(outcome.waits == "1 for an item");
}

BOOST_AUTO_TEST_CASE(what_is_slow_stands_not_still) {
  for (const auto& [name, slow] :
       std::vector<std::pair<std::string, work>>{{"a pause", sleep_long},
                                                 {"a child", wait_for_child},
                                                 {"a child's output", wait_for_output},
                                                 {"a call on another thread", wait_for_thread},
                                                 {"a call on the loop", hold_up_the_loop},
                                                 {"little steps", turn_over},
                                                 {"a digest", wait_for_digest}}) {
    const watched outcome = seen_of(slow);
    BOOST_TEST(!outcome.found, name);
  }
}

BOOST_AUTO_TEST_CASE(who_waits_is_told_by_name_and_forgotten_afterwards) {
  auto loop = make_reactor();
  BOOST_TEST(loop->waits_text() == "");
  loop->run(beside(*loop, circle));
  BOOST_TEST(loop->waits_text() == "");
  BOOST_TEST(loop->waits_for_nothing());
}

BOOST_AUTO_TEST_SUITE_END()
