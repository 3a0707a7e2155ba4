// A counting semaphore for coroutines: permits are handed out in the order of asking.
#pragma once

#include "engine/assert.hh"
#include "engine/wait_queue.hh"

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>

namespace bts3::engine {

class semaphore;

// One unit of a semaphore, given back when destroyed. The semaphore must outlive it.
class permit {
 public:
  permit() = default;
  permit(permit&& other) noexcept : _owner(std::exchange(other._owner, nullptr)) {}
  permit& operator=(permit&& other) noexcept {
    if (this != &other) {
      release();
      _owner = std::exchange(other._owner, nullptr);
    }
    return *this;
  }
  ~permit() { release(); }
  inline void release();

 private:
  friend semaphore;
  explicit permit(semaphore* owner) : _owner(owner) {}
  semaphore* _owner = nullptr;
};

class semaphore {
 public:
  // `what` its permits are, for whoever asks what is waited for: see wait_queue.
  semaphore(reactor& loop, std::size_t permits, std::string_view what = {})
      : _free(permits), _waiting(loop, what) {}

  // Suspends while none is free; `cancelled` when stopped before.
  task<result<permit>> acquire(stop_token stop = {}) {
    if (stop.stop_requested()) {
      co_return cancelled_error();
    }
    if (_free > 0 && _waiting.empty()) {
      --_free;
    } else {
      // Whoever releases hands the unit over without making it free in between.
      auto waiting = _waiting.wait(stop);
      const bool woken = co_await std::move(waiting);
      if (!woken) {
        co_return cancelled_error();
      }
    }
    co_return permit(this);
  }

  [[nodiscard]] std::size_t available() const { return _free; }

  // Fewer permits from now on: free ones at once, the others as they come back.
  void take_out(std::size_t permits) {
    const std::size_t at_once = std::min(permits, _free);
    _free -= at_once;
    _owed += permits - at_once;
  }
  // More permits from now on.
  void put_in(std::size_t permits) {
    for (; permits > 0; --permits) {
      give_back();
    }
  }

 private:
  friend permit;
  void give_back() {
    if (_owed > 0) {
      --_owed;
    } else if (!_waiting.wake_one()) {
      ++_free;
    }
  }
  std::size_t _free;
  std::size_t _owed = 0;  // taken out, and still in somebody's hands
  wait_queue _waiting;
};

inline void permit::release() {
  if (semaphore* owner = std::exchange(_owner, nullptr)) {
    owner->give_back();
  }
}

}  // namespace bts3::engine
