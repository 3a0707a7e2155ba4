#include "engine/reactor.hh"

#include "engine/assert.hh"
#include "engine/give_up.hh"
#include "engine/kernel_player.hh"
#include "engine/ring_refusals.hh"
#include "engine/unique_fd.hh"

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

namespace bts3::engine {

namespace {

// One read or write asks for at most this much: the kernel's own limit (MAX_RW_COUNT) is just
// below 2 GiB.
constexpr std::size_t transfer_bytes_max = std::size_t{1} << 30;

// A completion without an operation behind it: an answer to a cancel request, a time limit's.
constexpr std::uint64_t no_operation = 0;

std::span<std::byte> limited(std::span<std::byte> bytes) {
  return bytes.first(std::min(bytes.size(), transfer_bytes_max));
}

std::span<const std::byte> limited(std::span<const std::byte> bytes) {
  return bytes.first(std::min(bytes.size(), transfer_bytes_max));
}

}  // namespace

// A submission entry as one of liburing's io_uring_prep_ functions fills it. In bytes, since g++ 12
// takes no entry, whose last member has no length, into a coroutine's frame.
struct reactor::request {
  explicit request(bool is_aside = false) : aside(is_aside) {}
  io_uring_sqe* entry() { return reinterpret_cast<io_uring_sqe*>(bytes.data()); }
  int fd() { return entry()->fd; }

  alignas(io_uring_sqe) std::array<std::byte, sizeof(io_uring_sqe)> bytes{};
  bool aside;
  // Where it is set the operation is cancelled after that time. Outlives the operation.
  __kernel_timespec* at_most = nullptr;
};

struct reactor::impl {
  ~impl() {
    if (ring_ready) {
      ::io_uring_queue_exit(&ring);
    }
  }

  // A free submission entry, the first of `wanted` free ones; submits what is queued when there are
  // fewer.
  io_uring_sqe* entry(unsigned wanted = 1) {
    while (::io_uring_sq_space_left(&ring) < wanted) {
      refusals.judge(::io_uring_submit(&ring));
    }
    return ::io_uring_get_sqe(&ring);
  }

  // From any thread. The reactor may be asleep, so one try more or less is not left out.
  void wake() const {
    constexpr int tries = 3000;
    constexpr unsigned pause_microseconds = 10'000;
    const std::uint64_t one = 1;
    for (int count = 0; count < tries; ++count) {
      const ssize_t written = ::write(wakeup.get(), &one, sizeof one);
      // EAGAIN means that the counter is full, and then a wake-up is certainly pending.
      if (written == sizeof one || errno == EAGAIN) {
        return;
      }
      ::usleep(pause_microseconds);
    }
    give_up("waking the reactor", errno);
  }

  io_uring ring{};
  ring_refusals refusals;
  bool ring_ready = false;
  unique_fd wakeup;
  detail::ring_operation wakeup_operation;
  std::uint64_t wakeup_count = 0;
  std::mutex posted_mutex;
  std::vector<std::function<void()>> posted;  // guarded by posted_mutex
  std::vector<kernel_player::completion> played;
};

reactor::reactor(std::unique_ptr<impl> ring) : _impl(std::move(ring)) {}

reactor::~reactor() {
  // Only the wake-up read may still be in the ring, and it dies with it.
  BTS3_ASSERT(_in_flight == 0);
  BTS3_ASSERT(_ready.empty());
}

result<std::unique_ptr<reactor>> reactor::create(reactor_options options) {
  BTS3_ASSERT(options.queue_entries >= 8 && options.queue_entries <= 4096);
  auto ring = std::make_unique<impl>();
  const unsigned attempts[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
                               IORING_SETUP_COOP_TASKRUN, 0};
  int refused = 0;
  for (const unsigned flags : attempts) {
    const int code = ::io_uring_queue_init(options.queue_entries, &ring->ring, flags);
    if (code == 0) {
      ring->ring_ready = true;
      break;
    }
    refused = -code;
    if (refused != EINVAL) {
      break;
    }
  }
  if (!ring->ring_ready) {
    return ring_refused(refused);
  }
  ring->wakeup.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!ring->wakeup.valid()) {
    return system_error(errno, "eventfd");
  }
  return std::unique_ptr<reactor>(new reactor(std::move(ring)));
}

