#include "engine/pipe_writer.hh"

#include <fcntl.h>

#include <algorithm>
#include <utility>

namespace bts3::engine {

namespace {

// Shorter pauses cost more than the switches that they save; longer ones save hardly more.
constexpr std::chrono::microseconds pause_min{100};
constexpr std::chrono::microseconds pause_max{3'200};
// Linux's default, for what is not a pipe.
constexpr std::size_t capacity_default = 64 * 1024;

std::size_t capacity_of(int fd) {
  const int bytes = ::fcntl(fd, F_GETPIPE_SZ);
  return bytes > 0 ? static_cast<std::size_t>(bytes) : capacity_default;
}

}  // namespace

pipe_writer::pipe_writer(reactor& loop, int fd)
    : _loop(loop), _fd(fd), _capacity(capacity_of(fd)) {}

void pipe_writer::learn(std::size_t written) {
  if (written >= _capacity / 4 * 3) {
    _pause = _pause > pause_min ? _pause / 2 : std::chrono::microseconds(0);
  } else if (written <= _capacity / 4) {
    _pause = std::clamp(_pause * 2, pause_min, pause_max);
  }
}

task<result<void>> pipe_writer::write_all(std::span<const std::byte> bytes, stop_token stop) {
  while (!bytes.empty()) {
    auto writing = _loop.write(_fd, bytes, stop);
    auto written = co_await std::move(writing);
    if (!written) {
      co_return std::move(written.error());
    }
    bytes = bytes.subspan(*written);
    if (bytes.empty()) {
      break;
    }
    learn(*written);
    if (_pause > std::chrono::microseconds(0)) {
      auto sleeping = _loop.sleep_for(_pause, stop);
      auto slept = co_await std::move(sleeping);
      if (!slept) {
        co_return std::move(slept.error());
      }
    }
  }
  co_return ok();
}

}  // namespace bts3::engine
