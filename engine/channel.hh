// A bounded queue between coroutines: one side pushes, the other pops, in order.
//
// push() suspends while the channel is full, pop() while it is empty. close() lets the consumer
// drain what is there and then see the end (nullopt). Several producers and consumers are served
// in the order of asking.
#pragma once

#include "engine/assert.hh"
#include "engine/wait_queue.hh"

#include <cstddef>
#include <deque>
#include <optional>
#include <string_view>
#include <utility>

namespace bts3::engine {

template <typename T>
class channel {
 public:
  // `what` is in it, for whoever asks what is waited for: see wait_queue.
  channel(reactor& loop, std::size_t capacity, std::string_view what = {})
      : _capacity(capacity), _not_full(loop, what), _not_empty(loop, what) {
    BTS3_ASSERT(capacity > 0);
  }

  // `cancelled` when stopped before there was room. Pushing into a closed channel is a bug.
  task<result<void>> push(T item, stop_token stop = {}) {
    while (_items.size() >= _capacity) {
      auto waiting = _not_full.wait(stop);
      const bool woken = co_await std::move(waiting);
      if (!woken) {
        co_return cancelled_error();
      }
    }
    BTS3_ASSERT(!_closed);
    _items.push_back(std::move(item));
    _not_empty.wake_one();
    co_return ok();
  }

  task<result<std::optional<T>>> pop(stop_token stop = {}) {
    while (_items.empty()) {
      if (_closed) {
        co_return std::optional<T>();
      }
      auto waiting = _not_empty.wait(stop);
      const bool woken = co_await std::move(waiting);
      if (!woken) {
        co_return cancelled_error();
      }
    }
    std::optional<T> item(std::move(_items.front()));
    _items.pop_front();
    _not_full.wake_one();
    co_return std::move(item);
  }

  void close() {
    _closed = true;
    _not_empty.wake_all();
  }

  [[nodiscard]] std::size_t size() const { return _items.size(); }

 private:
  std::size_t _capacity;
  bool _closed = false;
  std::deque<T> _items;
  wait_queue _not_full;
  wait_queue _not_empty;
};

}  // namespace bts3::engine
