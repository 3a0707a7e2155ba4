#include "app/text/standard_output.hh"

#include "app/text/output.hh"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

namespace bts3::app {

namespace {

// Also when the write that failed was long ago, and its errno is lost.
bool reader_is_gone() {
  pollfd out{STDOUT_FILENO, 0, 0};
  return ::poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

}  // namespace

std::optional<std::string> close_standard_output() {
  const bool failed_before = std::ferror(stdout) != 0;
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0;
  int problem = failed_before ? output_problem() : flushed ? 0 : errno;
  const bool gone = (failed_before || !flushed) && (problem == EPIPE || reader_is_gone());
  // A file system over a network tells of some failures only here. Standard output that was never
  // open, and was not written to, is nobody's loss.
  if (std::fclose(stdout) != 0 && flushed && errno != EBADF) {
    problem = errno;
  }
  if (gone) {
    return std::string();
  }
  if (!failed_before && problem == 0) {
    return std::nullopt;
  }
  return problem == 0 ? "not all of it could be written"
                      : std::error_code(problem, std::generic_category()).message();
}

int status_with_output(int code, int cut) {
  const std::optional<std::string> problem = close_standard_output();
  if (!problem) {
    return code;
  }
  if (!problem->empty()) {
    std::fprintf(stderr,
                 "btrfs_to_s3: writing to standard output: %s; what was done is done, and what was "
                 "to be read is not there\n",
                 problem->c_str());
  }
  return code == 0 ? cut : code;
}

}  // namespace bts3::app
