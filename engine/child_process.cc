#include "engine/child_process.hh"

#include "engine/assert.hh"
#include "engine/async_scope.hh"
#include "engine/event.hh"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

extern char** environ;

namespace bts3::engine {

namespace {

constexpr std::size_t stderr_tail_bytes = 8 * 1024;
constexpr std::chrono::milliseconds stderr_grace{500};
constexpr std::chrono::milliseconds poll_instead{50};

// posix_spawn's attribute objects, freed on every path.
struct spawn_attributes {
  spawn_attributes() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  ~spawn_attributes() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  spawn_attributes(const spawn_attributes&) = delete;
  spawn_attributes& operator=(const spawn_attributes&) = delete;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

// A group of its own, and no signal blocked or ignored.
void set_group_and_signals(spawn_attributes& how) {
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setflags(
      &how.attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  ::posix_spawnattr_setpgroup(&how.attributes, 0);
  ::posix_spawnattr_setsigmask(&how.attributes, &none);
  ::posix_spawnattr_setsigdefault(&how.attributes, &all);
}

// The first three, `null` where none is given, and the one that it keeps; all others are closed.
// Ours are marked for that; a library's (libcurl's sockets, its wake-up pair, those of name
// resolution) need not be. 0, or an errno value.
int place_descriptors(spawn_attributes& how, const child_options& options, int stderr_end,
                      int null) {
  int next = STDIN_FILENO;
  int code = 0;
  const auto place = [&](int from) {
    if (code == 0) {
      code = ::posix_spawn_file_actions_adddup2(&how.actions, from >= 0 ? from : null, next++);
    }
  };
  place(options.stdin_fd);
  place(options.stdout_fd);
  place(stderr_end);
  if (options.kept_fd >= 0) {
    place(options.kept_fd);
  }
  return code != 0 ? code : ::posix_spawn_file_actions_addclosefrom_np(&how.actions, next);
}

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) {
    pointers.push_back(text.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> environment_with(const std::vector<std::string>& additions) {
  std::vector<std::string> merged = additions;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view inherited(*entry);
    const std::string_view name = inherited.substr(0, inherited.find('=') + 1);
    const bool replaced = std::any_of(additions.begin(), additions.end(),
                                      [&](const std::string& a) { return a.starts_with(name); });
    if (!replaced) {
      merged.emplace_back(inherited);
    }
  }
  return merged;
}

// Waits for the end of `work`: for what changes the thread that does it.
template <typename Work>
result<void> run_on_a_thread(Work work) {
  result<void> outcome = ok();
  try {
    std::thread([&] { outcome = work(); }).join();
  } catch (const std::system_error& failure) {
    return thread_error(failure.code().value());
  }
  return outcome;
}

// It runs no more, and whether it succeeded nobody knows.
error status_lost(int err, const std::string& program) {
  error failure = system_error(err, "waiting for " + program,
                               "whether it succeeded is not known: nothing else may wait for "
                               "this program's children, and SIGCHLD must not be ignored");
  failure.what_now = disposition::fail;
  failure.why = reason::child_process;
  return failure;
}

}  // namespace

struct child_process::impl {
  impl(reactor& owner, child_options given)
      : loop(owner), options(std::move(given)), background(owner), drained(owner) {}

  static task<void> drain_stderr(impl& self);
  static task<result<siginfo_t>> reap(impl& self);
  static task<void> kill_later(impl& self);
  static task<void> give_up_draining(impl& self);
  void send(int signal_number) const {
    // To its whole process group, helpers included. The number is still its own: it is reaped in
    // wait() alone, and nothing is sent afterwards.
    (void)::kill(-pid, signal_number);
  }

