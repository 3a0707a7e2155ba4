#include "app/host/dialogue.hh"

#include "engine/plain_text.hh"

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <span>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::secret_string;
using engine::task;

// More than a line of a terminal in canonical mode (N_TTY_BUF_SIZE, 4096).
constexpr std::size_t line_bytes_max = 8192;

// What is typed is not shown meanwhile, and Ctrl-Z, after which it would be, does nothing.
class without_echo {
 public:
  without_echo() : _changed(::tcgetattr(STDIN_FILENO, &_before) == 0) {
    if (_changed) {
      termios modes = _before;
      modes.c_lflag &= ~static_cast<tcflag_t>(ECHO);
      modes.c_cc[VSUSP] = _POSIX_VDISABLE;
      _changed = ::tcsetattr(STDIN_FILENO, TCSADRAIN, &modes) == 0;
    }
  }
  ~without_echo() {
    if (_changed) {
      ::tcsetattr(STDIN_FILENO, TCSADRAIN, &_before);
    }
  }
  without_echo(const without_echo&) = delete;
  without_echo& operator=(const without_echo&) = delete;
  [[nodiscard]] bool done() const { return _changed; }

 private:
  termios _before{};
  bool _changed;
};

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(blanks);
  return first == std::string_view::npos
             ? std::string_view()
             : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

// A buffer for what may be a secret.
struct wiped_buffer {
  std::array<char, line_bytes_max> bytes{};
  ~wiped_buffer() { engine::wipe(std::as_writable_bytes(std::span(bytes))); }
};

}  // namespace

bool dialogue::possible() {
  return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1;
}

void dialogue::say(std::string_view text) {
  std::fputs(engine::printable_lines(text).c_str(), stderr);
}

task<result<secret_string>> dialogue::line() {
  wiped_buffer buffer;
  std::size_t size = 0;
  while (size < buffer.bytes.size()) {
    // In canonical mode there is something to read once a line is whole.
    auto waiting = _loop.poll(STDIN_FILENO, POLLIN, _stop);
    auto ready = co_await std::move(waiting);
    if (!ready) {
      say("\n");
      co_return std::move(ready.error());
    }
    const ssize_t count =
        ::read(STDIN_FILENO, buffer.bytes.data() + size, buffer.bytes.size() - size);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) {
      continue;
    }
    if (count <= 0) {
      say("\n");
      error failure;
      failure.message = "the input ended before the last answer; nothing was written";
      failure.remedy = "answer every question, or give the answers as options";
      co_return failure;
    }
    size += static_cast<std::size_t>(count);
    const std::string_view text(buffer.bytes.data(), size);
    if (text.ends_with('\n')) {
      co_return secret_string(trimmed(text));
    }
  }
  error failure;
  failure.message = "an answer has more than " + std::to_string(line_bytes_max) + " bytes";
  failure.remedy = "give a shorter one";
  co_return failure;
}

task<result<std::string>> dialogue::ask(std::string question, std::string proposal) {
  say(question + (proposal.empty() ? ": " : " [" + engine::printable(proposal) + "]: "));
  auto reading = line();
  auto answer = co_await std::move(reading);
  if (!answer) {
    co_return std::move(answer.error());
  }
  co_return answer->empty() ? std::move(proposal) : std::string(answer->view());
}

task<result<bool>> dialogue::agree(std::string question, bool proposal) {
  for (;;) {
    say(question + (proposal ? " [Y/n]: " : " [y/N]: "));
    auto reading = line();
    auto answer = co_await std::move(reading);
    if (!answer) {
      co_return std::move(answer.error());
    }
    const std::string_view word = answer->view();
    if (word.empty()) {
      co_return proposal;
    }
    for (const std::string_view one : {"y", "Y", "yes", "Yes", "n", "N", "no", "No"}) {
      if (word == one) {
        co_return one.front() == 'y' || one.front() == 'Y';
      }
    }
    say("Answer y or n.\n");
  }
}

task<result<secret_string>> dialogue::ask_secret(std::string question) {
  const without_echo hidden;
  if (!hidden.done()) {
    error failure = engine::system_error(errno, "hiding what is typed");
    failure.remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead";
    co_return failure;
  }
  say(question + ": ");
  auto reading = line();
  auto answer = co_await std::move(reading);
  if (answer) {
    say("\n");
  }
  co_return answer;
}

}  // namespace bts3::app
