// The list of coroutines that wait for one thing, first come, first served: what semaphore, event,
// channel and buffer_pool share.
//
// A waiter lives in its coroutine's frame. Waking one puts it into the run queue; stopping one
// takes it off the list and resumes it, through the run queue as well, with `stopped`. Where the
// queue has a name (a constant, "room for a part"), the reactor can tell who waits for what.
#pragma once

#include "engine/assert.hh"
#include "engine/reactor.hh"
#include "engine/stop.hh"

#include <coroutine>
#include <list>
#include <string_view>
#include <utility>

namespace bts3::engine {

class wait_queue {
 public:
  explicit wait_queue(reactor& loop, std::string_view what = {}) : _loop(loop), _what(what) {}
  wait_queue(const wait_queue&) = delete;
  wait_queue& operator=(const wait_queue&) = delete;
  ~wait_queue() { BTS3_ASSERT(_waiters.empty()); }

  [[nodiscard]] bool empty() const { return _waiters.empty(); }

  // Wakes the first waiter; false when nobody waits.
  bool wake_one() {
    if (_waiters.empty()) {
      return false;
    }
    waiter* first = _waiters.front();
    _waiters.pop_front();
    first->outcome = outcome_type::woken;
    _loop.resume_later(first->coroutine);
    return true;
  }

  void wake_all() {
    while (wake_one()) {
    }
  }

  // Suspends until woken (true) or stopped (false).
  task<bool> wait(stop_token stop) {
    if (stop.stop_requested()) {
      co_return false;
    }
    const named_wait named(_loop, _what);
    waiter self;
    stop_callback<leave> on_stop(stop, leave{this, &self});
    enter here{this, &self};
    co_await here;
    co_return self.outcome == outcome_type::woken;
  }

 private:
  enum class outcome_type { waiting, woken, stopped };
  struct waiter {
    std::coroutine_handle<> coroutine;
    outcome_type outcome = outcome_type::waiting;
  };
  struct enter {
    wait_queue* queue;
    waiter* self;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> coroutine) const {
      self->coroutine = coroutine;
      queue->_waiters.push_back(self);
    }
    void await_resume() const noexcept {}
  };
  struct leave {
    wait_queue* queue;
    waiter* self;
    void operator()() const {
      if (self->outcome != outcome_type::waiting) {
        return;
      }
      self->outcome = outcome_type::stopped;
      queue->_waiters.remove(self);
      queue->_loop.resume_later(self->coroutine);
    }
  };

  reactor& _loop;
  std::string_view _what;
  std::list<waiter*> _waiters;
};

}  // namespace bts3::engine