std::unique_ptr<reactor> reactor::played(kernel_player& by) {
  std::unique_ptr<reactor> made(new reactor(std::make_unique<impl>()));
  made->_player = &by;
  return made;
}

// Suspends until the operation's completion has been taken from the ring, and resumes from the run
// queue.
class reactor::operation_awaiter {
 public:
  explicit operation_awaiter(detail::ring_operation& operation) : _operation(operation) {}
  [[nodiscard]] bool await_ready() const noexcept { return _operation.completed; }
  void await_suspend(std::coroutine_handle<> waiter) const noexcept { _operation.waiter = waiter; }
  void await_resume() const noexcept {}

 private:
  detail::ring_operation& _operation;
};

void reactor::submit(request& what, detail::ring_operation& operation) {
  ::io_uring_sqe_set_data(what.entry(), &operation);
  request limit;
  if (what.at_most != nullptr) {
    what.entry()->flags |= IOSQE_IO_LINK;
    ::io_uring_prep_link_timeout(limit.entry(), what.at_most, 0);
    ::io_uring_sqe_set_data64(limit.entry(), no_operation);
  }
  if (_player != nullptr) {
    _player->submit(*what.entry());
    if (what.at_most != nullptr) {
      _player->submit(*limit.entry());
    }
    return;
  }
  // Linked entries are submitted together, or the second one is nobody's.
  std::memcpy(_impl->entry(what.at_most != nullptr ? 2 : 1), what.bytes.data(), what.bytes.size());
  if (what.at_most != nullptr) {
    std::memcpy(_impl->entry(), limit.bytes.data(), limit.bytes.size());
  }
}

task<result<int>> reactor::perform(request what, stop_token stop) {
  if (stop.stop_requested()) {
    co_return cancelled_error();
  }
  detail::ring_operation operation;
  submit(what, operation);
  operation.submitted = true;
  operation.aside = what.aside;
  ++_in_flight;
  _aside_in_flight += what.aside ? 1 : 0;

  struct request_cancel {
    reactor* owner;
    detail::ring_operation* target;
    void operator()() const { owner->cancel(*target); }
  };
  {
    stop_callback<request_cancel> on_stop(stop, request_cancel{this, &operation});
    operation_awaiter completion(operation);
    co_await completion;
  }
  if (operation.result == -ECANCELED) {
    co_return cancelled_error();
  }
  co_return operation.result;
}

void reactor::cancel(detail::ring_operation& operation) {
  if (operation.completed) {
    return;
  }
  if (_player != nullptr) {
    _player->cancel(reinterpret_cast<std::uintptr_t>(&operation));
    return;
  }
  io_uring_sqe* sqe = _impl->entry();
  ::io_uring_prep_cancel(sqe, &operation, 0);
  ::io_uring_sqe_set_data64(sqe, no_operation);
}

void reactor::arm_wakeup() {
  if (_impl->wakeup_operation.submitted || _player != nullptr) {
    return;
  }
  io_uring_sqe* sqe = _impl->entry();
  ::io_uring_prep_read(sqe, _impl->wakeup.get(), &_impl->wakeup_count, sizeof _impl->wakeup_count,
                       0);
  ::io_uring_sqe_set_data(sqe, &_impl->wakeup_operation);
  _impl->wakeup_operation.submitted = true;
}

void reactor::take_posted() {
  std::vector<std::function<void()>> work;
  {
    const std::lock_guard lock(_impl->posted_mutex);
    work.swap(_impl->posted);
  }
  _moves += work.size();
  for (auto& function : work) {
    function();
  }
}

