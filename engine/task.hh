// task<T>: a coroutine that somebody awaits.
//
// Lazy: the body starts when the task is first awaited, on the awaiting thread. Move-only; a task
// that is never awaited never runs. The awaiting coroutine resumes where the body finished: inside
// the await itself when the body never suspended, else from the reactor's run queue.
//
// Completion and awaiter meet on a flag instead of using symmetric transfer: whoever comes second
// carries on. A child that finishes synchronously therefore returns to its awaiter as an ordinary
// call does, and a loop over such children uses constant stack. Symmetric transfer would need a
// tail call that g++ does not make at -O0, -Og or under AddressSanitizer. The flag is a plain bool:
// a task and its awaiter belong to one thread.
//
// An exception in the body (a bug, or exhaustion of memory) is rethrown to the awaiter.
#pragma once

#include "engine/assert.hh"

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

namespace bts3::engine {

template <typename T = void>
class task;

namespace detail {

class promise_base {
 public:
  struct final_awaiter {
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <typename Promise>
    void await_suspend(std::coroutine_handle<Promise> finished) const noexcept {
      promise_base& promise = finished.promise();
      if (std::exchange(promise._met, true)) {
        // The awaiter may destroy this frame while it runs: nothing of it is used afterwards.
        promise._continuation.resume();
      }
    }
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() const noexcept { return {}; }
  final_awaiter final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { _exception = std::current_exception(); }

  // True when the awaiter has to stay suspended.
  bool start(std::coroutine_handle<> self, std::coroutine_handle<> awaiter) {
    _continuation = awaiter;
    self.resume();
    return !std::exchange(_met, true);
  }

 protected:
  void rethrow_if_failed() const {
    if (_exception) {
      std::rethrow_exception(_exception);
    }
  }

 private:
  std::coroutine_handle<> _continuation;
  std::exception_ptr _exception;
  bool _met = false;
};

template <typename T>
class promise final : public promise_base {
 public:
  task<T> get_return_object() noexcept;
  template <typename U>
  void return_value(U&& value) {
    _value.emplace(std::forward<U>(value));
  }
  T take() {
    rethrow_if_failed();
    BTS3_ASSERT(_value.has_value());
    return std::move(*_value);
  }

 private:
  std::optional<T> _value;
};

template <>
class promise<void> final : public promise_base {
 public:
  task<void> get_return_object() noexcept;
  void return_void() noexcept {}
  void take() { rethrow_if_failed(); }
};

}  // namespace detail

template <typename T>
class [[nodiscard]] task {
 public:
  using promise_type = detail::promise<T>;
  using handle = std::coroutine_handle<promise_type>;

  task(task&& other) noexcept : _handle(std::exchange(other._handle, {})) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      destroy();
      _handle = std::exchange(other._handle, {});
    }
    return *this;
  }
  ~task() { destroy(); }

  auto operator co_await() && noexcept {
    struct awaiter {
      handle child;
      [[nodiscard]] bool await_ready() const noexcept { return false; }
      bool await_suspend(std::coroutine_handle<> parent) const {
        return child.promise().start(child, parent);
      }
      T await_resume() const { return child.promise().take(); }
    };
    BTS3_ASSERT(_handle && !_handle.done());
    return awaiter{_handle};
  }

 private:
  friend promise_type;
  explicit task(handle coroutine) noexcept : _handle(coroutine) {}
  void destroy() {
    if (_handle) {
      _handle.destroy();
    }
  }

  handle _handle;
};

namespace detail {

template <typename T>
task<T> promise<T>::get_return_object() noexcept {
  return task<T>(std::coroutine_handle<promise<T>>::from_promise(*this));
}

inline task<void> promise<void>::get_return_object() noexcept {
  return task<void>(std::coroutine_handle<promise<void>>::from_promise(*this));
}

// A coroutine that starts at once and frees itself at its end: the root under which the reactor
// and async_scope run tasks. Nothing else may use it.
struct detached {
  struct promise_type {
    detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

}  // namespace detail

}  // namespace bts3::engine
