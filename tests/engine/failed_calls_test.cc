// System calls that fail where nothing but an assertion would be simpler: the program goes on, says
// what happened, or ends with a status; it is never killed by a signal of its own.
//
// write(), waitid() and liburing's io_uring_submit_and_wait() of the whole binary are its own: no
// limit and no device makes a wake-up of eight bytes, a reaped child or an entered ring fail so
// many times and then no more. With link-time optimization, too, an executable's definitions come
// before those of libraries.
#include "engine/child_process.hh"
#include "engine/files.hh"
#include "engine/hash_worker.hh"
#include "engine/ring_refusals.hh"
#include "tests/engine/scratch_directory.hh"
#include "tests/engine/support.hh"
#include "tests/support/ended_child.hh"

#include <dlfcn.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

enum class call { none, wake, reap, enter, sync_of_a_file, sync_of_a_directory, removal };

// The next `times` calls of that kind fail with `error`; a removal seems to succeed.
struct {
  std::atomic<call> which{call::none};
  std::atomic<int> error{0};
  std::atomic<int> times{0};
} plan;

// Called when a file is synced.
std::function<void()> meanwhile;
// What was slept before the ring was asked again, which nobody waits for here.
std::atomic<std::uint64_t> microseconds_slept{0};

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

// How a process ends that sleeps while the ring refuses. It exits with 0 when it has slept.
bts3::testing::child_end end_of_a_process_whose_ring_refuses(int error, int times) {
  return bts3::testing::end_of_child([error, times] {
    auto loop = make_reactor();
    const failing refused(call::enter, error, times);
    auto slept = loop->run(loop->sleep_for(std::chrono::milliseconds(20)));
    if (!slept) {
      ::_exit(3);
    }
  });
}

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
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

int fsync(int fd) {
  if (meanwhile) {
    meanwhile();
  }
  struct stat entry{};
  const bool directory = ::fstat(fd, &entry) == 0 && S_ISDIR(entry.st_mode);
  if (fails(directory ? call::sync_of_a_directory : call::sync_of_a_file)) {
    errno = plan.error;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

int unlink(const char* path) noexcept {
  return fails(call::removal) ? 0 : static_cast<int>(::syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

int usleep(useconds_t microseconds) {
  microseconds_slept += microseconds;
  return 0;
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
    const auto end = end_of_a_process_whose_ring_refuses(error, 5);
    BOOST_TEST(end.status == 0);
    BOOST_TEST(end.said == "");
  }
}

BOOST_AUTO_TEST_CASE(a_ring_that_refuses_for_good_ends_the_program_with_a_status) {
  for (const int error : {EIO, EBADF, EINVAL, ENXIO}) {
    const auto end = end_of_a_process_whose_ring_refuses(error, 1'000'000);
    BOOST_TEST(end.status == 1);
    BOOST_TEST(end.said == std::string("btrfs_to_s3: io_uring_enter: ") + ::strerrordesc_np(error) +
                               "; run it again: it goes on where this one stopped\n");
  }
}

BOOST_AUTO_TEST_CASE(memory_that_the_ring_lacks_is_waited_for_half_a_minute) {
  const auto end = bts3::testing::end_of_child([] {
    const std::uint64_t before = microseconds_slept;
    ring_refusals refusals;
    for (int round = 0; round < 2; ++round) {
      for (int count = 0; count < 3000; ++count) {
        refusals.judge(-ENOMEM);
      }
      refusals.judge(0);  // it went on: the next lack begins anew
    }
    if (microseconds_slept - before != 60'000'000) {
      ::_exit(2);
    }
    for (int count = 0; count < 3000; ++count) {
      refusals.judge(-ENOMEM);
    }
    ::dprintf(STDERR_FILENO, "until here\n");
    refusals.judge(-ENOMEM);
  });
  BOOST_TEST(end.status == 1);
  BOOST_TEST(end.said ==
             "until here\nbtrfs_to_s3: io_uring_enter: Cannot allocate memory; run it again: it "
             "goes on where this one stopped\n");
}

BOOST_AUTO_TEST_CASE(a_ring_that_cannot_be_set_up_is_told_with_what_forbids_it) {
  const std::pair<int, const char*> remedies[] = {
      {ENOSYS, "this needs Linux 5.15 or newer"},
      {EPERM, "sysctl kernel.io_uring_disabled"},
      {EACCES, "seccomp filter of the container or unit"},
      {ENOMEM, "LimitMEMLOCK= in the unit"},
  };
  for (const auto& [code, remedy] : remedies) {
    const error failure = ring_refused(code);
    BOOST_TEST((failure.why == reason::system && failure.what_now == disposition::fail));
    BOOST_TEST(failure.status == code);
    BOOST_TEST(failure.message.starts_with("io_uring cannot be set up: "), failure.message);
    BOOST_TEST(failure.remedy.find(remedy) != std::string::npos, failure.remedy);
  }
  // What is no known prohibition is told as the system words it, and not with a guess.
  BOOST_TEST(ring_refused(EINVAL).text() == "io_uring cannot be set up: Invalid argument");
}

// A power cut after a sync that failed would leave nobody knows what: the old file stays.
BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_synced_does_not_replace_the_old_one) {
  const scratch_directory here;
  const std::string path = here.path() + "/state.json";
  BOOST_REQUIRE(write_durably(path, "old").has_value());
  {
    const failing refused(call::sync_of_a_file, EIO, 1);
    const auto written = write_durably(path, "new");
    BOOST_TEST(refused.happened());
    BOOST_TEST(bts3::testing::error_text(written) ==
               "fsync of " + path + ".new: Input/output error");
  }
  BOOST_TEST(content(path) == "old");
  BOOST_TEST(here.files() == 1U);
  const failing refused(call::sync_of_a_directory, EIO, 1);
  const auto written = write_durably(path, "new");
  BOOST_TEST(refused.happened());
  BOOST_TEST(bts3::testing::error_text(written) ==
             "fsync of " + here.path() + "/: Input/output error");
}

BOOST_AUTO_TEST_CASE(a_temporary_name_that_is_taken_again_and_again_is_an_error) {
  const scratch_directory here;
  const std::string path = here.path() + "/state.json";
  std::ofstream(path + ".new") << "somebody's";
  const failing in_vain(call::removal, 0, 100);
  const auto written = write_durably(path, "new");
  BOOST_TEST(in_vain.happened());
  BOOST_TEST(bts3::testing::error_text(written) == path + ".new: File exists");
  BOOST_TEST(content(path + ".new") == "somebody's");
  BOOST_TEST(!std::filesystem::exists(path));
}

BOOST_AUTO_TEST_CASE(what_somebody_puts_under_the_temporary_name_is_neither_renamed_nor_removed) {
  const scratch_directory here;
  const std::string path = here.path() + "/state.json";
  BOOST_REQUIRE(write_durably(path, "old").has_value());
  meanwhile = [&] {
    std::filesystem::rename(path + ".new", here.path() + "/aside");
    std::ofstream(path + ".new") << "somebody's";
  };
  const auto written = write_durably(path, "new");
  meanwhile = nullptr;
  BOOST_TEST(bts3::testing::error_text(written) == "renaming " + path + ".new: Stale file handle");
  BOOST_TEST(content(path) == "old");
  BOOST_TEST(content(path + ".new") == "somebody's");
}

BOOST_AUTO_TEST_SUITE_END()