  reactor& loop;
  child_options options;
  pid_t pid = -1;
  unique_fd pidfd;
  unique_fd stderr_pipe;
  std::string stderr_tail;
  stop_source stop_drain;
  stop_source stop_kill;
  stop_source stop_grace;
  async_scope background;
  event drained;
  bool terminating = false;
  bool reaped = false;
  bool waiting = false;
};

child_process::child_process(std::unique_ptr<impl> state) : _impl(std::move(state)) {}
child_process::child_process(child_process&&) noexcept = default;

child_process::~child_process() {
  BTS3_ASSERT(_impl == nullptr || _impl->reaped);
}

pid_t child_process::pid() const {
  return _impl->pid;
}

int child_process::exit_fd() const {
  return _impl->pidfd.get();
}

result<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    return name;
  }
  const char* path = std::getenv("PATH");
  std::string places = path != nullptr ? path : "/usr/bin:/bin";
  places += ":/usr/sbin:/sbin";  // where btrfs lives, and where a user's PATH does not look
  std::string_view rest = places;
  while (!rest.empty()) {
    const std::size_t colon = rest.find(':');
    const std::string_view directory = rest.substr(0, colon);
    rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
    if (directory.empty()) {
      continue;
    }
    std::string candidate(directory);
    candidate += '/';
    candidate += name;
    if (::access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
  }
  error failure =
      system_error(ENOENT, "program `" + name + "` not found in PATH, /usr/sbin, /sbin");
  failure.what_now = disposition::fail;
  failure.remedy = "install the package that provides it";
  return failure;
}

result<child_process> child_process::spawn(reactor& loop, child_options options) {
  BTS3_ASSERT(!options.argv.empty());
  auto program = find_program(options.argv[0]);
  if (!program) {
    return std::move(program.error());
  }
  auto state = std::make_unique<impl>(loop, std::move(options));
  auto stderr_ends = make_pipe();
  if (!stderr_ends) {
    return std::move(stderr_ends.error());
  }
  const unique_fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) {
    return system_error(errno, "/dev/null");
  }

  spawn_attributes how;
  set_group_and_signals(how);
  int code = place_descriptors(how, state->options, stderr_ends->write_end.get(), null.get());
  std::vector<char*> argv = pointers_to(state->options.argv);
  std::vector<std::string> environment = environment_with(state->options.environment_additions);
  std::vector<char*> envp = pointers_to(environment);
  result<void> prepared = ok();
  const auto start = [&] {
    code = ::posix_spawn(&state->pid, program->c_str(), &how.actions, &how.attributes, argv.data(),
                         envp.data());
  };
  if (code == 0 && state->options.before_start) {
    prepared = run_on_a_thread([&] {
      auto done = state->options.before_start();
      if (done) {
        start();
      }
      return done;
    });
  } else if (code == 0) {
    start();
  }
  if (!prepared) {
    return std::move(prepared.error());
  }
  if (code != 0) {
    error failure = system_error(code, "starting " + *program);
    failure.what_now = disposition::fail;
    return failure;
  }
  state->pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, state->pid, 0)));
  if (!state->pidfd.valid()) {
    const int err = errno;
    ::kill(state->pid, SIGKILL);
    ::waitpid(state->pid, nullptr, 0);
    if (err == ESRCH) {
      return status_lost(err, state->options.argv.front());
    }
    return system_error(err, "pidfd_open", err == ENOSYS ? "this needs Linux 5.3 or newer" : "");
  }
  state->stderr_pipe = std::move(stderr_ends->read_end);
  if (auto nonblocking = set_nonblocking(state->stderr_pipe.get()); !nonblocking) {
    ::kill(state->pid, SIGKILL);
    ::waitpid(state->pid, nullptr, 0);
    return std::move(nonblocking.error());
  }
  child_process child(std::move(state));
  child._impl->background.spawn(impl::drain_stderr(*child._impl));
  return child;
}

task<void> child_process::impl::drain_stderr(impl& self) {
  std::array<std::byte, 4096> piece;
  for (;;) {
    auto reading = self.loop.read_aside(self.stderr_pipe.get(), piece, self.stop_drain.token());
    auto got = co_await std::move(reading);
    if (!got || *got == 0) {
      self.drained.set();
      co_return;
    }
    self.stderr_tail.append(reinterpret_cast<const char*>(piece.data()), *got);
    if (self.stderr_tail.size() > 2 * stderr_tail_bytes) {
      self.stderr_tail.erase(0, self.stderr_tail.size() - stderr_tail_bytes);
    }
  }
}

