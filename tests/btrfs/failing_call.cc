#include "tests/btrfs/failing_call.hh"

#include <dirent.h>
#include <dlfcn.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace bts3::btrfs::testing {

namespace {

struct {
  bool armed = false;
  bool happened = false;
  call which = call::ioctl;
  int error = 0;
  unsigned long request = 0;
  int before = 0;
} plan;

// Whether the call that is being made is the one to fail; errno is set then.
bool fails(call which, unsigned long request = 0) {
  if (!plan.armed || plan.happened || plan.which != which || plan.request != request ||
      plan.before-- > 0) {
    return false;
  }
  plan.happened = true;
  errno = plan.error;
  return true;
}

// libc's own.
template <typename Function>
Function* real(const char* name) {
  void* found = ::dlsym(RTLD_NEXT, name);
  if (found == nullptr) {
    std::fprintf(stderr, "failing_call: libc has no %s\n", name);
    std::abort();
  }
  return reinterpret_cast<Function*>(found);
}

}  // namespace

failing_call::failing_call(call which, int error, unsigned long request, int before) {
  plan = {true, false, which, error, request, before};
}

failing_call::~failing_call() {
  plan.armed = false;
}

bool failing_call::happened() const {
  return plan.happened;
}

}  // namespace bts3::btrfs::testing

// An executable's own definitions come before libc's.
using bts3::btrfs::testing::call;
using bts3::btrfs::testing::fails;
using bts3::btrfs::testing::real;

extern "C" {

int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list list;
  va_start(list, request);
  void* argument = va_arg(list, void*);
  va_end(list);
  return fails(call::ioctl, request)
             ? -1
             : real<int(int, unsigned long, ...)>("ioctl")(fd, request, argument);
}

int fstatfs(int fd, struct statfs* info) noexcept {
  return fails(call::fstatfs) ? -1 : real<int(int, struct statfs*)>("fstatfs")(fd, info);
}

int syncfs(int fd) noexcept {
  return fails(call::syncfs) ? -1 : real<int(int)>("syncfs")(fd);
}

struct dirent* readdir(DIR* directory) {
  return fails(call::readdir) ? nullptr : real<struct dirent*(DIR*)>("readdir")(directory);
}
}
