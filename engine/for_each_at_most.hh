// The same done for many, a few at a time.
#pragma once

#include "engine/async_scope.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

namespace bts3::engine {

namespace detail {

struct for_each_progress {
  std::size_t count = 0;
  std::size_t next = 0;
  std::optional<error> failure;
};

template <typename Make>
task<void> for_each_worker(for_each_progress& shared, Make& make, stop_token stop) {
  while (!shared.failure && shared.next < shared.count) {
    if (stop.stop_requested()) {
      shared.failure = cancelled_error();
      break;
    }
    auto doing = make(shared.next++);
    auto done = co_await std::move(doing);
    if (!done && !shared.failure) {
      shared.failure = std::move(done.error());
    }
  }
}

}  // namespace detail

// Awaits make(0), make(1), ... make(count - 1), each a task of a result whose value is dropped,
// begun in this order and at most `at_once` (at least one) at a time. After a failure, or once
// `stop` is requested, no more is begun; what has begun is waited for, and the first failure is the
// result. `make` is kept until then; what it refers to must live as long.
template <typename Make>
task<result<void>> for_each_at_most(reactor& loop, std::size_t at_once, std::size_t count,
                                    Make make, stop_token stop = {}) {
  BTS3_ASSERT(at_once > 0);
  detail::for_each_progress shared;
  shared.count = count;
  async_scope scope(loop);
  for (std::size_t begun = 0; begun < std::min(at_once, count); ++begun) {
    scope.spawn(detail::for_each_worker(shared, make, stop));
  }
  auto joining = scope.join();
  co_await std::move(joining);
  if (shared.failure) {
    co_return std::move(*shared.failure);
  }
  co_return ok();
}

}  // namespace bts3::engine
