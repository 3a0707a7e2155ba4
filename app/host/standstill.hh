// The end of a run that would have none: see engine/standstill.hh.
//
// A run that stands still is asked to stop, as by a signal: what waits is cancelled, and it ends in
// the ordinary way, its hooks and its report included. One that stands still after that as well, in
// a wait that no stop reaches, is ended where it is (engine/give_up.hh); for what it leaves that is
// a kill.
#pragma once

#include "engine/error.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/standstill.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <optional>
#include <utility>

namespace bts3::app {

class standstill_watch {
 public:
  // References must outlive it.
  standstill_watch(engine::reactor& loop, engine::log_sink& log,
                   engine::standstill_limits limits = {})
      : _loop(loop), _log(log), _limits(limits) {}

  // Requests a stop from `stop` when the run stands still; ends when `until` stops.
  engine::task<void> run(engine::stop_source& stop, engine::stop_token until);
  // Why the run was asked to stop, with what it waited for; nullopt while it was not.
  [[nodiscard]] const std::optional<engine::error>& found() const { return _found; }

 private:
  engine::reactor& _loop;
  engine::log_sink& _log;
  engine::standstill_limits _limits;
  std::optional<engine::error> _found;
};

// What ended a run: where that is a stop (`cancelled`) which the watch asked for, why it did.
// `watch` null: there was none.
template <typename T>
engine::result<T> ended_by(const standstill_watch* watch, engine::result<T> outcome) {
  const bool stopped = !outcome && outcome.error().what_now == engine::disposition::cancelled;
  if (stopped && watch != nullptr && watch->found()) {
    return *watch->found();
  }
  return outcome;
}

}  // namespace bts3::app
