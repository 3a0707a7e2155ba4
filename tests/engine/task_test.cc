#include "engine/task.hh"

#include "tests/engine/support.hh"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

task<int> immediate(int value) {
  co_return value;
}

task<std::unique_ptr<int>> owned(int value) {
  co_return std::make_unique<int>(value);
}

task<void> failing() {
  throw std::runtime_error("planted");
  co_return;
}

task<int> yielding(reactor& loop, int value) {
  co_await loop.yield();
  co_return value;
}

// A measure of stack depth that AddressSanitizer's fake stack does not move.
[[gnu::noinline]] std::uintptr_t stack_position() {
  return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
}

task<std::uintptr_t> deep_position() {
  co_return stack_position();
}

task<std::uintptr_t> await_many(std::size_t count) {
  std::uintptr_t lowest = UINTPTR_MAX;
  std::uintptr_t highest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    auto child = deep_position();
    const std::uintptr_t position = co_await std::move(child);
    lowest = std::min(lowest, position);
    highest = std::max(highest, position);
  }
  co_return highest - lowest;
}

task<void> set_flag(bool& flag) {
  flag = true;
  co_return;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(task_suite)

BOOST_AUTO_TEST_CASE(a_task_does_not_start_before_it_is_awaited) {
  auto loop = make_reactor();
  bool ran = false;
  {
    auto never = set_flag(ran);
  }
  BOOST_TEST(!ran);
  loop->run(set_flag(ran));
  BOOST_TEST(ran);
}

BOOST_AUTO_TEST_CASE(a_task_hands_over_its_value_and_move_only_values_too) {
  auto loop = make_reactor();
  BOOST_TEST(loop->run(immediate(7)) == 7);
  BOOST_TEST(*loop->run(owned(8)) == 8);
  BOOST_TEST(loop->run(yielding(*loop, 9)) == 9);
}

BOOST_AUTO_TEST_CASE(an_exception_reaches_the_awaiter) {
  auto loop = make_reactor();
  BOOST_CHECK_THROW(loop->run(failing()), std::runtime_error);
}

BOOST_AUTO_TEST_CASE(a_moved_task_runs_once) {
  auto loop = make_reactor();
  bool ran = false;
  auto first = set_flag(ran);
  auto second = std::move(first);
  first = set_flag(ran);
  loop->run(std::move(second));
  BOOST_TEST(ran);
}

BOOST_AUTO_TEST_CASE(five_million_synchronous_awaits_do_not_grow_the_stack) {
  auto loop = make_reactor();
  const std::uintptr_t spread = loop->run(await_many(5'000'000));
  // Every child runs at the same depth; a few bytes would already betray growth.
  BOOST_TEST(spread == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
