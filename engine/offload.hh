// Calls that wait in the kernel and that the ring has no operation for: ioctls of Btrfs, syncfs.
//
// On the reactor's thread such a call stops everything else: uploads time out, a signal is not
// seen, the watchdog bites. offload() makes it on a thread of its own, begun for it (some tens of
// microseconds, beside calls that take milliseconds to minutes) and joined before the result is
// handed out, so there is no pool to be shut down. Callers bound how many there are at once: each
// awaits its own.
//
// Resumes from the run queue, when the call has returned: it cannot be stopped, and whatever it
// refers to is in use until then. A stop that was asked for meanwhile is the caller's to see. The
// call must touch nothing that the reactor's thread uses meanwhile; an exception of it comes out
// of the await. An error where no thread can be started: then it was not made.
#pragma once

#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <functional>
#include <optional>
#include <utility>

namespace bts3::engine {

namespace detail {

// Runs `work` on a thread and waits until that has ended.
task<result<void>> run_beside(reactor& loop, std::function<void()> work);

}  // namespace detail

template <typename T>
task<result<T>> offload(reactor& loop, std::function<result<T>()> call) {
  std::optional<result<T>> outcome;
  std::function<void()> work = [&outcome, &call] { outcome.emplace(call()); };
  auto running = detail::run_beside(loop, std::move(work));
  auto ran = co_await std::move(running);
  if (!ran) {
    co_return std::move(ran.error());
  }
  co_return std::move(*outcome);
}

}  // namespace bts3::engine
