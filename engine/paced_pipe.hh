// A pipe that is read less often while its sender is the slower one.
//
// A sender of small commands (`btrfs send` of small files: 80 bytes to a few KiB at a time) wakes a
// reader that always waits for each of them: 640,000 times a GiB, which costs both sides more than
// the bytes do. So after a read that found little the reader pauses while the pipe fills: as long
// as the sender, at the rate at which it wrote last, or at 1 GiB/s if that was slower, needs for
// half of it. That is half a millisecond at most for a pipe of 1 MiB, so that a sender that speeds
// up meanwhile is not kept waiting, nor one that fills the pipe's 256 places with small pieces
// (`btrfs send` splices, and what is spliced is not put together in pages). A pause ends with the
// sender's process: the end of a stream is not seen later. (The pipe's own hang-up would say the
// same, but who waits for that is woken by all that is spliced.)
#pragma once

#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <chrono>
#include <cstddef>
#include <span>

namespace bts3::engine {

// Where a stream comes from.
struct sender_pipe {
  sender_pipe(int pipe, int sender_ended = -1) : fd(pipe), exit_fd(sender_ended) {}

  int fd;
  // Can be read from once the sender has ended (child_process::exit_fd()); -1: nobody knows, and
  // the end of the stream may be seen a pause later.
  int exit_fd;
};

class paced_pipe {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  // The descriptors must outlive it. For what is no pipe there are no pauses.
  explicit paced_pipe(sender_pipe from);
  // As if the pipe held `pipe_bytes`.
  paced_pipe(sender_pipe from, std::size_t pipe_bytes) : _from(from), _pipe_bytes(pipe_bytes) {}

  [[nodiscard]] int fd() const { return _from.fd; }
  // How long to wait before the next read; zero: not at all.
  [[nodiscard]] std::chrono::nanoseconds pause(time_point now) const;
  // Suspends for that long, or until the sender has ended.
  task<result<void>> wait(reactor& loop, std::chrono::nanoseconds pause, stop_token stop) const;
  // A read has brought `bytes` at `now`.
  void note(std::size_t bytes, time_point now);
  // All of that: reads once, after the pause that is due. 0 at the end.
  task<result<std::size_t>> read(reactor& loop, std::span<std::byte> into, stop_token stop);

 private:
  sender_pipe _from;
  std::size_t _pipe_bytes = 0;        // 0: no pipe
  std::chrono::nanoseconds _goal{0};  // from the last read to the next
  time_point _read_at{};
};

}  // namespace bts3::engine
