#include "app/records/kept_copies.hh"

#include "engine/files.hh"
#include "engine/unique_fd.hh"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>

namespace bts3::app {

namespace {

using engine::result;
using engine::system_error;

constexpr std::string_view forgotten = "forgotten";
// Some 10,000 restores; what is beyond is not read.
constexpr std::size_t bytes_max = std::size_t{1} << 20;

std::string path_of(const std::string& state_path) {
  return state_path + ".kept";
}

// Nullopt where it cannot be read; empty where there is none.
std::optional<std::string> text_of(const std::string& path) {
  const engine::unique_fd file(
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file.valid()) {
    return errno == ENOENT ? std::optional(std::string()) : std::nullopt;
  }
  std::string text;
  char piece[4096];
  while (text.size() < bytes_max) {
    const ::ssize_t got = ::read(file.get(), piece, sizeof piece);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return std::nullopt;
    }
    if (got == 0) {
      break;
    }
    text.append(piece, static_cast<std::size_t>(got));
  }
  return text;
}

// The word at the front of `line`, which goes on behind the space after it.
std::string_view take_word(std::string_view& line) {
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(std::min(word.size() + 1, line.size()));
  return word;
}

void apply(std::string_view line, const planner::snapshot_record& record,
           std::vector<btrfs::known_copy>& copies) {
  const auto received = btrfs::uuid::parse(take_word(line));
  const auto is = [&](const std::optional<std::string>& text) {
    return text && received == btrfs::uuid::parse(*text);
  };
  if (!received || received->is_null() || (!is(record.uuid) && !is(record.received_uuid))) {
    return;
  }
  if (line == forgotten) {
    copies.clear();
    return;
  }
  const auto own = btrfs::uuid::parse(take_word(line));
  btrfs::known_copy copy;
  const char* const end = line.data() + line.size();
  const auto [stopped, problem] = std::from_chars(line.data(), end, copy.ctransid);
  if (own && problem == std::errc() && stopped == end) {
    copy.own_uuid = *own;
    copies.push_back(copy);
  }
}

// In one write, behind a newline that ends a line which a crash may have torn.
result<void> append(const std::string& state_path, const std::string& line) {
  const std::string path = path_of(state_path);
  std::error_code code;
  const auto directory = std::filesystem::path(path).parent_path();
  std::filesystem::create_directories(directory, code);
  if (code) {
    return system_error(code.value(), "making the directory of " + path);
  }
  const engine::unique_fd file(::open(
      path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!file.valid()) {
    return system_error(errno, path);
  }
  const std::string text = "\n" + line + "\n";
  const ::ssize_t put = ::write(file.get(), text.data(), text.size());
  if (put != static_cast<::ssize_t>(text.size())) {
    return system_error(put < 0 ? errno : ENOSPC, "writing " + path);
  }
  if (::fsync(file.get()) != 0) {
    return system_error(errno, "syncing " + path);
  }
  const auto place = engine::open_directory(directory.string());
  if (!place) {
    return place.error();
  }
  return ::fsync(place->get()) == 0 ? engine::ok()
                                    : result<void>(system_error(errno, "syncing " + path));
}

}  // namespace

std::vector<btrfs::known_copy> kept_copies(const std::string& state_path,
                                           const planner::snapshot_record& record) {
  const auto text = text_of(path_of(state_path));
  if (!text) {
    return {btrfs::known_copy()};
  }
  std::vector<btrfs::known_copy> copies;
  std::string_view rest = *text;
  for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
    apply(rest.substr(0, end), record, copies);
    rest.remove_prefix(end + 1);
  }
  return copies;
}

result<void> remember_kept(const std::string& state_path, const btrfs::subvolume_info& copy) {
  return append(state_path, copy.received_uuid.text() + " " + copy.own_uuid.text() + " " +
                                std::to_string(copy.ctransid));
}

result<void> forget_kept(const std::string& state_path, const btrfs::uuid& received) {
  return append(state_path, received.text() + " " + std::string(forgotten));
}

}  // namespace bts3::app
