#include "app/host/signals.hh"
#include "app/host/process_start.hh"
#include "app/host/standstill.hh"
#include "engine/async_scope.hh"
#include "engine/semaphore.hh"
#include "tests/app/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/sanitizers.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using namespace bts3::testing;

namespace {

// What signal_watch changes about the process, taken back.
class signals_as_before {
 public:
  signals_as_before() {
    ::pthread_sigmask(SIG_SETMASK, nullptr, &_mask);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      ::sigaction(numbers[i], nullptr, &_actions[i]);
    }
  }
  ~signals_as_before() {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      ::sigaction(numbers[i], &_actions[i], nullptr);
    }
    ::pthread_sigmask(SIG_SETMASK, &_mask, nullptr);
  }
  signals_as_before(const signals_as_before&) = delete;
  signals_as_before& operator=(const signals_as_before&) = delete;

 private:
  static constexpr std::array<int, 6> numbers = {SIGINT,  SIGTERM, SIGHUP,
                                                 SIGCHLD, SIGPIPE, SIGXFSZ};
  sigset_t _mask{};
  std::array<struct sigaction, numbers.size()> _actions{};
};

struct heard {
  int first = 0;
  bool stopped = false;
  bool hastened = false;
};

engine::task<void> send_and_look(engine::reactor& loop, std::vector<int> numbers,
                                 const engine::stop_source& stop, const engine::stop_source& slow,
                                 heard& into, engine::stop_source& end) {
  for (const int number : numbers) {
    ::kill(::getpid(), number);
    // The watch reads it in a turn of the reactor that this waits for.
    auto sleeping = loop.sleep_for(std::chrono::milliseconds(20));
    (void)co_await std::move(sleeping);
  }
  into.stopped = stop.stop_requested();
  into.hastened = slow.stop_requested();
  end.request_stop();
}

// What becomes of these signals.
heard after(std::vector<int> numbers, line_log& log) {
  auto watch = signal_watch::create();
  BOOST_REQUIRE(watch.has_value());
  auto loop = std::move(*engine::reactor::create());
  engine::stop_source stop;
  engine::stop_source slow;
  engine::stop_source end;
  heard outcome;
  const hastened by_signal(&*watch, slow);
  engine::async_scope scope(*loop);
  scope.spawn(watch->run(*loop, stop, log, end.token()));
  scope.spawn(send_and_look(*loop, std::move(numbers), stop, slow, outcome, end));
  loop->run(scope.join());
  outcome.first = watch->received();
  return outcome;
}

// Exit status of `body` in a process of its own.
template <typename Body>
int status_in_a_child(Body body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(body());
  }
  int status = 0;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(signals_suite)

BOOST_AUTO_TEST_CASE(a_hangup_asks_to_stop_as_the_others_do) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    const signals_as_before guard;
    line_log log;
    const heard outcome = after({number}, log);
    BOOST_TEST(outcome.first == number);
    BOOST_TEST(outcome.stopped);
    BOOST_TEST(!outcome.hastened);
    BOOST_TEST(log.contains(std::string("stopping signal=SIG") + ::sigabbrev_np(number)));
  }
}

BOOST_AUTO_TEST_CASE(a_second_signal_hastens_and_the_first_one_counts) {
  const signals_as_before guard;
  line_log log;
  const heard outcome = after({SIGHUP, SIGTERM}, log);
  BOOST_TEST(outcome.first == SIGHUP);
  BOOST_TEST(outcome.stopped);
  BOOST_TEST(outcome.hastened);
  BOOST_TEST(log.contains("stopping_faster signal=SIGTERM"));
}

BOOST_AUTO_TEST_CASE(a_hangup_that_is_ignored_stays_ignored) {
  const signals_as_before guard;
  std::signal(SIGHUP, SIG_IGN);
  line_log log;
  const heard outcome = after({SIGHUP, SIGHUP}, log);
  BOOST_TEST(outcome.first == 0);
  BOOST_TEST(!outcome.stopped);
  BOOST_TEST(!outcome.hastened);
}

BOOST_AUTO_TEST_CASE(a_caller_that_ignores_children_or_large_files_is_not_heard) {
  const signals_as_before guard;
  std::signal(SIGCHLD, SIG_IGN);
  std::signal(SIGXFSZ, SIG_DFL);
  BOOST_REQUIRE(signal_watch::create().has_value());
  struct sigaction now{};
  BOOST_REQUIRE(::sigaction(SIGCHLD, nullptr, &now) == 0);
  BOOST_TEST((now.sa_handler == SIG_DFL));
  BOOST_REQUIRE(::sigaction(SIGXFSZ, nullptr, &now) == 0);
  BOOST_TEST((now.sa_handler == SIG_IGN));
}

