// A time limit: a stop that is requested when it has passed.
#pragma once

#include "engine/reactor.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <chrono>
#include <utility>

namespace bts3::engine {

// Requests `source`'s stop after `limit`, unless `finished` comes first. To be spawned into a scope
// that is joined after `finished` was requested and before `source` goes.
inline task<void> stop_after(reactor& loop, std::chrono::nanoseconds limit, stop_source& source,
                             stop_token finished) {
  auto sleeping = loop.sleep_for(limit, finished);
  auto slept = co_await std::move(sleeping);
  if (slept) {
    source.request_stop();
  }
}

}  // namespace bts3::engine
