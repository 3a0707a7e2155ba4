// Ends what makes no headway: a stop that the clock requests.
#pragma once

#include "engine/async_scope.hh"
#include "engine/reactor.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <chrono>

namespace bts3::app {

class headway {
 public:
  // Once nothing was noted for `patience`, or `outer` is requested, the token is. `loop` must
  // outlive it, and it whatever was given the token.
  headway(engine::reactor& loop, std::chrono::milliseconds patience, engine::stop_token outer);

  [[nodiscard]] engine::stop_token token() { return _work.token(); }
  // Something moved that had not moved before.
  void note() { _last = std::chrono::steady_clock::now(); }
  // The clock has ended it.
  [[nodiscard]] bool given_up() const { return _given_up; }
  // Before it goes, when the work has ended.
  engine::task<void> end();

 private:
  engine::task<void> watch();

  engine::reactor& _loop;
  std::chrono::milliseconds _patience;
  engine::linked_stop_source _work;
  engine::stop_source _over;
  std::chrono::steady_clock::time_point _last = std::chrono::steady_clock::now();
  bool _given_up = false;
  engine::async_scope _scope;
};

}  // namespace bts3::app