BOOST_AUTO_TEST_CASE(closed_standard_descriptors_are_taken_and_still_cannot_be_used) {
  const int status = status_in_a_child([] {
    for (const int number : {0, 1, 2}) {
      ::close(number);
    }
    prepare_process();
    const int next = ::open("/dev/null", O_RDONLY);
    char byte = 0;
    const bool unreadable = ::read(0, &byte, 1) < 0 && errno == EBADF;
    const bool unwritable = ::write(1, &byte, 1) < 0 && ::write(2, &byte, 1) < 0 && errno == EBADF;
    return next > 2 && unreadable && unwritable ? 0 : 1;
  });
  BOOST_TEST(status == 0);
  // What is open is left alone, also behind what is not.
  BOOST_TEST(status_in_a_child([] {
               ::close(1);
               const int to = ::open("/dev/full", O_WRONLY);
               prepare_process();
               char byte = 0;
               return to == 1 && ::write(1, &byte, 1) < 0 && errno == ENOSPC ? 0 : 1;
             }) == 0);
}

BOOST_AUTO_TEST_CASE(no_core_dump_is_made_and_the_process_reaches_its_own_files) {
  const int status = status_in_a_child([] {
    prepare_process();
    rlimit limit{};
    const bool none = ::getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur == 0;
    const bool hidden = ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
    const int directory = ::open("/", O_RDONLY | O_DIRECTORY);
    const std::string by_descriptor = "/proc/self/fd/" + std::to_string(directory) + "/proc";
    const bool reached =
        ::access(by_descriptor.c_str(), X_OK) == 0 && ::access("/proc/self/status", R_OK) == 0;
    return none && hidden && reached ? 0 : 1;
  });
  BOOST_TEST(status == 0);
}

BOOST_AUTO_TEST_CASE(memory_that_is_refused_ends_the_program_with_a_status_and_no_signal) {
  if (address_sanitized || thread_sanitized) {
    std::cout << "skipped: a sanitizer's allocator ends the program by itself\n";
    return;
  }
  BOOST_TEST(status_in_a_child([] {
               prepare_process();
               const int quiet = ::open("/dev/null", O_WRONLY);
               ::dup2(quiet, STDERR_FILENO);
               rlimit little{std::size_t{1} << 20, std::size_t{1} << 20};
               ::setrlimit(RLIMIT_AS, &little);
               const std::vector<char> much(std::size_t{1} << 30);
               // A compiler may leave out what nobody looks at.
               asm volatile("" : : "r"(much.data()) : "memory");
               return 4;
             }) == 1);
}

namespace {

// A wait that no stop reaches.
engine::task<void> wait_for_ever(engine::reactor& loop, standstill_watch& watch,
                                 engine::stop_source& stop) {
  engine::async_scope scope(loop);
  engine::stop_source end;
  scope.spawn(watch.run(stop, end.token()));
  engine::semaphore none(loop, 0, "what nobody has");
  auto waiting = none.acquire();
  (void)co_await std::move(waiting);
  auto joining = scope.join();
  co_await std::move(joining);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_run_that_waits_for_itself_in_spite_of_a_stop_is_ended_where_it_is) {
  const bts3::testing::scratch_directory place;
  const std::string said = place / "said";
  const int status = status_in_a_child([&] {
    const int to = ::open(said.c_str(), O_WRONLY | O_CREAT, 0600);
    ::dup2(to, STDERR_FILENO);
    auto loop = std::move(*engine::reactor::create());
    line_log log;
    engine::stop_source stop;
    standstill_watch watch(*loop, log, {std::chrono::milliseconds(20), 4});
    loop->run(wait_for_ever(*loop, watch, stop));
    return 0;
  });
  BOOST_TEST(status == 1);
  const std::string text = bts3::testing::content_of(said);
  BOOST_TEST(text.find("does not stop: 1 for what nobody has") != std::string::npos, text);
}

BOOST_AUTO_TEST_CASE(only_a_stop_is_explained_by_a_standstill) {
  auto loop = std::move(*engine::reactor::create());
  line_log log;
  standstill_watch watch(*loop, log, {std::chrono::milliseconds(20), 4});
  engine::stop_source stop;
  engine::result<int> cancelled = engine::cancelled_error();
  BOOST_TEST((ended_by(&watch, cancelled).error().what_now == engine::disposition::cancelled));
  BOOST_TEST((ended_by(nullptr, cancelled).error().what_now == engine::disposition::cancelled));
  loop->run(watch.run(stop, stop.token()));
  BOOST_REQUIRE(watch.found().has_value());
  BOOST_TEST(ended_by(&watch, cancelled).error().message == watch.found()->message);
  engine::result<int> other = engine::system_error(EIO, "a disk");
  BOOST_TEST(ended_by(&watch, other).error().status == EIO);
  BOOST_TEST(ended_by(&watch, engine::result<int>(3)).value() == 3);
}

BOOST_AUTO_TEST_SUITE_END()
