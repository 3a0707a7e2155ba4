// What the kernel refuses of io_uring, and what follows.
#pragma once

#include "engine/error.hh"

namespace bts3::engine {

// Setting a ring up was refused with errno `err`: says what to change on this host.
error ring_refused(int err);

// What io_uring_enter(2) refuses for the moment is asked for again, with pauses; without the ring
// nothing can be waited for, so what it refuses for good ends the program.
class ring_refusals {
 public:
  // `code` as liburing's submit functions return it: a count, or a negative errno.
  void judge(int code);

 private:
  int _in_a_row = 0;
};

}  // namespace bts3::engine
