#include "app/run_lock.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace bts3::app {

using engine::error;
using engine::result;
using engine::system_error;

namespace {

// Whatever goes wrong with the file itself: its key, and what helps.
error unusable(int err, const std::string& what) {
  error failure =
      system_error(err, "global.lock_path: " + what, "name a file that can be written to");
  failure.what_now = engine::disposition::fail;
  return failure;
}

// The PID that the holder wrote. Anything else in the file is not repeated to a terminal.
std::string owner_of(const engine::unique_fd& fd) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(fd.get(), text.data(), text.size(), 0);
  const std::string_view line(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  const std::string_view pid = line.substr(0, line.find('\n'));
  const bool number = !pid.empty() && pid.find_first_not_of("0123456789") == std::string_view::npos;
  return number ? std::string(pid) : "(unknown)";
}

}  // namespace

result<run_lock> run_lock::acquire(const std::string& path) {
  const std::filesystem::path directory = std::filesystem::path(path).parent_path();
  std::error_code code;
  std::filesystem::create_directories(directory, code);
  if (code) {
    return unusable(code.value(), "making " + directory.string());
  }
  engine::unique_fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd.valid()) {
    return unusable(errno, path);
  }
  struct stat entry{};
  if (::fstat(fd.get(), &entry) != 0 || !S_ISREG(entry.st_mode)) {
    return unusable(EINVAL, path + " is no regular file");
  }
  struct flock whole{};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(fd.get(), F_OFD_SETLK, &whole) != 0) {
    if (errno != EAGAIN && errno != EACCES) {
      return unusable(errno, "locking " + path);
    }
    error failure;
    failure.why = engine::reason::lock_held;
    failure.message = "lock already held by pid " + owner_of(fd) + " (" + path + ")";
    failure.remedy = "wait for that run to end";
    return failure;
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd.get(), 0) != 0 ||
      ::pwrite(fd.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return unusable(errno, "writing " + path);
  }
  return run_lock(std::move(fd));
}

result<std::optional<std::string>> run_lock::holder(const std::string& path) {
  const engine::unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    if (errno == ENOENT) {
      return std::optional<std::string>();
    }
    return unusable(errno, path);
  }
  struct flock whole{};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(fd.get(), F_OFD_GETLK, &whole) != 0) {
    return unusable(errno, "asking who locks " + path);
  }
  return whole.l_type == F_UNLCK ? std::optional<std::string>() : owner_of(fd);
}

}  // namespace bts3::app
