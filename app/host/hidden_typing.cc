#include "app/host/hidden_typing.hh"

#include "engine/plain_text.hh"
#include "engine/unique_fd.hh"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::secret_string;
using engine::task;

// A buffer for what may be a secret.
struct wiped_buffer {
  std::array<char, typed_bytes_max> bytes{};
  ~wiped_buffer() { engine::wipe(std::as_writable_bytes(std::span(bytes))); }
};

void show(int fd, std::string_view text) {
  const std::string printable = engine::printable_lines(text);
  // Who cannot be asked will not answer: then reading says so.
  (void)!::write(fd, printable.data(), printable.size());
}

}  // namespace

without_echo::without_echo(int fd) : _fd(fd), _changed(::tcgetattr(fd, &_before) == 0) {
  if (_changed) {
    termios modes = _before;
    modes.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    modes.c_cc[VSUSP] = _POSIX_VDISABLE;
    modes.c_cc[VQUIT] = _POSIX_VDISABLE;
    _changed = ::tcsetattr(_fd, TCSADRAIN, &modes) == 0;
  }
}

without_echo::~without_echo() {
  if (_changed) {
    ::tcsetattr(_fd, _forget ? TCSAFLUSH : TCSADRAIN, &_before);
  }
}

task<result<std::optional<secret_string>>> typed_line(engine::reactor& loop, int fd,
                                                      engine::stop_token stop) {
  wiped_buffer buffer;
  std::size_t size = 0;
  while (size < buffer.bytes.size()) {
    // In canonical mode there is something to read once a line is whole.
    auto waiting = loop.poll(fd, POLLIN, stop);
    auto ready = co_await std::move(waiting);
    if (!ready) {
      co_return std::move(ready.error());
    }
    const ssize_t count = ::read(fd, buffer.bytes.data() + size, buffer.bytes.size() - size);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) {
      continue;
    }
    if (count <= 0) {
      co_return std::optional<secret_string>();
    }
    size += static_cast<std::size_t>(count);
    std::string_view text(buffer.bytes.data(), size);
    if (text.ends_with('\n')) {
      text.remove_suffix(1);
      co_return std::optional(secret_string(text));
    }
  }
  error failure;
  failure.message = "an answer has more than " + std::to_string(typed_bytes_max) + " bytes";
  failure.remedy = "give a shorter one";
  co_return failure;
}

task<result<secret_string>> ask_at_terminal(engine::reactor& loop, engine::stop_token stop,
                                            std::string question, std::string remedy) {
  const engine::unique_fd terminal(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!terminal.valid()) {
    error failure = engine::system_error(errno, "there is no terminal to ask at: /dev/tty");
    failure.what_now = engine::disposition::fail;
    failure.why = engine::reason::configuration;
    failure.remedy = std::move(remedy);
    co_return failure;
  }
  without_echo hidden(terminal.get());
  if (!hidden.done()) {
    co_return engine::system_error(errno, "hiding what is typed", std::move(remedy));
  }
  show(terminal.get(), question + ": ");
  auto reading = typed_line(loop, terminal.get(), stop);
  auto line = co_await std::move(reading);
  show(terminal.get(), "\n");
  if (!line) {
    hidden.forget_rest();
    co_return std::move(line.error());
  }
  if (!*line) {
    hidden.forget_rest();
    error failure;
    failure.message = "the terminal's input ended before the answer";
    failure.remedy = std::move(remedy);
    co_return failure;
  }
  co_return std::move(**line);
}

}  // namespace bts3::app
