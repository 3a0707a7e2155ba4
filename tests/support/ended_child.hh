// What a process says and how it ends, for code that ends it.
#pragma once

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>

namespace bts3::testing {

struct child_end {
  int status = -1;   // of its exit; -1 where a signal ended it
  int signal = 0;    // that ended it
  std::string said;  // on stderr
};

// Forks, does `what` in the child and tells of its end; a child that comes back exits with 0.
// Of a process that has threads nothing but what the calling one needs may be used in it.
template <typename What>
child_end end_of_child(What what) {
  std::array<int, 2> ends{};
  BOOST_REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);  // else Boost would go on with the other tests
    ::dup2(ends[1], STDERR_FILENO);
    what();
    ::_exit(0);
  }
  ::close(ends[1]);
  child_end seen;
  std::array<char, 4096> piece{};
  for (ssize_t size = 0; (size = ::read(ends[0], piece.data(), piece.size())) != 0;) {
    BOOST_REQUIRE((size > 0 || errno == EINTR));
    seen.said.append(piece.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  }
  ::close(ends[0]);
  int status = 0;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  seen.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  seen.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  return seen;
}

}  // namespace bts3::testing
