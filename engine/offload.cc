#include "engine/offload.hh"

#include "engine/assert.hh"
#include "engine/event.hh"
#include "engine/kernel_player.hh"

#include <csignal>
#include <exception>
#include <system_error>
#include <thread>

namespace bts3::engine::detail {

namespace {

// What both threads know of; lives in the awaiting coroutine's frame.
struct errand final : played_thread {
  explicit errand(reactor& on) : loop(on), done(on) {}
  reactor& loop;
  event done;
  std::function<void()> work;
  std::exception_ptr exception;  // written by the thread before `done` is posted

  void run() {
    try {
      work();
    } catch (...) {
      exception = std::current_exception();
    }
    // The event is the reactor's; posting takes a mutex, which orders what was written before.
    loop.post([this] { done.set(); });
  }
  void turn() override { run(); }
};

// Signals belong to the reactor's thread.
result<std::thread> start(errand& one) {
  if (kernel_player* player = one.loop.player()) {
    player->notify(one);
    return std::thread();
  }
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  result<std::thread> made = std::thread();
  try {
    made = std::thread([&one] { one.run(); });
  } catch (const std::system_error& failure) {
    made = thread_error(failure.code().value());
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return made;
}

}  // namespace

task<result<void>> run_beside(reactor& loop, std::function<void()> work) {
  errand one(loop);
  one.work = std::move(work);
  const outside_work under_way(loop);
  auto thread = start(one);
  if (!thread) {
    co_return std::move(thread.error());
  }
  auto waiting = one.done.wait();
  auto finished = co_await std::move(waiting);
  BTS3_ASSERT(finished.has_value());
  if (thread->joinable()) {
    thread->join();
  }
  if (one.exception) {
    std::rethrow_exception(one.exception);
  }
  co_return ok();
}

}  // namespace bts3::engine::detail
