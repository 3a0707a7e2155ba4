// Something that happens once: everyone who waits is resumed, through the run queue, when set.
#pragma once

#include "engine/wait_queue.hh"

#include <string_view>
#include <utility>

namespace bts3::engine {

class event {
 public:
  // `what` it is, for whoever asks what is waited for: see wait_queue.
  explicit event(reactor& loop, std::string_view what = {}) : _waiting(loop, what) {}

  void set() {
    _set = true;
    _waiting.wake_all();
  }
  void reset() { _set = false; }
  [[nodiscard]] bool is_set() const { return _set; }

  // Returns at once when set already; `cancelled` when stopped before.
  task<result<void>> wait(stop_token stop = {}) {
    if (!_set) {
      auto waiting = _waiting.wait(stop);
      const bool woken = co_await std::move(waiting);
      if (!woken) {
        co_return cancelled_error();
      }
    }
    co_return ok();
  }

 private:
  bool _set = false;
  wait_queue _waiting;
};

}  // namespace bts3::engine
