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
  return std::string_view(target) == plan.path;
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

extern "C" ssize_t read(int fd, void* buffer, size_t count) {
  using bts3::testing::is_of_plan;
  using bts3::testing::plan;
  if (plan.armed && is_of_plan(fd) && plan.before-- <= 0) {
    plan.happened = true;
    errno = EIO;
    return -1;
  }
  static const auto real =
      reinterpret_cast<ssize_t (*)(int, void*, size_t)>(::dlsym(RTLD_NEXT, "read"));
  return real(fd, buffer, count);
}
