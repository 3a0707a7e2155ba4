// The lock that keeps runs of one host apart.
#include "app/records/run_lock.hh"

#include "app/cli/exit_status.hh"
#include "app/config/config.hh"
#include "tests/app/support.hh"
#include "tests/support/as_nobody.hh"
#include "tests/support/no_growth.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

using namespace bts3::app;
using namespace bts3::engine;
using bts3::testing::content_of;
using bts3::testing::error_text;
using scratch = bts3::testing::scratch_directory;

namespace {

// Another process that takes the lock at `path`, starts a program, and waits to be killed.
class lock_holder {
 public:
  explicit lock_holder(const std::string& path) {
    std::array<int, 2> report{};
    BOOST_REQUIRE(::pipe2(report.data(), O_CLOEXEC) == 0);
    _pid = ::fork();
    BOOST_REQUIRE(_pid >= 0);
    if (_pid == 0) {
      hold(path, report[1]);
    }
    ::close(report[1]);
    const bool told = ::read(report[0], &_program, sizeof _program) == sizeof _program;
    ::close(report[0]);
    BOOST_REQUIRE_MESSAGE(told, "the other process did not get the lock");
  }
  ~lock_holder() {
    end();
    if (_program > 0) {
      ::kill(_program, SIGKILL);
    }
  }
  lock_holder(const lock_holder&) = delete;
  lock_holder& operator=(const lock_holder&) = delete;

  [[nodiscard]] pid_t pid() const { return _pid; }
  [[nodiscard]] bool its_program_runs() const { return ::kill(_program, 0) == 0; }
  void end() {
    if (_pid > 0) {
      ::kill(_pid, SIGKILL);
      ::waitpid(_pid, nullptr, 0);
      _pid = 0;
    }
  }

 private:
  [[noreturn]] static void hold(const std::string& path, int report) {
    auto held = run_lock::acquire(path);
    std::array<int, 2> until_exec{};
    if (!held || ::pipe2(until_exec.data(), O_CLOEXEC) != 0) {
      ::_exit(1);
    }
    const pid_t program = ::fork();
    if (program == 0) {
      ::execlp("sleep", "sleep", "600", nullptr);
      ::_exit(1);
    }
    ::close(until_exec[1]);
    char nothing = 0;
    const bool started = ::read(until_exec[0], &nothing, 1) == 0;
    if (program < 0 || !started || ::write(report, &program, sizeof program) != sizeof program) {
      ::_exit(1);
    }
    for (;;) {
      ::pause();
    }
  }

