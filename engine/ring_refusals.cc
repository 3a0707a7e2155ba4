#include "engine/ring_refusals.hh"

#include "engine/give_up.hh"

#include <cerrno>

#include <unistd.h>

namespace bts3::engine {

namespace {

constexpr int refusals_in_a_row_max = 3000;  // half a minute
constexpr unsigned pause_microseconds = 10'000;

}  // namespace

error ring_refused(int err) {
  error failure = system_error(err, "io_uring cannot be set up");
  failure.what_now = disposition::fail;
  switch (err) {
    case ENOSYS:
      failure.remedy = "this needs Linux 5.15 or newer with io_uring compiled in";
      break;
    case EPERM:
    case EACCES:
      failure.remedy =
          "io_uring is forbidden here: check `sysctl kernel.io_uring_disabled` (0 allows it) and "
          "the seccomp filter of the container or unit (it must admit io_uring_setup, "
          "io_uring_enter and io_uring_register)";
      break;
    case ENOMEM:
      failure.remedy =
          "the limit on locked memory is too small for this kernel: raise it "
          "(`ulimit -l`, or LimitMEMLOCK= in the unit)";
      break;
    default:
      break;
  }
  return failure;
}

void ring_refusals::judge(int code) {
  if (code >= 0 || code == -EINTR || code == -EBUSY || code == -EAGAIN) {
    _in_a_row = 0;
    return;
  }
  if (code != -ENOMEM || ++_in_a_row > refusals_in_a_row_max) {
    give_up("io_uring_enter", -code);
  }
  ::usleep(pause_microseconds);
}

}  // namespace bts3::engine
