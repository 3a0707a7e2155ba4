#include "engine/offload.hh"

#include "engine/async_scope.hh"
#include "engine/event.hh"
#include "engine/stop.hh"

#include "tests/engine/support.hh"
#include "tests/support/no_threads.hh"

#include <array>
#include <cerrno>
#include <csignal>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

task<result<std::string>> named(reactor& loop, std::string text) {
  std::function<result<std::string>()> call = [text] { return result<std::string>(text + "!"); };
  auto calling = offload(loop, std::move(call));
  co_return co_await std::move(calling);
}

// Opens the gate that a call waits for, which only a reactor that goes on can do.
task<void> open_later(reactor& loop, std::promise<void>& gate, int turns) {
  for (int turn = 0; turn < turns; ++turn) {
    auto yielding = loop.yield();
    co_await std::move(yielding);
  }
  gate.set_value();
}

task<result<int>> behind(reactor& loop, std::promise<void>& gate, int value) {
  std::function<result<int>()> call = [&gate, value] {
    gate.get_future().wait();
    return result<int>(value);
  };
  auto calling = offload(loop, std::move(call));
  co_return co_await std::move(calling);
}

task<void> behind_into(reactor& loop, std::promise<void>& gate, int value, int& sum) {
  auto calling = behind(loop, gate, value);
  auto got = co_await std::move(calling);
  sum += got.value();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(offload_suite)

BOOST_AUTO_TEST_CASE(a_calls_result_is_handed_back) {
  auto loop = make_reactor();
  BOOST_TEST(loop->run(named(*loop, "made")).value() == "made!");
  std::function<result<void>()> failing = [] { return result<void>(system_error(EIO, "it")); };
  const auto failed = loop->run(offload(*loop, std::move(failing)));
  BOOST_REQUIRE(!failed.has_value());
  BOOST_TEST(failed.error().status == EIO);
  std::function<result<std::unique_ptr<int>>()> moving = [] {
    return result<std::unique_ptr<int>>(std::make_unique<int>(7));
  };
  BOOST_TEST(*loop->run(offload(*loop, std::move(moving))).value() == 7);
  BOOST_TEST(loop->operations_in_flight() == 0U);
}

BOOST_AUTO_TEST_CASE(it_is_made_on_another_thread_without_signals) {
  auto loop = make_reactor();
  std::thread::id where;
  bool blocked = false;
  std::function<result<void>()> call = [&] {
    where = std::this_thread::get_id();
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    blocked = ::sigismember(&mask, SIGTERM) == 1 && ::sigismember(&mask, SIGINT) == 1;
    return ok();
  };
  BOOST_TEST(loop->run(offload(*loop, std::move(call))).has_value());
  BOOST_TEST((where != std::thread::id() && where != std::this_thread::get_id()));
  BOOST_TEST(blocked);
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  BOOST_TEST(::sigismember(&mask, SIGTERM) == 0);
}

// The call ends only when a coroutine beside it has run a hundred turns of the loop.
BOOST_AUTO_TEST_CASE(the_reactor_goes_on_meanwhile) {
  auto loop = make_reactor();
  std::promise<void> gate;
  async_scope scope(*loop);
  scope.spawn(open_later(*loop, gate, 100));
  BOOST_TEST(loop->run(behind(*loop, gate, 5)).value() == 5);
  loop->run(scope.join());
}

task<bool> stopped_meanwhile(reactor& loop, stop_source& stop, std::promise<void>& gate) {
  async_scope scope(loop);
  int sum = 0;
  scope.spawn(behind_into(loop, gate, 1, sum));
  stop.request_stop();
  const bool early = sum != 0;
  gate.set_value();
  auto joining = scope.join();
  co_await std::move(joining);
  co_return !early && sum == 1;
}

BOOST_AUTO_TEST_CASE(a_stop_is_seen_meanwhile_and_the_call_is_awaited_all_the_same) {
  auto loop = make_reactor();
  stop_source stop;
  std::promise<void> gate;
  BOOST_TEST(loop->run(stopped_meanwhile(*loop, stop, gate)));
  BOOST_TEST(stop.stop_requested());
}

task<int> many(reactor& loop, std::array<std::promise<void>, 8>& gates) {
  async_scope scope(loop);
  int sum = 0;
  for (std::size_t i = 0; i < gates.size(); ++i) {
    scope.spawn(behind_into(loop, gates[i], 1 << i, sum));
  }
  for (std::size_t i = gates.size(); i-- > 0;) {
    gates[i].set_value();
  }
  auto joining = scope.join();
  co_await std::move(joining);
  co_return sum;
}

BOOST_AUTO_TEST_CASE(several_calls_run_beside_each_other_and_end_in_any_order) {
  auto loop = make_reactor();
  std::array<std::promise<void>, 8> gates;
  BOOST_TEST(loop->run(many(*loop, gates)) == 255);
}

BOOST_AUTO_TEST_CASE(an_exception_of_the_call_comes_out_of_the_await) {
  auto loop = make_reactor();
  std::function<result<void>()> call = []() -> result<void> { throw std::runtime_error("a bug"); };
  BOOST_CHECK_THROW((void)loop->run(offload(*loop, std::move(call))), std::runtime_error);
}

BOOST_AUTO_TEST_CASE(where_no_thread_can_be_started_the_call_is_not_made_and_that_is_said) {
  auto loop = make_reactor();
  bool called = false;
  std::function<result<void>()> call = [&called] {
    called = true;
    return ok();
  };
  result<void> outcome = ok();
  {
    const bts3::testing::no_threads none;
    outcome = loop->run(offload(*loop, std::move(call)));
  }
  BOOST_REQUIRE(!outcome.has_value());
  BOOST_TEST(!called);
  BOOST_TEST(!outcome.error().remedy.empty());
}

BOOST_AUTO_TEST_SUITE_END()
