// What is typed at a terminal and must not be seen there.
#pragma once

#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/secret_string.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <termios.h>

#include <optional>
#include <string>

namespace bts3::app {

// While it exists, the terminal `fd` shows nothing of what is typed, and the keys after which it
// would (Ctrl-Z, Ctrl-\) do nothing; Ctrl-C is a signal as always, which is a stop here. Its modes
// are as before afterwards, however it ends.
class without_echo {
 public:
  // `fd` must stay open while this exists.
  explicit without_echo(int fd);
  ~without_echo();
  without_echo(const without_echo&) = delete;
  without_echo& operator=(const without_echo&) = delete;
  [[nodiscard]] bool done() const { return _changed; }
  // What was typed and not read is thrown away at the end, or the shell would show it.
  void forget_rest() { _forget = true; }

 private:
  int _fd;
  termios _before{};
  bool _changed;
  bool _forget = false;
};

// More than a line of a terminal in canonical mode (N_TTY_BUF_SIZE, 4096).
inline constexpr std::size_t typed_bytes_max = 8192;

// One line without its end, of typed_bytes_max at most; nullopt where the input ended before. No
// copy of it stays. `cancelled` when stopped.
[[nodiscard]] engine::task<engine::result<std::optional<engine::secret_string>>> typed_line(
    engine::reactor& loop, int fd, engine::stop_token stop);

// A line that is typed unseen at the terminal of this process (/dev/tty), whatever standard input
// and output are; blanks belong to it. `remedy` says what else can be done where there is none.
[[nodiscard]] engine::task<engine::result<engine::secret_string>> ask_at_terminal(
    engine::reactor& loop, engine::stop_token stop, std::string question, std::string remedy);

}  // namespace bts3::app
