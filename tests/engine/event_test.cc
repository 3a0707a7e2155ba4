#include "engine/event.hh"

#include "engine/async_scope.hh"

#include "tests/engine/support.hh"

#include <string>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

task<void> note_when_set(event& what, std::string& seen, char name, stop_token stop) {
  auto waiting = what.wait(stop);
  const auto waited = co_await std::move(waiting);
  seen += name;
  seen += waited ? '+' : waited.error().what_now == disposition::cancelled ? '-' : '?';
}

// One waits until it is stopped, two until it is set; one comes after that, and one after reset().
task<std::string> wait_in_turns(reactor& loop) {
  std::string seen;
  event what(loop, "the test");
  stop_source stop;
  stop_source late;
  async_scope scope(loop);
  scope.spawn(note_when_set(what, seen, 'a', stop.token()));
  scope.spawn(note_when_set(what, seen, 'b', {}));
  scope.spawn(note_when_set(what, seen, 'c', {}));
  co_await loop.yield();
  stop.request_stop();
  co_await loop.yield();
  BOOST_TEST(seen == "a-");
  what.set();
  BOOST_TEST(what.is_set());
  co_await loop.yield();
  scope.spawn(
      note_when_set(what, seen, 'd', stop.token()));  // set: that it is stopped is no matter
  co_await loop.yield();
  what.reset();
  BOOST_TEST(!what.is_set());
  scope.spawn(note_when_set(what, seen, 'e', late.token()));
  co_await loop.yield();
  BOOST_TEST(seen == "a-b+c+d+");
  late.request_stop();
  co_await scope.join();
  co_return seen;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(event_suite)

BOOST_AUTO_TEST_CASE(all_wait_until_it_is_set_and_it_stays_set_until_it_is_reset) {
  const auto loop = make_reactor();
  BOOST_TEST(loop->run(wait_in_turns(*loop)) == "a-b+c+d+e-");
  BOOST_TEST(loop->operations_in_flight() == 0U);
}

BOOST_AUTO_TEST_SUITE_END()