task<void> child_process::impl::kill_later(impl& self) {
  auto sleeping = self.loop.sleep_for(self.options.kill_after, self.stop_kill.token());
  auto slept = co_await std::move(sleeping);
  if (slept) {
    self.send(SIGKILL);
  }
}

task<void> child_process::impl::give_up_draining(impl& self) {
  auto sleeping = self.loop.sleep_for(stderr_grace, self.stop_grace.token());
  auto slept = co_await std::move(sleeping);
  if (slept) {
    self.stop_drain.request_stop();
  }
}

void child_process::terminate() {
  if (_impl->reaped || std::exchange(_impl->terminating, true)) {
    return;
  }
  _impl->send(SIGTERM);
  _impl->background.spawn(impl::kill_later(*_impl));
}

task<result<siginfo_t>> child_process::impl::reap(impl& self) {
  siginfo_t info{};
  for (;;) {
    auto polling = self.loop.poll(self.pidfd.get(), POLLIN);
    auto ended = co_await std::move(polling);
    if (!ended) {
      // Then it is looked at from time to time: nobody may go on while it runs.
      auto sleeping = self.loop.sleep_for(poll_instead);
      (void)co_await std::move(sleeping);
    }
    const int code = ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(self.pidfd.get()),
                              &info, WEXITED | WNOHANG);
    if (code == 0 && info.si_pid != 0) {
      co_return info;
    }
    if (code != 0 && errno != EINTR) {
      co_return status_lost(errno, self.options.argv.front());  // ECHILD: it has ended
    }
  }
}

task<result<child_exit>> child_process::wait() {
  impl& self = *_impl;
  BTS3_ASSERT(!std::exchange(self.waiting, true));
  auto reaping = impl::reap(self);
  const auto reaped = co_await std::move(reaping);
  self.reaped = true;
  self.stop_kill.request_stop();

  // The pipe's end normally comes with the child's. A grandchild may hold it open: give it a
  // moment, then stop listening.
  auto drained = self.drained.wait(self.stop_drain.token());
  self.background.spawn(impl::give_up_draining(self));
  (void)co_await std::move(drained);
  self.stop_grace.request_stop();
  self.stop_drain.request_stop();
  co_await self.background.join();

  if (!reaped) {
    error failure = reaped.error();
    co_return failure;
  }
  child_exit outcome;
  if (reaped->si_code == CLD_EXITED) {
    outcome.exit_code = reaped->si_status;
  } else {
    outcome.signal = reaped->si_status;
  }
  std::string& tail = self.stderr_tail;
  if (tail.size() > stderr_tail_bytes) {
    tail.erase(0, tail.size() - stderr_tail_bytes);
  }
  while (!tail.empty() && std::strchr(" \t\r\n", tail.back()) != nullptr) {
    tail.pop_back();
  }
  outcome.stderr_tail = std::move(tail);
  co_return outcome;
}

std::string child_exit::describe() const {
  if (signal != 0) {
    return "was killed by signal " + std::to_string(signal) + " (" + ::strsignal(signal) + ")";
  }
  return "exited with status " + std::to_string(exit_code);
}

result<pipe_ends> make_pipe(std::size_t bytes_wanted) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return system_error(errno, "creating a pipe");
  }
  pipe_ends made{unique_fd(ends[0]), unique_fd(ends[1])};
  for (std::size_t bytes = bytes_wanted; bytes > 64 * 1024; bytes /= 2) {
    if (::fcntl(made.write_end.get(), F_SETPIPE_SZ, static_cast<int>(bytes)) >= 0) {
      break;
    }
  }
  return made;
}

result<void> set_nonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return system_error(errno, "setting O_NONBLOCK");
  }
  return ok();
}

}  // namespace bts3::engine
