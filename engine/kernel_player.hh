// Who stands in for the kernel, time and other threads where a reactor is played: a simulation
// (tests/simulation/). A history of the engine's real code then depends on nothing but what the
// player draws, and can be told again.
//
// The program has none. It pays for the possibility by comparing a pointer with null where it would
// be asked: once for each operation of the ring, each turn of the loop and each wake-up, which are
// system calls otherwise; never for each byte.
//
// Everything is called on the reactor's thread. A player shows what the kernel may do: operations
// complete in any order, short, late, and after they were cancelled as if they had not been. What
// two threads do to each other's memory it cannot show: that is ThreadSanitizer's.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

struct io_uring_sqe;

namespace bts3::engine {

// What is a thread of its own in the program.
class played_thread {
 public:
  // Goes on, and returns where a thread would wait for something.
  virtual void turn() = 0;

 protected:
  ~played_thread() = default;
};

class kernel_player {
 public:
  struct completion {
    std::uint64_t user_data = 0;
    int result = 0;  // as a completion entry has it: a count or a negative errno
  };
  virtual ~kernel_player() = default;

  // CLOCK_MONOTONIC, which timeouts of the ring are in.
  [[nodiscard]] virtual std::chrono::steady_clock::time_point now() const = 0;

  // An entry as one of liburing's io_uring_prep_ functions fills it, gone when this returns. What
  // its addresses refer to stays until it has completed, but for a timeout's time. One that is
  // linked (IOSQE_IO_LINK) is followed by its IORING_OP_LINK_TIMEOUT at once.
  virtual void submit(const io_uring_sqe& entry) = 0;
  // As IORING_OP_ASYNC_CANCEL of an operation that has not completed: it completes all the same.
  virtual void cancel(std::uint64_t user_data) = 0;
  // There is posted work: reap() returns true for it, once.
  virtual void wake() = 0;
  // Appends what has completed; with `wait` suspends the world until there is any, or posted work.
  [[nodiscard]] virtual bool reap(bool wait, std::vector<completion>& into) = 0;

  // What `one` waits for may be there: it gets a turn, later. Several calls before are one.
  virtual void notify(played_thread& one) = 0;
  // It gets no turn any more.
  virtual void forget(played_thread& one) = 0;
};

}  // namespace bts3::engine
