// The reactor: one thread, one io_uring, one run queue.
//
// Everything that waits in the program waits here, except the hash worker's thread. Coroutines are
// resumed from the run queue only, in the order in which they became ready; completions and stop
// callbacks merely put them there. So no coroutine ever runs inside a callback of the ring or of
// libcurl, and none can starve another: each turn of the loop runs what was ready at its start and
// then looks at the ring again.
//
// Cancellation is true cancellation: stopping an operation asks the kernel to cancel it, and the
// awaiting coroutine resumes when the operation's own completion has arrived. Until then the
// kernel may touch the buffer, so buffers live at least as long as the await.
//
// The ring is made with SINGLE_ISSUER and DEFER_TASKRUN (kernel 6.1), else COOP_TASKRUN (5.19),
// else no flags; create() must be called on the thread that will call run().
#pragma once

#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::engine {

class kernel_player;
class reactor;

struct reactor_options {
  // Submission queue entries; when full it is submitted at once, so this limits batching, not
  // the number of operations in flight.
  unsigned queue_entries = 256;
};

namespace detail {

// One operation in the ring; lives in the awaiting coroutine's frame.
struct ring_operation {
  std::coroutine_handle<> waiter;
  int result = 0;
  bool submitted = false;
  bool completed = false;
  bool aside = false;
};

}  // namespace detail

class reactor {
 public:
  // Fails with a remedy where io_uring is absent, disabled (sysctl kernel.io_uring_disabled),
  // filtered (seccomp) or out of locked memory (RLIMIT_MEMLOCK, kernels before 5.12).
  static result<std::unique_ptr<reactor>> create(reactor_options options = {});
  // One without a ring: `by` plays the kernel, time and other threads. It must outlive it.
  static std::unique_ptr<reactor> played(kernel_player& by);
  ~reactor();
  reactor(const reactor&) = delete;
  reactor& operator=(const reactor&) = delete;

  // Drives the ring until `root` has finished, and returns its value or rethrows its exception.
  template <typename T>
  T run(task<T> root);

  // Runs `work` on the reactor's thread, from the run queue. The one member that any thread may
  // call; ordering between calls of one thread is kept.
  void post(std::function<void()> work);

  // Puts a suspended coroutine into the run queue.
  void resume_later(std::coroutine_handle<> coroutine) {
    ++_moves;
    _ready.push_back(coroutine);
  }

  // Bytes read, 0 at the end of file. Short reads are normal.
  task<result<std::size_t>> read(int fd, std::span<std::byte> into, stop_token stop = {});
  task<result<std::size_t>> read_at(int fd, std::span<std::byte> into, std::uint64_t offset,
                                    stop_token stop = {});
  // READ_FIXED; `into` lies within registered buffer `buffer_index`.
  task<result<std::size_t>> read_fixed(int fd, std::span<std::byte> into, unsigned buffer_index,
                                       stop_token stop = {});
  task<result<std::size_t>> read_fixed_at(int fd, std::span<std::byte> into, unsigned buffer_index,
                                          std::uint64_t offset, stop_token stop = {});
  // A read that is no part of the work, and of which the run may be without for ever: a signal, a
  // child's complaints. See waits_for_nothing().
  task<result<std::size_t>> read_aside(int fd, std::span<std::byte> into, stop_token stop = {});
  // Bytes written; short writes are normal. A pipe without readers gives EPIPE (the program
  // ignores SIGPIPE).
  task<result<std::size_t>> write(int fd, std::span<const std::byte> from, stop_token stop = {});
  task<result<std::size_t>> write_at(int fd, std::span<const std::byte> from, std::uint64_t offset,
                                     stop_token stop = {});
  task<result<std::size_t>> write_fixed_at(int fd, std::span<const std::byte> from,
                                           unsigned buffer_index, std::uint64_t offset,
                                           stop_token stop = {});
  // Writes everything, or fails.
  task<result<void>> write_all(int fd, std::span<const std::byte> from, stop_token stop = {});
  // fdatasync. Covers what was written before it was called.
  task<result<void>> sync_data(int fd);
  // fallocate(2) without flags: allocates the range and makes the file at least that long.
  task<result<void>> allocate(int fd, std::uint64_t offset, std::uint64_t length,
                              stop_token stop = {});
  // Writes the range's dirty pages to the device and waits for that (sync_file_range(2): neither
  // metadata nor a flush of the device's cache).
  task<result<void>> write_back(int fd, std::uint64_t offset, std::uint32_t length,
                                stop_token stop = {});
  // Lets the range's clean pages leave the page cache (POSIX_FADV_DONTNEED).
  task<result<void>> drop_cached(int fd, std::uint64_t offset, std::uint32_t length,
                                 stop_token stop = {});
  // Waits once for any of `events` (POLLIN, ...); returns what is there. Holds a reference to the
  // open file while it waits, so stop it before closing the descriptor.
  task<result<unsigned>> poll(int fd, unsigned events, stop_token stop = {});
  // The same for `at_most` that long: 0 then.
  task<result<unsigned>> poll_within(int fd, unsigned events, std::chrono::nanoseconds at_most,
                                     stop_token stop = {});
  task<result<void>> sleep_until(std::chrono::steady_clock::time_point when, stop_token stop = {});
  task<result<void>> sleep_for(std::chrono::nanoseconds duration, stop_token stop = {});
  // The pause of what looks, counts or tells beside the work, again and again, and of which no work
  // comes.
  task<result<void>> sleep_aside(std::chrono::nanoseconds duration, stop_token stop = {});
  // Goes to the back of the run queue.
  task<void> yield();
  // What the sleeps above count in: std::chrono::steady_clock's, unless it is played.
  [[nodiscard]] std::chrono::steady_clock::time_point now() const;
  // Who plays the kernel; null in the program.
  [[nodiscard]] kernel_player* player() const { return _player; }

