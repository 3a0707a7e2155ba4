#include "engine/files.hh"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace bts3::engine {

result<unique_fd> open_directory(const std::string& path) {
  unique_fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    return system_error(errno, path);
  }
  return fd;
}

result<void> write_durably(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".new";
  const unique_fd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return system_error(errno, temporary);
  }
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = ::write(file.get(), text.data() + written, text.size() - written);
    if (count < 0) {
      return system_error(errno, "writing " + temporary);
    }
    written += static_cast<std::size_t>(count);
  }
  if (::fsync(file.get()) != 0) {
    return system_error(errno, "fsync of " + temporary);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    return system_error(errno, "renaming " + temporary);
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
