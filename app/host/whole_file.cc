#include "app/host/whole_file.hh"

#include "engine/unique_fd.hh"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

namespace bts3::app {

engine::result<std::optional<std::string>> read_whole(const std::string& path) {
  const engine::unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    if (errno == ENOENT) {
      return std::optional<std::string>();
    }
    return engine::system_error(errno, "reading " + path);
  }
  std::string text;
  std::vector<char> piece(64 * 1024);
  for (;;) {
    const ssize_t count = ::read(file.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return engine::system_error(
          errno, "reading " + path,
          "nothing was made of it: look after the disk or filesystem that holds it");
    }
    if (count == 0) {
      return std::optional<std::string>(std::move(text));
    }
    text.append(piece.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace bts3::app
