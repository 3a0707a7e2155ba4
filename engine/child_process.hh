// A child process, from argv to exit status, without a shell and without waitpid races.
//
// The child gets /dev/null or the given descriptors as stdin and stdout and a pipe as stderr, which
// is always drained, so that a chatty child never blocks; the last 8 KiB are kept to be quoted. It
// runs in a process group of its own: a Ctrl-C at the terminal reaches us, and we decide how it
// ends. Exit is noticed through a pidfd. A started child must be waited for before the object is
// destroyed.
//
// A child does not survive us by much: its pipes to us break.
#pragma once

#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "engine/unique_fd.hh"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

namespace bts3::engine {

// The file that is run for argv[0] = `name`: a path as it is, unlooked at, or a name searched in
// PATH, /usr/sbin and /sbin; the error of a name that is not there has its remedy.
result<std::string> find_program(const std::string& name);

struct child_options {
  std::vector<std::string> argv;  // argv[0]: see find_program()
  int stdin_fd = -1;              // duplicated; stays the caller's. -1: /dev/null
  int stdout_fd = -1;             // likewise
  int kept_fd = -1;  // stays open in the child, as descriptor 3: for a lock that it shares
  std::vector<std::string> environment_additions;  // "NAME=value", override inherited ones
  // When set, called on a thread of its own, which then starts the child and ends: what a child
  // inherits of the thread that starts it, as namespaces, can be made there. An error is spawn()'s.
  std::function<result<void>()> before_start;
  // Between SIGTERM and SIGKILL.
  std::chrono::milliseconds kill_after{5'000};
};

struct child_exit {
  int exit_code = -1;       // -1 when a signal ended it
  int signal = 0;           // 0 when it exited by itself
  std::string stderr_tail;  // at most the last 8 KiB, trimmed
  [[nodiscard]] bool success() const { return exit_code == 0; }
  // "exited with status 1", "was killed by signal 9 (Killed)".
  [[nodiscard]] std::string describe() const;
};

class child_process {
 public:
  static result<child_process> spawn(reactor& loop, child_options options);
  child_process(child_process&&) noexcept;
  child_process& operator=(child_process&&) = delete;
  // Aborts when the child has not been waited for.
  ~child_process();

  // Suspends until the child has ended and its stderr is drained (a grandchild that keeps stderr
  // open delays this by half a second at most). May be called once.
  task<result<child_exit>> wait();
  // SIGTERM to its process group now, SIGKILL after kill_after, both only while it runs; returns at
  // once, wait() tells the end. Harmless when repeated.
  void terminate();
  [[nodiscard]] pid_t pid() const;
  // A pidfd, which can be read from (poll(2)) once the child has ended; as long as this lives.
  [[nodiscard]] int exit_fd() const;

 private:
  struct impl;
  explicit child_process(std::unique_ptr<impl> state);
  std::unique_ptr<impl> _impl;
};

// What a stop_callback does that ends a child.
struct terminate_child {
  child_process* child;
  void operator()() const { child->terminate(); }
};

// A pipe as its two ends, close-on-exec. `bytes_wanted` is asked for with F_SETPIPE_SZ; less is
// accepted, as /proc/sys/fs/pipe-max-size and pipe-user-pages-soft allow.
struct pipe_ends {
  unique_fd read_end;
  unique_fd write_end;
};
result<pipe_ends> make_pipe(std::size_t bytes_wanted = 0);
// O_NONBLOCK for our end: kernel 6.1 sends blocking-pipe reads of io_uring to worker threads.
result<void> set_nonblocking(int fd);

}  // namespace bts3::engine