  // Makes room for `slots` registered buffers; false where the kernel refuses, and then
  // register_buffer() must not be called.
  [[nodiscard]] bool reserve_buffers(unsigned slots);
  // Registers `memory` (at most 1 GiB, the kernel's limit) as buffer `index`, which pins its pages.
  // ENOMEM is what a user with a small RLIMIT_MEMLOCK gets.
  result<void> register_buffer(unsigned index, std::span<std::byte> memory);
  void unregister_buffers();

  // Operations that the kernel still holds; 0 when nothing was leaked.
  [[nodiscard]] std::size_t operations_in_flight() const { return _in_flight; }

  // Whether nothing is under way that could bring the run on: no operation in the ring but those
  // aside, nothing on another thread (outside_work). Where that stays so while moves() stays the
  // same, every coroutine waits for another one. See engine/standstill.hh.
  [[nodiscard]] bool waits_for_nothing() const {
    return _in_flight == _aside_in_flight && _outside == 0;
  }
  // Grows with everything that goes on, but for what is aside.
  [[nodiscard]] std::uint64_t moves() const { return _moves; }
  // What coroutines wait for within the program, by the names of what they wait at: "2 for room for
  // a part, 1 for a turn to upload". Empty when nobody waits for anything that has a name.
  [[nodiscard]] std::string waits_text() const;

 private:
  friend class outside_work;
  friend class named_wait;
  struct impl;
  class operation_awaiter;
  struct request;

  explicit reactor(std::unique_ptr<impl> ring);
  task<result<int>> perform(request what, stop_token stop);
  // The same for a file that may have been set to O_NONBLOCK: waits for `events` where it answers
  // EAGAIN.
  task<result<int>> perform_when_ready(request what, unsigned events, stop_token stop);
  task<result<std::size_t>> read_pipe(int fd, std::span<std::byte> into, bool aside,
                                      stop_token stop);
  task<result<unsigned>> poll_once(int fd, unsigned events, bool aside, stop_token stop);
  task<result<void>> sleep(std::chrono::steady_clock::time_point when, bool aside, stop_token stop);
  void drive(const bool& done);
  void run_ready();
  void submit(request& what, detail::ring_operation& operation);
  void reap(bool wait);
  void reap_played(bool wait);
  void complete(detail::ring_operation& operation, int outcome);
  [[nodiscard]] std::chrono::steady_clock::time_point after(
      std::chrono::nanoseconds duration) const;
  void arm_wakeup();
  void take_posted();
  void cancel(detail::ring_operation& operation);

  template <typename T>
  static detail::detached run_root(task<T> root, std::optional<T>& value,
                                   std::exception_ptr& exception, bool& done);
  static detail::detached run_root(task<void> root, std::exception_ptr& exception, bool& done);

  std::unique_ptr<impl> _impl;
  kernel_player* _player = nullptr;
  std::vector<std::coroutine_handle<>> _ready;
  std::vector<std::coroutine_handle<>> _running;
  std::size_t _in_flight = 0;
  std::size_t _aside_in_flight = 0;
  std::size_t _outside = 0;
  std::uint64_t _moves = 0;
  // Who waits, by what for; at most as many as there are names in the program.
  std::vector<std::pair<std::string_view, std::size_t>> _waits;
};

// Held on the reactor's thread while another thread does something that the run goes on with.
class outside_work {
 public:
  explicit outside_work(reactor& loop) : _loop(loop) { ++_loop._outside; }
  ~outside_work() { --_loop._outside; }
  outside_work(const outside_work&) = delete;
  outside_work& operator=(const outside_work&) = delete;

 private:
  reactor& _loop;
};

// While it exists, somebody waits for `what` ("room for a part"), a constant; empty: for something
// that is not worth a name.
class named_wait {
 public:
  named_wait(reactor& loop, std::string_view what);
  ~named_wait();
  named_wait(const named_wait&) = delete;
  named_wait& operator=(const named_wait&) = delete;

 private:
  reactor& _loop;
  std::string_view _what;
};

template <typename T>
detail::detached reactor::run_root(task<T> root, std::optional<T>& value,
                                   std::exception_ptr& exception, bool& done) {
  try {
    value.emplace(co_await std::move(root));
  } catch (...) {
    exception = std::current_exception();
  }
  done = true;
}

inline detail::detached reactor::run_root(task<void> root, std::exception_ptr& exception,
                                          bool& done) {
  try {
    co_await std::move(root);
  } catch (...) {
    exception = std::current_exception();
  }
  done = true;
}

template <typename T>
T reactor::run(task<T> root) {
  std::exception_ptr exception;
  bool done = false;
  if constexpr (std::is_void_v<T>) {
    run_root(std::move(root), exception, done);
    drive(done);
    if (exception) {
      std::rethrow_exception(exception);
    }
  } else {
    std::optional<T> value;
    run_root(std::move(root), value, exception, done);
    drive(done);
    if (exception) {
      std::rethrow_exception(exception);
    }
    return std::move(*value);
  }
}

}  // namespace bts3::engine