  pid_t _pid = 0;
  pid_t _program = 0;
};

// What taking the lock at `path` says; empty when it was taken.
std::string lock_problem(const std::string& path) {
  const auto taken = run_lock::acquire(path);
  return taken ? std::string() : taken.error().text();
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(run_lock_suite)

BOOST_AUTO_TEST_CASE(a_held_lock_names_its_owner_and_a_released_one_is_free_again) {
  const scratch directory;
  const std::string path = directory / "missing/lock";
  std::optional<run_lock> held;
  {
    auto first = run_lock::acquire(path);
    BOOST_REQUIRE_MESSAGE(first.has_value(), error_text(first));
    held = std::move(*first);
  }
  // Open-file-description locks exclude within a process, too.
  auto second = run_lock::acquire(path);
  BOOST_REQUIRE(!second);
  BOOST_TEST((status_of(second.error()) == exit_status::lock_held));
  BOOST_TEST(
      second.error().message.find("lock already held by pid " + std::to_string(::getpid())) == 0u);
  held.reset();
  BOOST_TEST(std::filesystem::exists(path));
  BOOST_TEST(run_lock::acquire(path).has_value());
}

BOOST_AUTO_TEST_CASE(a_stale_or_garbled_file_blocks_nothing) {
  const scratch directory;
  const std::string path = directory / "lock";
  for (const char* text : {"1\n", "999999999\n", "not a number", ""}) {
    std::ofstream(path) << text;
    auto taken = run_lock::acquire(path);
    BOOST_TEST(taken.has_value(), error_text(taken));
    BOOST_TEST(content_of(path) == std::to_string(::getpid()) + "\n");
  }
}

BOOST_AUTO_TEST_CASE(a_pid_that_another_program_has_by_now_blocks_nothing) {
  const scratch directory;
  const std::string path = directory / "lock";
  const lock_holder other(directory / "elsewhere");
  std::ofstream(path) << other.pid() << '\n';
  BOOST_TEST(lock_problem(path) == "");
}

BOOST_AUTO_TEST_CASE(a_lock_held_by_another_process_names_it_and_goes_with_it) {
  const scratch directory;
  const std::string path = directory / "lock";
  lock_holder other(path);
  auto refused = run_lock::acquire(path);
  BOOST_REQUIRE(!refused);
  BOOST_TEST((status_of(refused.error()) == exit_status::lock_held));
  BOOST_TEST(refused.error().message ==
             "lock already held by pid " + std::to_string(other.pid()) + " (" + path + ")");
  BOOST_TEST(content_of(path) == std::to_string(other.pid()) + "\n");
  // What it started lives on, and must not have the lock.
  other.end();
  BOOST_TEST(other.its_program_runs());
  BOOST_TEST(lock_problem(path) == "");
}

BOOST_AUTO_TEST_CASE(a_held_lock_whose_file_says_anything_else_than_a_pid_has_an_unknown_holder) {
  const scratch directory;
  const std::string path = directory / "lock";
  const lock_holder other(path);
  for (const char* text : {"", "\n", "\x1b[31mred", "12 monkeys\n", "-1\n"}) {
    std::ofstream(path, std::ios::trunc) << text;
    BOOST_TEST(lock_problem(path).starts_with("lock already held by pid (unknown) ("), text);
    BOOST_TEST(content_of(path) == text);
  }
}

BOOST_AUTO_TEST_CASE(a_path_that_cannot_be_a_lock_is_an_error_with_its_key_and_a_remedy) {
  const scratch directory;
  std::ofstream(directory / "file") << "mine";
  std::filesystem::create_directory(directory / "folder");
  std::filesystem::create_symlink(directory / "file", directory / "link");
  BOOST_REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
  const std::pair<std::string, std::string> cases[] = {
      {directory / "folder", "Is a directory"},
      {directory / "link", "symbolic links"},
      {directory / "fifo", "is no regular file"},
      {directory / "file/lock", "making " + (directory / "file")},
      {"/proc/no/such/lock", "making /proc/no/such"},
      {"/dev/null", "is no regular file"},
  };
  for (const auto& [path, expected] : cases) {
    const auto taken = run_lock::acquire(path);
    BOOST_REQUIRE_MESSAGE(!taken, path);
    const std::string text = taken.error().text();
    BOOST_TEST(text.starts_with("global.lock_path: "), text);
    BOOST_TEST(has(text, expected), text);
    BOOST_TEST(has(text, "name a file that can be written to"), text);
    // A missing folder is no "not there", which a caller might take for an answer.
    BOOST_TEST((taken.error().what_now == disposition::fail));
    BOOST_TEST((status_of(taken.error()) == exit_status::failed));
  }
  BOOST_TEST(content_of(directory / "file") == "mine");
}

BOOST_AUTO_TEST_CASE(the_file_is_for_its_owner_alone_and_an_old_one_is_narrowed) {
  const scratch directory;
  const std::string path = directory / "lock";
  const auto mode = [&path] {
    struct stat entry{};
    BOOST_REQUIRE(::stat(path.c_str(), &entry) == 0);
    return entry.st_mode & 07777;
  };
  BOOST_TEST(lock_problem(path) == "");
  BOOST_TEST(mode() == 0600U);
  BOOST_REQUIRE(::chmod(path.c_str(), 0644) == 0);
  BOOST_TEST(lock_problem(path) == "");
  BOOST_TEST(mode() == 0600U);
}

BOOST_AUTO_TEST_CASE(a_shared_lock_is_no_run_and_is_told_as_what_it_is) {
  const scratch directory;
  const std::string path = directory / "lock";
  std::ofstream(path) << "4194000\n";  // of a run that is long dead
  const unique_fd reader(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  for (const int command : {F_OFD_SETLK, F_SETLK}) {
    struct flock shared{};
    shared.l_type = F_RDLCK;
    shared.l_whence = SEEK_SET;
    // The second kind belongs to the process, so another one has to hold it.
    const pid_t other = command == F_SETLK ? ::fork() : 0;
    if (command == F_SETLK && other == 0) {
      const int mine = ::open(path.c_str(), O_RDONLY);
      ::_exit(::fcntl(mine, F_SETLK, &shared) == 0 && ::raise(SIGSTOP) == 0 ? 0 : 1);
    }
    if (command == F_SETLK) {
      BOOST_REQUIRE(::waitpid(other, nullptr, WUNTRACED) == other);
    } else {
      BOOST_REQUIRE(::fcntl(reader.get(), command, &shared) == 0);
    }
    const auto taken = run_lock::acquire(path);
    BOOST_REQUIRE(!taken);
    const std::string text = taken.error().text();
    BOOST_TEST((status_of(taken.error()) == exit_status::failed));
    BOOST_TEST(has(text, "not by a run of this program"), text);
    BOOST_TEST(!has(text, "4194000"), text);
    BOOST_TEST(has(text, "by process " + std::to_string(other)) == (command == F_SETLK), text);
    BOOST_TEST(!run_lock::holder(path).value().has_value());
    shared.l_type = F_UNLCK;
    if (command == F_SETLK) {
      ::kill(other, SIGKILL);
      ::waitpid(other, nullptr, 0);
    } else {
      BOOST_REQUIRE(::fcntl(reader.get(), command, &shared) == 0);
    }
  }
  BOOST_TEST(lock_problem(path) == "");
}

BOOST_AUTO_TEST_CASE(what_somebody_else_put_there_is_refused_and_not_touched) {
  const scratch directory;
  const std::string path = directory / "lock";
  std::ofstream(directory / "precious") << "precious";
  std::filesystem::create_hard_link(directory / "precious", path);
  BOOST_TEST(has(lock_problem(path), "has other names (hard links)"));
  BOOST_TEST(content_of(directory / "precious") == "precious");
  std::filesystem::remove(path);
  BOOST_REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  // Asking does not wait for somebody to open its other end.
  BOOST_TEST(has(error_text(run_lock::holder(path)), "is no regular file"));
  if (::geteuid() != 0) {
    std::cout << "skipped: giving files away needs root\n";
    return;
  }
  std::filesystem::remove(path);
  std::ofstream(path) << "1\n";
  BOOST_REQUIRE(::chown(path.c_str(), 65534, 65534) == 0);
  BOOST_TEST(has(lock_problem(path), "belongs to user 65534"));
  BOOST_TEST(has(error_text(run_lock::holder(path)), "belongs to user 65534"));
  BOOST_TEST(content_of(path) == "1\n");
}

BOOST_AUTO_TEST_CASE(asking_for_the_holder_makes_nothing_and_follows_no_link) {
  const scratch directory;
  const std::string path = directory / "lock";
  BOOST_TEST(!run_lock::holder(path).value().has_value());
  BOOST_TEST(!std::filesystem::exists(path));
  std::filesystem::create_symlink("/etc/passwd", path);
  const auto link = run_lock::holder(path);
  BOOST_REQUIRE(!link);
  BOOST_TEST(link.error().text() == "global.lock_path: " + path +
                                        ": Too many levels of symbolic links; name a file that can "
                                        "be written to");
  // Nor at the default, where the lock of older versions is looked at too.
  const bool there = std::filesystem::exists(default_lock_path);
  BOOST_TEST(run_lock::holder(default_lock_path).has_value());
  BOOST_TEST(std::filesystem::exists(default_lock_path) == there);
}

BOOST_AUTO_TEST_CASE(the_default_is_where_only_root_can_write) {
  BOOST_TEST(!has(default_lock_path, "/lock/"));
  BOOST_TEST(has(former_lock_path, "/lock/"));
}

BOOST_AUTO_TEST_CASE(a_run_of_an_older_version_excludes_and_is_excluded) {
  const scratch directory;
  const std::string path = directory / "lock";
  const std::string former = directory / "former";
  // It was never there: nothing is made where everybody may write.
  BOOST_TEST(run_lock::acquire_with(path, former).has_value());
  BOOST_TEST(!std::filesystem::exists(former));
  {
    lock_holder older(former);
    const auto refused = run_lock::acquire_with(path, former);
    BOOST_REQUIRE(!refused);
    BOOST_TEST(refused.error().message ==
               "lock already held by pid " + std::to_string(older.pid()) + " (" + former + ")");
  }
  {
    const auto held = run_lock::acquire_with(path, former);
    BOOST_REQUIRE(held.has_value());
    BOOST_TEST(has(lock_problem(former), "held by pid " + std::to_string(::getpid())));
  }
  // Whatever else is in that place is no reason to fail.
  std::filesystem::remove(former);
  std::filesystem::create_symlink("/etc/passwd", former);
  BOOST_TEST(run_lock::acquire_with(path, former).has_value());
  std::filesystem::remove(former);
  std::ofstream(former) << "1\n";
  const unique_fd reader(::open(former.c_str(), O_RDONLY | O_CLOEXEC));
  struct flock shared{};
  shared.l_type = F_RDLCK;
  shared.l_whence = SEEK_SET;
  BOOST_REQUIRE(::fcntl(reader.get(), F_OFD_SETLK, &shared) == 0);
  BOOST_TEST(run_lock::acquire_with(path, former).has_value());
}

// A process whose command line begins so, until this goes.
class process_called {
 public:
  explicit process_called(const char* name) {
    std::array<int, 2> ends{};
    BOOST_REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    _pid = ::fork();
    BOOST_REQUIRE(_pid >= 0);
    if (_pid == 0) {
      ::dup2(ends[0], STDIN_FILENO);
      ::execl("/bin/sh", name, "-c", "read line # -m btrfs_to_s3 backup", nullptr);
      ::_exit(127);
    }
    ::close(ends[0]);
    _end = unique_fd(ends[1]);
    std::string line;
    while (line.find("btrfs_to_s3") == std::string::npos) {  // until it is what it is to be
      std::getline(std::ifstream("/proc/" + std::to_string(_pid) + "/cmdline"), line);
    }
  }
  ~process_called() {
    _end.reset();
    ::waitpid(_pid, nullptr, 0);
  }
  process_called(const process_called&) = delete;
  process_called& operator=(const process_called&) = delete;
  [[nodiscard]] std::string pid() const { return std::to_string(_pid); }

 private:
  pid_t _pid = -1;
  unique_fd _end;
};

// Older versions made it readable for all. This user cannot lock it, but can see who does.
BOOST_AUTO_TEST_CASE(a_run_of_an_older_version_excludes_who_may_only_read_its_lock) {
  if (::geteuid() != 0) {
    std::cout << "skipped: becoming another user needs root\n";
    return;
  }
  const scratch directory;
  const std::string former = directory / "former";
  BOOST_REQUIRE(::chmod((directory / ".").c_str(), 0777) == 0);
  const auto problem = [&] {
    const bts3::testing::as_nobody nobody;
    const auto taken = run_lock::acquire_with(directory / "lock", former);
    return taken ? std::string() : taken.error().message;
  };
  {
    lock_holder older(former);
    BOOST_REQUIRE(::chmod(former.c_str(), 0644) == 0);
    BOOST_TEST(problem() ==
               "lock already held by pid " + std::to_string(older.pid()) + " (" + former + ")");
  }
  BOOST_TEST(problem() == "");
  const process_called earlier("python3.11");
  std::ofstream(former) << earlier.pid();
  BOOST_TEST(has(problem(), "a run of the earlier tool"));
}

BOOST_AUTO_TEST_CASE(a_run_of_the_earlier_tool_excludes_by_its_pid_alone) {
  const scratch directory;
  const std::string path = directory / "lock";
  {
    const process_called earlier("python3.11");
    std::ofstream(path) << earlier.pid();  // as it writes it, without an end of line
    const auto refused = run_lock::acquire(path);
    BOOST_REQUIRE(!refused);
    BOOST_TEST((refused.error().why == reason::lock_held));
    BOOST_TEST(has(refused.error().text(), "held by pid " + earlier.pid()));
    BOOST_TEST(has(refused.error().text(), "of the earlier tool"));
    BOOST_TEST(run_lock::holder(path).value().value_or("") == earlier.pid());
    const auto by_former = run_lock::acquire_with(directory / "other", path);
    BOOST_REQUIRE(!by_former);
    BOOST_TEST((by_former.error().why == reason::lock_held));
    std::string left;
    std::getline(std::ifstream(path), left);
    BOOST_TEST(left == earlier.pid());
    // The number went to another process since the file was written.
    const auto old = std::filesystem::last_write_time(path) - std::chrono::hours(1);
    std::filesystem::last_write_time(path, old);
    BOOST_TEST(!run_lock::holder(path).value().has_value());
    BOOST_TEST(run_lock::acquire(path).has_value());
  }
  const process_called other("backup-of-something");
  for (const std::string& text :
       {other.pid(), std::string("1"), std::string("99999999999999999999"), std::string("-1"),
        std::string("../self"), std::string()}) {
    std::ofstream(path) << text;
    BOOST_TEST(run_lock::acquire(path).has_value(), text);
  }
}

BOOST_AUTO_TEST_CASE(a_lock_that_cannot_name_its_holder_is_not_taken) {
  const scratch directory;
  const std::string path = directory / "lock";
  std::string text;
  {
    const bts3::testing::no_growth full;
    text = lock_problem(path);
  }
  BOOST_TEST(text.starts_with("global.lock_path: writing " + path + ": "), text);
  BOOST_TEST(lock_problem(path) == "");
}

BOOST_AUTO_TEST_CASE(a_file_of_another_user_is_an_error_with_its_key) {
  if (::geteuid() != 0) {
    std::cout << "skipped: becoming another user needs root\n";
    return;
  }
  const scratch directory;
  const std::string path = directory / "lock";
  BOOST_REQUIRE(lock_problem(path).empty());
  BOOST_REQUIRE(::chmod((directory / ".").c_str(), 0755) == 0);
  std::string there;
  std::string missing;
  {
    const bts3::testing::as_nobody nobody;
    there = lock_problem(path);
    missing = lock_problem(directory / "new/lock");
  }
  BOOST_TEST(there.starts_with("global.lock_path: " + path + ": Permission denied; name"), there);
  BOOST_TEST(missing.starts_with("global.lock_path: making "), missing);
}

BOOST_AUTO_TEST_SUITE_END()
