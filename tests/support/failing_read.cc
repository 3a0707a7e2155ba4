#include "tests/support/failing_read.hh"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string_view>

namespace bts3::testing {

namespace {

struct {
  bool armed = false;
  bool happened = false;
  char path[PATH_MAX] = {};
  int before = 0;
} plan;

bool is_of_plan(int fd) {
  char name[64];
  std::snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  char target[PATH_MAX];
  const ssize_t length = ::readlink(name, target, sizeof target - 1);
  if (length <= 0) {
    return false;
  }
  target[length] = '\0';
  const std::string_view found(target);
  return plan.path[0] == '*' ? found.ends_with(plan.path + 1) : found == plan.path;
}

}  // namespace

failing_read::failing_read(const std::string& path, int before) {
  char real[PATH_MAX];
  plan.happened = false;
  plan.before = before;
  std::snprintf(plan.path, sizeof plan.path, "%s",
                ::realpath(path.c_str(), real) != nullptr ? real : path.c_str());
  plan.armed = true;
}

failing_read::~failing_read() {
  plan.armed = false;
}

bool failing_read::happened() const {
  return plan.happened;
}

}  // namespace bts3::testing

namespace {

// Whether this read is to fail.
bool fails(int fd) {
  using bts3::testing::is_of_plan;
  using bts3::testing::plan;
  if (plan.armed && is_of_plan(fd) && plan.before-- <= 0) {
    plan.happened = true;
    errno = EIO;
    return true;
  }
  return false;
}

}  // namespace

extern "C" ssize_t read(int fd, void* buffer, size_t count) {
  using function = ssize_t(int, void*, size_t);
  static auto* const real = reinterpret_cast<function*>(::dlsym(RTLD_NEXT, "read"));
  return fails(fd) ? -1 : real(fd, buffer, count);
}

extern "C" ssize_t pread(int fd, void* buffer, size_t count, off_t at) {
  using function = ssize_t(int, void*, size_t, off_t);
  static auto* const real = reinterpret_cast<function*>(::dlsym(RTLD_NEXT, "pread"));
  return fails(fd) ? -1 : real(fd, buffer, count, at);
}
