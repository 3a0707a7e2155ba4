#include "app/host/process_start.hh"

#include "engine/give_up.hh"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

namespace bts3::app {

namespace {

// In ascending order, so that each open() finds the lowest free number to be the one.
void open_standard_descriptors() {
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(number, F_GETFD) < 0 && errno == EBADF) {
      // The wrong way round: reading, or writing, still fails with EBADF.
      (void)::open("/dev/null", number == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
  }
}

// Neither is worth failing for: the unit's filter may refuse the limit, and has one of its own.
void forbid_core_dumps() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_CORE, &limit) == 0) {
    limit.rlim_cur = 0;  // hooks may raise it again
    (void)::setrlimit(RLIMIT_CORE, &limit);
  }
  (void)::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

}  // namespace

void prepare_process() {
  engine::give_up_without_memory();
  open_standard_descriptors();
  forbid_core_dumps();
}

}  // namespace bts3::app
