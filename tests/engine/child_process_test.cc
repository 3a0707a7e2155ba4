#include "engine/child_process.hh"

#include "tests/engine/support.hh"

#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

child_options shell(std::string script) {
  child_options options;
  options.argv = {"sh", "-c", std::move(script)};
  return options;
}

task<child_exit> run_child(reactor& loop, child_options options, bool terminate) {
  auto child = child_process::spawn(loop, std::move(options));
  BOOST_REQUIRE_MESSAGE(child.has_value(), bts3::testing::error_text(child));
  if (terminate) {
    child->terminate();
    child->terminate();
  }
  auto ended = co_await child->wait();
  BOOST_REQUIRE(ended.has_value());
  co_return std::move(*ended);
}

child_exit outcome_of(child_options options, bool terminate = false) {
  auto loop = make_reactor();
  return loop->run(run_child(*loop, std::move(options), terminate));
}

task<std::string> output_of(reactor& loop, std::string script) {
  auto ends = make_pipe(1 << 20);
  BOOST_REQUIRE(ends.has_value());
  BOOST_REQUIRE(set_nonblocking(ends->read_end.get()).has_value());
  child_options options = shell(std::move(script));
  options.stdout_fd = ends->write_end.get();
  options.environment_additions = {"BTS3_TEST_VALUE=set"};
  auto child = child_process::spawn(loop, std::move(options));
  BOOST_REQUIRE(child.has_value());
  ends->write_end.reset();
  std::string text;
  std::array<std::byte, 4096> piece;
  for (;;) {
    auto got = co_await loop.read(ends->read_end.get(), piece);
    BOOST_REQUIRE(got.has_value());
    if (*got == 0) {
      break;
    }
    text.append(reinterpret_cast<const char*>(piece.data()), *got);
  }
  auto ended = co_await child->wait();
  BOOST_REQUIRE(ended.has_value());
  BOOST_TEST(ended->success());
  co_return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(child_process_suite)

BOOST_AUTO_TEST_CASE(the_exit_status_and_stderr_are_reported) {
  const child_exit end = outcome_of(shell("echo 'went wrong' >&2; exit 3"));
  BOOST_TEST(end.exit_code == 3);
  BOOST_TEST(end.signal == 0);
  BOOST_TEST(end.stderr_tail == "went wrong");
  BOOST_TEST(end.describe() == "exited with status 3");
}

BOOST_AUTO_TEST_CASE(death_by_signal_is_told_from_an_exit) {
  const child_exit end = outcome_of(shell("kill -9 $$"));
  BOOST_TEST(end.exit_code == -1);
  BOOST_TEST(end.signal == SIGKILL);
}

BOOST_AUTO_TEST_CASE(what_the_starting_thread_has_become_is_inherited_and_stays_its_own) {
  const auto name_of = [](const std::string& path) {
    std::array<char, 256> link{};
    const ssize_t length = ::readlink(path.c_str(), link.data(), link.size());
    BOOST_REQUIRE(length > 0);
    return std::string(link.data(), static_cast<std::size_t>(length));
  };
  // The working directory of a thread that shares it with no other.
  const std::string before = name_of("/proc/self/cwd");
  child_options options = shell("[ \"$(pwd)\" = /proc ]");
  options.before_start = [] {
    const bool moved = ::unshare(CLONE_FS) == 0 && ::chdir("/proc") == 0;
    return moved ? ok() : result<void>(system_error(errno, "chdir"));
  };
  BOOST_TEST(outcome_of(std::move(options)).success());
  BOOST_TEST(name_of("/proc/self/cwd") == before);
}

BOOST_AUTO_TEST_CASE(a_child_whose_preparation_fails_is_not_started) {
  auto loop = make_reactor();
  child_options options = shell("exit 0");
  options.before_start = [] { return result<void>(system_error(EPERM, "preparing")); };
  const auto child = child_process::spawn(*loop, std::move(options));
  BOOST_REQUIRE(!child.has_value());
  BOOST_TEST(child.error().message == "preparing: Operation not permitted");
}

BOOST_AUTO_TEST_CASE(a_flood_of_stderr_neither_blocks_the_child_nor_grows_memory) {
  const child_exit end = outcome_of(
      shell("i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789"
            "012345678901234567890123456789 >&2; i=$((i+1)); done; echo last >&2"));
  BOOST_TEST(end.success());
  BOOST_TEST(end.stderr_tail.size() <= 8192u);
  BOOST_TEST(end.stderr_tail.ends_with("last"));
}

BOOST_AUTO_TEST_CASE(terminate_ends_a_sleeping_child) {
  const child_exit end = outcome_of(shell("exec sleep 1000"), true);
  BOOST_TEST(end.signal == SIGTERM);
}

BOOST_AUTO_TEST_CASE(a_stop_ends_a_child_that_was_tied_to_it) {
  auto loop = make_reactor();
  auto child = child_process::spawn(*loop, shell("exec sleep 600"));
  BOOST_REQUIRE_MESSAGE(child.has_value(), bts3::testing::error_text(child));
  stop_source stop;
  const stop_callback on_stop(stop.token(), terminate_child{&*child});
  stop.request_stop();
  const auto ended = loop->run(child->wait());
  BOOST_REQUIRE_MESSAGE(ended.has_value(), bts3::testing::error_text(ended));
  BOOST_TEST(ended->signal == SIGTERM);
}

BOOST_AUTO_TEST_CASE(a_child_that_ignores_sigterm_is_killed) {
  child_options stubborn = shell("trap '' TERM; echo ready >&2; while :; do sleep 0.05; done");
  stubborn.kill_after = std::chrono::milliseconds(200);
  const child_exit end = outcome_of(std::move(stubborn), true);
  // SIGTERM may arrive before the trap is set; then it is the one that ends the child.
  BOOST_TEST((end.signal == SIGKILL || end.signal == SIGTERM));
}

BOOST_AUTO_TEST_CASE(a_missing_program_is_named) {
  auto loop = make_reactor();
  child_options options;
  options.argv = {"bts3-no-such-program"};
  auto child = child_process::spawn(*loop, std::move(options));
  BOOST_REQUIRE(!child);
  BOOST_TEST(child.error().message.find("bts3-no-such-program") != std::string::npos);
  BOOST_TEST(!child.error().remedy.empty());
}

BOOST_AUTO_TEST_CASE(stdout_and_environment_reach_the_child) {
  auto loop = make_reactor();
  BOOST_TEST(loop->run(output_of(*loop, "printf %s \"$BTS3_TEST_VALUE\"")) == "set");
}

BOOST_AUTO_TEST_CASE(a_grandchild_that_holds_stderr_does_not_keep_us_waiting) {
  const child_exit end = outcome_of(shell("sleep 3 & echo gone >&2; exit 0"));
  BOOST_TEST(end.success());
  BOOST_TEST(end.stderr_tail == "gone");
}

// What a library opens is not marked as ours is.
BOOST_AUTO_TEST_CASE(a_child_has_its_three_descriptors_and_no_others) {
  const int file = ::fcntl(STDIN_FILENO, F_DUPFD, 200);
  int pair[2] = {-1, -1};
  BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  const int event = ::eventfd(0, 0);
  auto loop = make_reactor();
  // The shell itself opens the directory, as one more.
  const std::string seen =
      loop->run(output_of(*loop,
                          "cd /proc/$$/fd; for f in *; do [ $f -gt 9 ] || echo $f; done;"
                          "for f in *; do readlink $f; done | grep -c 'socket:\\|eventfd';"
                          "[ -e 200 ] && echo leaked; :"));
  BOOST_TEST(seen.starts_with("0\n1\n2\n"), seen);
  BOOST_TEST(seen.find("leaked") == std::string::npos, seen);
  BOOST_TEST(seen.find("\n0\n") != std::string::npos, seen);
  for (const int fd : {file, pair[0], pair[1], event}) {
    ::close(fd);
  }
}

// As under a caller that ignores SIGCHLD: the kernel forgets children as they end.
BOOST_AUTO_TEST_CASE(a_child_whose_status_nobody_keeps_is_an_error_and_no_success) {
  for (const char* script : {"exit 0", "exit 3", "echo much >&2; sleep 0.1"}) {
    auto loop = make_reactor();
    auto* const before = std::signal(SIGCHLD, SIG_IGN);
    auto child = child_process::spawn(*loop, shell(script));
    // It may have gone before it could be looked at.
    result<child_exit> end = child ? loop->run(child->wait()) : result<child_exit>(child.error());
    std::signal(SIGCHLD, before);
    BOOST_REQUIRE(!end);
    BOOST_TEST((end.error().why == reason::child_process));
    BOOST_TEST(end.error().text().find("SIGCHLD") != std::string::npos, end.error().text());
    BOOST_TEST(loop->operations_in_flight() == 0U);
  }
}

// Somebody else in this process waits for every child.
BOOST_AUTO_TEST_CASE(a_child_that_somebody_else_has_reaped_is_an_error_too) {
  auto loop = make_reactor();
  auto child = child_process::spawn(*loop, shell("exit 0"));
  BOOST_REQUIRE(child.has_value());
  BOOST_REQUIRE(::waitpid(child->pid(), nullptr, 0) == child->pid());
  auto end = loop->run(child->wait());
  BOOST_REQUIRE(!end);
  BOOST_TEST(end.error().code == "ECHILD");
}

BOOST_AUTO_TEST_CASE(too_few_descriptors_are_what_the_error_is_about) {
  auto loop = make_reactor();
  rlimit limit{};
  BOOST_REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  rlimit none = limit;
  none.rlim_cur = 3;
  BOOST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  auto child = child_process::spawn(*loop, shell("exit 0"));
  BOOST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  BOOST_REQUIRE(!child);
  BOOST_TEST(child.error().remedy.find("LimitNOFILE") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(no_descriptor_is_left_behind) {
  const std::size_t before = open_descriptors();
  (void)outcome_of(shell("exit 0"));
  BOOST_TEST(open_descriptors() == before);
}

BOOST_AUTO_TEST_SUITE_END()
