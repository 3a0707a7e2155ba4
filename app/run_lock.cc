#include "app/run_lock.hh"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <string>
#include <utility>

namespace bts3::app {

using engine::error;
using engine::result;
using engine::system_error;

result<run_lock> run_lock::acquire(const std::string& path) {
  const std::filesystem::path directory = std::filesystem::path(path).parent_path();
  std::error_code code;
  std::filesystem::create_directories(directory, code);
  if (code) {
    return system_error(code.value(), "global.lock_path: making " + directory.string(),
                        "name a directory that can be written to");
  }
  engine::unique_fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd.valid()) {
    error failure =
        system_error(errno, "global.lock_path " + path, "name a file that can be written to");
    failure.what_now = engine::disposition::fail;
    return failure;
  }
  struct flock whole{};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(fd.get(), F_OFD_SETLK, &whole) != 0) {
    if (errno != EAGAIN && errno != EACCES) {
      return system_error(errno, "locking " + path);
    }
    std::array<char, 32> text{};
    const ssize_t size = ::pread(fd.get(), text.data(), text.size() - 1, 0);
    std::string owner(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    owner.erase(owner.find_last_not_of(" \n") + 1);
    error failure;
    failure.why = engine::reason::lock_held;
    failure.message =
        "lock already held by pid " + (owner.empty() ? "(unknown)" : owner) + " (" + path + ")";
    failure.remedy = "wait for that run to end";
    return failure;
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd.get(), 0) != 0 ||
      ::pwrite(fd.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return system_error(errno, "writing " + path);
  }
  return run_lock(std::move(fd));
}

}  // namespace bts3::app
