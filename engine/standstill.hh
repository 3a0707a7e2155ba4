// Whether a run stands still: every coroutine waits for another one, and nothing outside that could
// bring any of them on is under way. Such a run never ends.
//
// engine/README.md says why no circle of waits can close; this is for the one that does so all the
// same. What a run waits for outside has an end of its own or a limit where it is waited for, so it
// is no standstill however long it takes: a child, the store, a disk, another thread, a timer. What
// looks on beside the work, again and again, is no movement (reactor::read_aside, sleep_aside).
//
// The reactor is looked at several times within the limit, and each look must find nothing under
// way and nothing moved since the one before. So neither a loop that one call has held up (a disk
// that hangs), nor a process that was stopped and continued, is taken for one that stands still:
// however long that took, it was one look.
#pragma once

#include "engine/reactor.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <chrono>

namespace bts3::engine {

struct standstill_limits {
  // Longer than any pause between two steps of a run that goes on: what is waited for outside does
  // not count, and within the program nothing takes more than the digest of a part of 5 GiB.
  std::chrono::nanoseconds limit = std::chrono::minutes(15);
  unsigned looks = 15;
};

// Resumes with true, from the run queue, once the reactor has stood still for the limit; with false
// when `until` stops before.
task<bool> until_it_stands_still(reactor& loop, standstill_limits limits, stop_token until);

}  // namespace bts3::engine