void reactor::post(std::function<void()> work) {
  bool first = false;
  {
    const std::lock_guard lock(_impl->posted_mutex);
    first = _impl->posted.empty();
    _impl->posted.push_back(std::move(work));
  }
  if (first && _player != nullptr) {
    _player->wake();
  } else if (first) {
    _impl->wake();
  }
}

void reactor::complete(detail::ring_operation& operation, int outcome) {
  BTS3_ASSERT(_in_flight > 0 && !operation.completed);
  --_in_flight;
  if (operation.aside) {
    --_aside_in_flight;
  } else {
    ++_moves;
  }
  operation.result = outcome;
  operation.completed = true;
  if (operation.waiter) {
    _ready.push_back(operation.waiter);
  }
}

void reactor::reap_played(bool wait) {
  _impl->played.clear();
  const bool woken = _player->reap(wait, _impl->played);
  for (const kernel_player::completion& one : _impl->played) {
    complete(*reinterpret_cast<detail::ring_operation*>(one.user_data), one.result);
  }
  if (woken) {
    take_posted();
  }
}

void reactor::reap(bool wait) {
  if (_player != nullptr) {
    reap_played(wait);
    return;
  }
  const int code = wait ? ::io_uring_submit_and_wait(&_impl->ring, 1)
                        : ::io_uring_submit_and_get_events(&_impl->ring);
  // EBUSY: completions must be taken before more can be submitted, which is what happens next.
  _impl->refusals.judge(code);
  unsigned head = 0;
  unsigned count = 0;
  bool woken = false;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&_impl->ring, head, cqe) {
    ++count;
    auto* operation = static_cast<detail::ring_operation*>(::io_uring_cqe_get_data(cqe));
    if (operation == nullptr) {
      continue;
    }
    if (operation == &_impl->wakeup_operation) {
      operation->submitted = false;
      woken = true;
      continue;
    }
    complete(*operation, cqe->res);
  }
  ::io_uring_cq_advance(&_impl->ring, count);
  if (woken) {
    take_posted();
  }
}

void reactor::run_ready() {
  // What becomes ready meanwhile waits for the next turn, so that the ring is served in between.
  _running.swap(_ready);
  for (const std::coroutine_handle<> coroutine : _running) {
    coroutine.resume();
  }
  _running.clear();
}

void reactor::drive(const bool& done) {
  while (!done) {
    run_ready();
    if (done) {
      break;
    }
    arm_wakeup();
    reap(_ready.empty());
  }
  // Answers to cancel requests may still be on their way; they refer to no memory.
}

namespace {

result<std::size_t> as_count(result<int> outcome, const char* what) {
  if (!outcome) {
    return std::move(outcome.error());
  }
  if (*outcome < 0) {
    return system_error(-*outcome, what);
  }
  return static_cast<std::size_t>(*outcome);
}

result<void> as_nothing(result<int> outcome, const char* what) {
  auto count = as_count(std::move(outcome), what);
  if (!count) {
    return std::move(count.error());
  }
  return ok();
}

result<unsigned> as_events(result<int> outcome) {
  auto events = as_count(std::move(outcome), "poll");
  if (!events) {
    return std::move(events.error());
  }
  return static_cast<unsigned>(*events);
}

__kernel_timespec timespec_of(std::chrono::nanoseconds time) {
  const auto nanoseconds = std::max<std::int64_t>(time.count(), 0);
  __kernel_timespec made{};
  made.tv_sec = nanoseconds / 1'000'000'000;
  made.tv_nsec = nanoseconds % 1'000'000'000;
  return made;
}

unsigned length_of(std::span<const std::byte> bytes) {
  return static_cast<unsigned>(bytes.size());
}

// A file without a position to keep, like a pipe, is read and written at "its own".
constexpr std::uint64_t own_position = static_cast<std::uint64_t>(-1);

}  // namespace

