#include "engine/kernel_player.hh"
#include "engine/reactor.hh"

#include <chrono>
#include <coroutine>
#include <utility>

namespace bts3::engine {

task<result<void>> reactor::sleep_until(std::chrono::steady_clock::time_point when,
                                        stop_token stop) {
  return sleep(when, false, std::move(stop));
}

std::chrono::steady_clock::time_point reactor::now() const {
  return _player != nullptr ? _player->now() : std::chrono::steady_clock::now();
}

std::chrono::steady_clock::time_point reactor::after(std::chrono::nanoseconds duration) const {
  const auto begin = now();
  const auto rest = std::chrono::steady_clock::time_point::max() - begin;
  return duration < rest ? begin + duration : begin + rest;
}

task<result<void>> reactor::sleep_for(std::chrono::nanoseconds duration, stop_token stop) {
  return sleep(after(duration), false, std::move(stop));
}

task<result<void>> reactor::sleep_aside(std::chrono::nanoseconds duration, stop_token stop) {
  return sleep(after(duration), true, std::move(stop));
}

task<void> reactor::yield() {
  struct requeue {
    reactor* owner;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) const { owner->resume_later(waiter); }
    void await_resume() const noexcept {}
  };
  requeue here{this};
  co_await here;
}

}  // namespace bts3::engine
