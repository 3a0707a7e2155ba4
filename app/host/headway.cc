#include "app/host/headway.hh"

#include <utility>

namespace bts3::app {

using engine::task;

headway::headway(engine::reactor& loop, std::chrono::milliseconds patience,
                 engine::stop_token outer)
    : _loop(loop), _patience(patience), _work(outer), _scope(loop) {
  _scope.spawn(watch());
}

task<void> headway::watch() {
  for (;;) {
    const std::chrono::nanoseconds left = _last + _patience - std::chrono::steady_clock::now();
    if (left.count() <= 0) {
      _given_up = true;
      _work.request_stop();
      co_return;
    }
    auto sleeping = _loop.sleep_for(left, _over.token());
    const auto slept = co_await std::move(sleeping);
    if (!slept) {
      co_return;
    }
  }
}

task<void> headway::end() {
  _over.request_stop();
  auto joining = _scope.join();
  co_await std::move(joining);
}

}  // namespace bts3::app