task<result<int>> reactor::perform_when_ready(request what, unsigned events, stop_token stop) {
  const int fd = what.fd();
  for (;;) {
    auto outcome = co_await perform(what, stop);
    if (outcome && *outcome == -EAGAIN) {
      auto ready = co_await poll_once(fd, events, what.aside, stop);
      if (!ready) {
        co_return std::move(ready.error());
      }
      continue;
    }
    if (outcome && *outcome == -EINTR) {
      continue;
    }
    co_return outcome;
  }
}

task<result<std::size_t>> reactor::read_pipe(int fd, std::span<std::byte> into, bool aside,
                                             stop_token stop) {
  request what(aside);
  into = limited(into);
  ::io_uring_prep_read(what.entry(), fd, into.data(), length_of(into), own_position);
  auto outcome = co_await perform_when_ready(what, POLLIN, stop);
  co_return as_count(std::move(outcome), "read");
}

task<result<std::size_t>> reactor::read(int fd, std::span<std::byte> into, stop_token stop) {
  return read_pipe(fd, into, false, std::move(stop));
}

task<result<std::size_t>> reactor::read_aside(int fd, std::span<std::byte> into, stop_token stop) {
  return read_pipe(fd, into, true, std::move(stop));
}

task<result<std::size_t>> reactor::read_fixed(int fd, std::span<std::byte> into,
                                              unsigned buffer_index, stop_token stop) {
  request what;
  into = limited(into);
  ::io_uring_prep_read_fixed(what.entry(), fd, into.data(), length_of(into), own_position,
                             static_cast<int>(buffer_index));
  auto outcome = co_await perform_when_ready(what, POLLIN, stop);
  co_return as_count(std::move(outcome), "read");
}

task<result<std::size_t>> reactor::read_at(int fd, std::span<std::byte> into, std::uint64_t offset,
                                           stop_token stop) {
  request what;
  into = limited(into);
  ::io_uring_prep_read(what.entry(), fd, into.data(), length_of(into), offset);
  auto outcome = co_await perform(what, stop);
  co_return as_count(std::move(outcome), "read");
}

task<result<std::size_t>> reactor::read_fixed_at(int fd, std::span<std::byte> into,
                                                 unsigned buffer_index, std::uint64_t offset,
                                                 stop_token stop) {
  request what;
  into = limited(into);
  ::io_uring_prep_read_fixed(what.entry(), fd, into.data(), length_of(into), offset,
                             static_cast<int>(buffer_index));
  auto outcome = co_await perform(what, stop);
  co_return as_count(std::move(outcome), "read");
}

task<result<std::size_t>> reactor::write(int fd, std::span<const std::byte> from, stop_token stop) {
  request what;
  from = limited(from);
  ::io_uring_prep_write(what.entry(), fd, from.data(), length_of(from), own_position);
  auto outcome = co_await perform_when_ready(what, POLLOUT, stop);
  co_return as_count(std::move(outcome), "write");
}

task<result<std::size_t>> reactor::write_at(int fd, std::span<const std::byte> from,
                                            std::uint64_t offset, stop_token stop) {
  request what;
  from = limited(from);
  ::io_uring_prep_write(what.entry(), fd, from.data(), length_of(from), offset);
  auto outcome = co_await perform(what, stop);
  co_return as_count(std::move(outcome), "write");
}

task<result<std::size_t>> reactor::write_fixed_at(int fd, std::span<const std::byte> from,
                                                  unsigned buffer_index, std::uint64_t offset,
                                                  stop_token stop) {
  request what;
  from = limited(from);
  ::io_uring_prep_write_fixed(what.entry(), fd, from.data(), length_of(from), offset,
                              static_cast<int>(buffer_index));
  auto outcome = co_await perform(what, stop);
  co_return as_count(std::move(outcome), "write");
}

task<result<void>> reactor::allocate(int fd, std::uint64_t offset, std::uint64_t length,
                                     stop_token stop) {
  request what;
  ::io_uring_prep_fallocate(what.entry(), fd, 0, offset, length);
  auto outcome = co_await perform(what, stop);
  co_return as_nothing(std::move(outcome), "fallocate");
}

