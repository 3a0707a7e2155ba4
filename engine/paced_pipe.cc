#include "engine/paced_pipe.hh"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <utility>

namespace bts3::engine {

namespace {

using std::chrono::nanoseconds;

// A read that brought a sixteenth of the pipe is worth its wake-up.
constexpr std::size_t little_divisor = 16;

// A poll with a time limit costs about this much itself.
constexpr nanoseconds pause_min = std::chrono::microseconds(50);

// What a sender of 1 GiB/s takes for a byte is a nanosecond.
constexpr nanoseconds fast_senders_time(std::size_t bytes) {
  return nanoseconds(static_cast<nanoseconds::rep>(bytes));
}

}  // namespace

paced_pipe::paced_pipe(sender_pipe from) : _from(from) {
  const int bytes = ::fcntl(from.fd, F_GETPIPE_SZ);
  _pipe_bytes = bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

nanoseconds paced_pipe::pause(time_point now) const {
  const nanoseconds rest = _goal - (now - _read_at);
  return rest < pause_min ? nanoseconds(0) : rest;
}

task<result<void>> paced_pipe::wait(reactor& loop, nanoseconds pause, stop_token stop) const {
  if (_from.exit_fd < 0) {
    auto sleeping = loop.sleep_for(pause, stop);
    co_return co_await std::move(sleeping);
  }
  auto waiting = loop.poll_within(_from.exit_fd, POLLIN, pause, stop);
  auto waited = co_await std::move(waiting);
  if (!waited) {
    co_return std::move(waited.error());
  }
  co_return ok();
}

void paced_pipe::note(std::size_t bytes, time_point now) {
  _goal = nanoseconds(0);
  if (bytes > 0 && bytes < _pipe_bytes / little_divisor && _read_at != time_point()) {
    const nanoseconds most = fast_senders_time(_pipe_bytes / 2);
    const auto fills_half = static_cast<nanoseconds::rep>(_pipe_bytes / 2 / bytes);
    const nanoseconds since = now - _read_at;
    _goal = since > most / fills_half ? most : since * fills_half;
  }
  _read_at = now;
}

task<result<std::size_t>> paced_pipe::read(reactor& loop, std::span<std::byte> into,
                                           stop_token stop) {
  const nanoseconds rest = pause(loop.now());
  if (rest.count() > 0) {
    auto waiting = wait(loop, rest, stop);
    auto waited = co_await std::move(waiting);
    if (!waited) {
      co_return std::move(waited.error());
    }
  }
  auto reading = loop.read(_from.fd, into, stop);
  auto got = co_await std::move(reading);
  if (got) {
    note(*got, loop.now());
  }
  co_return got;
}

}  // namespace bts3::engine
