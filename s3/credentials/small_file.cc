#include "s3/credentials/small_file.hh"

#include "engine/secret_string.hh"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>

namespace bts3::s3 {

namespace {

// Real ones have a few hundred bytes to a few KiB.
constexpr std::size_t file_bytes_max = 1024 * 1024;

engine::error unreadable(const char* why) {
  engine::error failure;
  failure.why = engine::reason::system;
  failure.message = why;
  return failure;
}

}  // namespace

engine::result<std::string> read_small_file(const std::string& path) {
  errno = 0;
  std::ifstream stream;
  stream.rdbuf()->pubsetbuf(nullptr, 0);  // or a copy would stay behind there
  stream.open(path, std::ios::binary);
  if (!stream) {
    return unreadable(errno != 0 ? ::strerrordesc_np(errno) : "cannot be opened");
  }
  std::string text(file_bytes_max + 1, '\0');
  const engine::wiped afterwards(text);
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (stream.bad()) {
    return unreadable("cannot be read");
  }
  if (text.size() > file_bytes_max) {
    return unreadable("is larger than 1 MiB");
  }
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) {
    return std::string();
  }
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

}  // namespace bts3::s3
