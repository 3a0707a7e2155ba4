// Calls that may wait for a disk for minutes: on a thread of their own (engine/offload.hh), so that
// a signal is seen meanwhile and downloads go on; where no thread is to be had, here all the same.
//
// Like offload(), and with its rules: what the call refers to is in use until this has returned,
// and the call must touch nothing that the reactor's thread uses meanwhile, the log included.
#pragma once

#include "engine/offload.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <functional>
#include <utility>

namespace bts3::app {

template <typename T>
engine::task<engine::result<T>> disk_call(engine::reactor& loop,
                                          std::function<engine::result<T>()> call) {
  bool begun = false;
  std::function<engine::result<T>()> noted = [&begun, &call] {
    begun = true;
    return call();
  };
  auto calling = engine::offload(loop, std::move(noted));
  auto outcome = co_await std::move(calling);
  if (!begun) {
    co_return call();
  }
  co_return outcome;
}

}  // namespace bts3::app