task<result<void>> reactor::write_back(int fd, std::uint64_t offset, std::uint32_t length,
                                       stop_token stop) {
  request what;
  ::io_uring_prep_sync_file_range(
      what.entry(), fd, length, offset,
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
  auto outcome = co_await perform(what, stop);
  co_return as_nothing(std::move(outcome), "sync_file_range");
}

task<result<void>> reactor::drop_cached(int fd, std::uint64_t offset, std::uint32_t length,
                                        stop_token stop) {
  request what;
  ::io_uring_prep_fadvise(what.entry(), fd, offset, length, POSIX_FADV_DONTNEED);
  auto outcome = co_await perform(what, stop);
  co_return as_nothing(std::move(outcome), "posix_fadvise");
}

task<result<void>> reactor::write_all(int fd, std::span<const std::byte> from, stop_token stop) {
  while (!from.empty()) {
    auto written = co_await write(fd, from, stop);
    if (!written) {
      co_return std::move(written.error());
    }
    from = from.subspan(*written);
  }
  co_return ok();
}

task<result<void>> reactor::sync_data(int fd) {
  request what;
  ::io_uring_prep_fsync(what.entry(), fd, IORING_FSYNC_DATASYNC);
  auto outcome = co_await perform(what, {});
  co_return as_nothing(std::move(outcome), "fdatasync");
}

task<result<unsigned>> reactor::poll(int fd, unsigned events, stop_token stop) {
  return poll_once(fd, events, false, std::move(stop));
}

task<result<unsigned>> reactor::poll_once(int fd, unsigned events, bool aside, stop_token stop) {
  request what(aside);
  ::io_uring_prep_poll_add(what.entry(), fd, events);
  auto outcome = co_await perform(what, stop);
  co_return as_events(std::move(outcome));
}

task<result<unsigned>> reactor::poll_within(int fd, unsigned events,
                                            std::chrono::nanoseconds at_most, stop_token stop) {
  __kernel_timespec limit = timespec_of(at_most);
  request what;
  what.at_most = &limit;
  ::io_uring_prep_poll_add(what.entry(), fd, events);
  auto outcome = co_await perform(what, stop);
  if (!outcome && !stop.stop_requested()) {
    co_return 0U;  // cancelled by its time
  }
  co_return as_events(std::move(outcome));
}

task<result<void>> reactor::sleep(std::chrono::steady_clock::time_point when, bool aside,
                                  stop_token stop) {
  // std::chrono::steady_clock is CLOCK_MONOTONIC, which is what IORING_OP_TIMEOUT counts in.
  __kernel_timespec deadline = timespec_of(when.time_since_epoch());
  request what(aside);
  ::io_uring_prep_timeout(what.entry(), &deadline, 0, IORING_TIMEOUT_ABS);
  auto outcome = co_await perform(what, stop);
  if (!outcome) {
    co_return std::move(outcome.error());
  }
  if (*outcome < 0 && *outcome != -ETIME) {
    co_return system_error(-*outcome, "timer");
  }
  co_return ok();
}

bool reactor::reserve_buffers(unsigned slots) {
  return _player != nullptr || ::io_uring_register_buffers_sparse(&_impl->ring, slots) == 0;
}

result<void> reactor::register_buffer(unsigned index, std::span<std::byte> memory) {
  if (_player != nullptr) {
    return ok();
  }
  iovec where{memory.data(), memory.size()};
  const __u64 tag = 0;
  const int code = ::io_uring_register_buffers_update_tag(&_impl->ring, index, &where, &tag, 1);
  if (code < 0) {
    return system_error(-code, "registering a buffer with io_uring");
  }
  return ok();
}

void reactor::unregister_buffers() {
  if (_player != nullptr) {
    return;
  }
  ::io_uring_unregister_buffers(&_impl->ring);
}

}  // namespace bts3::engine
