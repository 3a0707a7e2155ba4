#include "app/secrets/key_file.hh"

#include "engine/files.hh"
#include "engine/unique_fd.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::secret_string;

constexpr mode_t readable_by_group = 040;
constexpr mode_t readable_by_others = 004;
constexpr mode_t writable_by_others = 022;

std::string mode_text(mode_t mode) {
  std::string text;
  for (const unsigned shift : {9U, 6U, 3U, 0U}) {
    text += static_cast<char>('0' + (mode >> shift & 7U));
  }
  return text;
}

error wrong_kind(const std::string& path, mode_t mode) {
  const std::string_view kind = S_ISDIR(mode)    ? "a directory"
                                : S_ISFIFO(mode) ? "a pipe"
                                : S_ISSOCK(mode) ? "a socket"
                                                 : "a device";
  return engine::configuration_error(path + " is " + std::string(kind) + ", and no file",
                                     "give a regular file, of mode 0600 where it holds a secret");
}

error too_large(const std::string& path) {
  return engine::configuration_error(path + " has more than 1 MiB, which no file with keys has",
                                     "give the file with the keys alone");
}

// What is wrong with the mode of what holds a secret. Others than its owner are everybody where the
// owner is another one: whom a group of theirs has, they may know.
std::optional<error> exposure(const std::string& path, const struct stat& its) {
  const mode_t forbidden =
      its.st_uid == ::geteuid() ? readable_by_group | readable_by_others : readable_by_others;
  if ((its.st_mode & forbidden) == 0) {
    return std::nullopt;
  }
  return engine::configuration_error(
      "others can read " + path + ": its mode is " + mode_text(its.st_mode),
      "chmod 600 " + path + "; where others have used this host, make a new key");
}

std::optional<error> alteration(const std::string& path, const struct stat& its) {
  if ((its.st_mode & writable_by_others) == 0) {
    return std::nullopt;
  }
  return engine::configuration_error(
      "others can write to " + path + ": its mode is " + mode_text(its.st_mode),
      "look at what it says, then: chmod go-w " + path);
}

}  // namespace

result<key_file> read_key_file(const std::string& path) {
  // Opening a FIFO would wait for a writer.
  const engine::unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat its{};
  if (!file.valid() || ::fstat(file.get(), &its) != 0) {
    const int code = errno;
    error failure = engine::system_error(code, "reading " + path);
    failure.what_now = engine::disposition::fail;
    failure.why = engine::reason::configuration;
    failure.remedy = code == ENOENT ? "give the path of a file that is there"
                                    : "make it readable for whoever runs this";
    return failure;
  }
  if (!S_ISREG(its.st_mode)) {
    return wrong_kind(path, its.st_mode);
  }
  if (static_cast<std::size_t>(its.st_size) > key_file_bytes_max) {
    return too_large(path);
  }
  // One more, so that its end is seen.
  secret_string room = secret_string::zeroes(static_cast<std::size_t>(its.st_size) + 1);
  std::size_t size = 0;
  while (size < room.size()) {
    const auto into = room.writable().subspan(size);
    const ssize_t count = ::read(file.get(), into.data(), into.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return engine::system_error(errno, "reading " + path);
    }
    if (count == 0) {
      break;
    }
    size += static_cast<std::size_t>(count);
  }
  if (size == room.size()) {
    return engine::configuration_error(path + " grows while it is read", "try again");
  }
  key_file made;
  made.text = secret_string(room.view().substr(0, size));
  made.exposed = exposure(path, its);
  made.alterable = alteration(path, its);
  return made;
}

result<secret_string> read_secret_file(const std::string& path) {
  auto file = read_key_file(path);
  if (!file) {
    return std::move(file.error());
  }
  if (file->exposed) {
    return std::move(*file->exposed);
  }
  return std::move(file->text);
}

result<secret_string> read_trusted_file(const std::string& path) {
  auto file = read_key_file(path);
  if (!file) {
    return std::move(file.error());
  }
  if (file->alterable) {
    return std::move(*file->alterable);
  }
  return std::move(file->text);
}

result<void> write_new_secret(const std::string& path, const secret_string& text) {
  const engine::unique_fd file(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return engine::system_error(errno, path);
  }
  std::string_view rest = text.view();
  int code = 0;
  while (!rest.empty() && code == 0) {
    const ssize_t count = ::write(file.get(), rest.data(), rest.size());
    if (count > 0) {
      rest.remove_prefix(static_cast<std::size_t>(count));
    } else if (count == 0 || errno != EINTR) {
      code = count == 0 ? EIO : errno;
    }
  }
  if (code == 0 && (::fchmod(file.get(), 0600) != 0 || ::fsync(file.get()) != 0)) {
    code = errno;
  }
  const std::size_t slash = path.rfind('/');
  auto directory =
      engine::open_directory(slash == std::string::npos ? "." : path.substr(0, slash + 1));
  if (code == 0 && directory && ::fsync(directory->get()) != 0) {
    code = errno;
  }
  if (code != 0 || !directory) {
    ::unlink(path.c_str());
    return directory ? engine::system_error(code, "writing " + path) : std::move(directory.error());
  }
  return engine::ok();
}

}  // namespace bts3::app
