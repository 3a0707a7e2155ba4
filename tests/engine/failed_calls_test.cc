// System calls that fail where nothing but an assertion would be simpler: the program goes on, says
// what happened, or ends with a status; it is never killed by a signal of its own.
//
// write(), waitid() and liburing's io_uring_submit_and_wait() of the whole binary are its own: no
// limit and no device makes a wake-up of eight bytes, a reaped child or an entered ring fail so many
// times and then no more. With link-time optimization, too, an executable's definitions come before
// those of libraries.
#include "engine/child_process.hh"
#include "engine/hash_worker.hh"
#include "tests/engine/support.hh"

#include <dlfcn.h>
#include <liburing.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

enum class call { none, wake, reap, enter };

// The next `times` calls of that kind fail with `error`.
struct {
  std::atomic<call> which{call::none};
  std::atomic<int> error{0};
  std::atomic<int> times{0};
} plan;

bool fails(call which) {
  return plan.which == which && plan.times.fetch_sub(1) > 0;
}

class failing {
 public:
  failing(call which, int error, int times) {
    plan.error = error;
    plan.times = times;
    plan.which = which;
  }
  ~failing() { plan.which = call::none; }
  failing(const failing&) = delete;
  failing& operator=(const failing&) = delete;
  // Whether all of them were made.
  [[nodiscard]] bool happened() const { return plan.times <= 0; }
};

task<part_digest> digest_of(reactor& loop, std::span<const std::byte> bytes) {
  hash_worker hashes(loop);
  part_hash hash = hashes.begin(bytes);
  hash.publish(bytes.size());
  auto finishing = hash.finish();
  co_return co_await std::move(finishing);
}

task<result<child_exit>> end_of(reactor& loop, std::string script) {
  child_options options;
  options.argv = {"sh", "-c", std::move(script)};
  auto child = child_process::spawn(loop, std::move(options));
  BOOST_REQUIRE(child.has_value());
  auto waiting = child->wait();
  co_return co_await std::move(waiting);
}

// How a process ends that sleeps while the ring refuses: its exit status, or 256 and a signal.
int end_of_a_process_whose_ring_refuses(int error, int times) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(STDERR_FILENO);  // what it says is looked at end to end
    auto loop = make_reactor();
    const failing refused(call::enter, error, times);
    auto slept = loop->run(loop->sleep_for(std::chrono::milliseconds(20)));
    ::_exit(slept ? 0 : 3);
  }
  int status = 0;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

}  // namespace

// An executable's own definitions come before those of libraries.
extern "C" {

ssize_t write(int fd, const void* bytes, size_t count) {
  // A wake-up, and nothing else, is eight bytes.
  if (count == sizeof(std::uint64_t) && fails(call::wake)) {
    errno = plan.error;
    return -1;
  }
  return ::syscall(SYS_write, fd, bytes, count);
}

int waitid(idtype_t kind, id_t id, siginfo_t* info, int options) {
  if (fails(call::reap)) {
    errno = plan.error;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_waitid, kind, id, info, options, nullptr));
}

int io_uring_submit_and_wait(struct io_uring* ring, unsigned wait) {
  using function = int(struct io_uring*, unsigned);
  static auto* const real =
      reinterpret_cast<function*>(::dlsym(RTLD_NEXT, "io_uring_submit_and_wait"));
  return fails(call::enter) ? -plan.error : real(ring, wait);
}
}

BOOST_AUTO_TEST_SUITE(failed_calls)

BOOST_AUTO_TEST_CASE(a_wake_up_that_cannot_be_written_at_first_arrives) {
  const std::vector<std::byte> bytes(std::size_t{1} << 20);
  auto undisturbed = make_reactor();
  const part_digest expected = undisturbed->run(digest_of(*undisturbed, bytes));
  for (const int error : {ENOSPC, EIO, EINTR, ENOMEM}) {
    auto loop = make_reactor();
    const failing refused(call::wake, error, 3);
    const part_digest made = loop->run(digest_of(*loop, bytes));
    BOOST_TEST(refused.happened());
    BOOST_TEST(made.digest_if_last.hex() == expected.digest_if_last.hex());
  }
}

BOOST_AUTO_TEST_CASE(a_child_that_cannot_be_waited_for_is_an_error_that_names_it) {
  for (const int error : {ECHILD, EINVAL, EBADF}) {
    auto loop = make_reactor();
    {
      const failing refused(call::reap, error, 1);
      const auto end = loop->run(end_of(*loop, "exit 0"));
      BOOST_TEST(refused.happened());
      BOOST_REQUIRE(!end);
      BOOST_TEST((end.error().why == reason::child_process));
      BOOST_TEST((end.error().what_now == disposition::fail));
      BOOST_TEST(end.error().text().find("waiting for sh") != std::string::npos,
                 end.error().text());
    }
    // It has really ended; nobody reaps it now.
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    BOOST_TEST(loop->operations_in_flight() == 0U);
  }
  auto loop = make_reactor();
  const failing interrupted(call::reap, EINTR, 2);
  const auto end = loop->run(end_of(*loop, "exit 3"));
  BOOST_REQUIRE(end.has_value());
  BOOST_TEST(end->exit_code == 3);
}

BOOST_AUTO_TEST_CASE(a_ring_that_refuses_for_a_while_is_asked_again) {
  for (const int error : {EINTR, EBUSY, EAGAIN, ENOMEM}) {
    BOOST_TEST(end_of_a_process_whose_ring_refuses(error, 5) == 0);
  }
}

BOOST_AUTO_TEST_CASE(a_ring_that_refuses_for_good_ends_the_program_with_a_status) {
  for (const int error : {EIO, EBADF, EINVAL, ENXIO}) {
    BOOST_TEST(end_of_a_process_whose_ring_refuses(error, 1'000'000) == 1);
  }
}

BOOST_AUTO_TEST_SUITE_END()
