#include "engine/files.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

namespace bts3::engine {

namespace {

constexpr int tries = 100;  // of a name that somebody else makes again and again

// A new file under a name that may be taken. errno says why not.
unique_fd open_new(const std::string& path) {
  for (int count = 0; count < tries; ++count) {
    unique_fd file(
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (file.valid() || errno != EEXIST) {
      return file;
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
      return {};
    }
  }
  errno = EEXIST;
  return {};
}

result<void> write_whole(int fd, std::string_view text, mode_t mode, const std::string& name) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return system_error(count < 0 ? errno : EIO, "writing " + name);
    }
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  if (::fchmod(fd, mode) != 0 || ::fsync(fd) != 0) {
    return system_error(errno, "fsync of " + name);
  }
  return ok();
}

// Whether `path` is still the file that was opened, and nobody's else.
bool is_at(int fd, const std::string& path) {
  struct stat opened{};
  struct stat named{};
  return ::fstat(fd, &opened) == 0 && ::lstat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

}  // namespace

result<unique_fd> open_directory(const std::string& path) {
  unique_fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    return system_error(errno, path);
  }
  return fd;
}

bool make_last_directory(const std::string& path) {
  return ::mkdir(path.c_str(), 0700) == 0;
}

result<void> write_durably(const std::string& path, std::string_view text, mode_t mode) {
  const std::string temporary = path + ".new";
  const unique_fd file = open_new(temporary);
  if (!file.valid()) {
    return system_error(errno, temporary);
  }
  auto written = write_whole(file.get(), text, mode, temporary);
  if (written && !is_at(file.get(), temporary)) {
    return system_error(ESTALE, "renaming " + temporary);  // it is not ours to remove
  }
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) {
    written = system_error(errno, "renaming " + temporary);
  }
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  auto parent = open_directory(directory);
  if (!parent) {
    return std::move(parent.error());
  }
  if (::fsync(parent->get()) != 0) {
    return system_error(errno, "fsync of " + directory);
  }
  return ok();
}

}  // namespace bts3::engine
