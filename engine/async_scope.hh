// async_scope: who waits for work that runs beside its starter.
//
// A counter and one waiter. spawn() starts a task at once, on the caller's stack until its first
// suspension; join() resumes, through the run queue, when the count has reached zero and then the
// scope may be destroyed. Destroying a scope with work in it aborts: nothing may outlive the owner
// of what it refers to. Spawned tasks report through what they refer to; an exception that leaves
// one ends the program. To stop early, request a stop from the source the tasks were given, then
// join.
#pragma once

#include "engine/assert.hh"
#include "engine/reactor.hh"
#include "engine/task.hh"

#include <coroutine>
#include <cstddef>
#include <utility>

namespace bts3::engine {

class async_scope {
 public:
  explicit async_scope(reactor& loop) : _loop(loop) {}
  async_scope(const async_scope&) = delete;
  async_scope& operator=(const async_scope&) = delete;
  ~async_scope() { BTS3_ASSERT(_active == 0); }

  void spawn(task<void> work) {
    ++_active;
    run(*this, std::move(work));
  }

  // At most one join at a time; more may be spawned before it resumes, and is waited for too.
  task<void> join() {
    while (_active != 0) {
      BTS3_ASSERT(!_joiner);
      join_awaiter all{this};
      co_await all;
    }
  }

  [[nodiscard]] std::size_t active() const { return _active; }

 private:
  struct join_awaiter {
    async_scope* scope;
    [[nodiscard]] bool await_ready() const noexcept { return scope->_active == 0; }
    void await_suspend(std::coroutine_handle<> waiter) const noexcept { scope->_joiner = waiter; }
    void await_resume() const noexcept {}
  };

  static detail::detached run(async_scope& scope, task<void> work) {
    {
      // The task's frame, and with it everything it holds, is gone before the scope is told.
      task<void> owned = std::move(work);
      co_await std::move(owned);
    }
    if (--scope._active == 0 && scope._joiner) {
      scope._loop.resume_later(std::exchange(scope._joiner, {}));
    }
  }

  reactor& _loop;
  std::size_t _active = 0;
  std::coroutine_handle<> _joiner;
};

}  // namespace bts3::engine
