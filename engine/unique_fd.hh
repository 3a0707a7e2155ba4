// A file descriptor with an owner.
#pragma once

#include <unistd.h>

#include <utility>

namespace bts3::engine {

// Closes its descriptor when destroyed. Errors of close(2) are not reported: whoever must know that
// data is durable calls fsync before.
class unique_fd {
 public:
  unique_fd() = default;
  explicit unique_fd(int fd) : _fd(fd) {}
  unique_fd(unique_fd&& other) noexcept : _fd(std::exchange(other._fd, -1)) {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    if (this != &other) {
      reset(std::exchange(other._fd, -1));
    }
    return *this;
  }
  ~unique_fd() { reset(); }

  [[nodiscard]] int get() const { return _fd; }
  [[nodiscard]] bool valid() const { return _fd >= 0; }
  [[nodiscard]] int release() { return std::exchange(_fd, -1); }
  void reset(int fd = -1) {
    const int old = std::exchange(_fd, fd);
    if (old >= 0) {
      ::close(old);
    }
  }

 private:
  int _fd = -1;
};

}  // namespace bts3::engine
