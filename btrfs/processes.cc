#include "btrfs/processes.hh"

#include "btrfs/child_failure.hh"

#include <sys/ioctl.h>
#include <sys/utsname.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>

namespace bts3::btrfs {

namespace {

using engine::error;
using engine::result;
using engine::task;

// F_SETPIPE_SZ's default limit for everyone (/proc/sys/fs/pipe-max-size); 64 KiB pipes cost nearly
// twice the CPU for each byte.
constexpr std::size_t pipe_bytes = 1 << 20;

}  // namespace

std::optional<version_number> parse_version(std::string_view text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] < '0' || text[at] > '9') {
      continue;
    }
    version_number version;
    const char* end = text.data() + text.size();
    const auto major = std::from_chars(text.data() + at, end, version.major);
    if (major.ec != std::errc() || major.ptr == end || *major.ptr != '.') {
      return std::nullopt;
    }
    const auto minor = std::from_chars(major.ptr + 1, end, version.minor);
    if (minor.ec != std::errc()) {
      return std::nullopt;
    }
    return version;
  }
  return std::nullopt;
}

int read_send_version(const std::string& path) {
  std::ifstream file(path);
  int version = 0;
  return file >> version && version > 0 ? version : 1;
}

task<result<capabilities>> detect_capabilities(engine::reactor& loop) {
  capabilities found;
  utsname system{};
  if (::uname(&system) != 0) {
    co_return engine::system_error(errno, "uname");
  }
  found.kernel = parse_version(system.release).value_or(version_number());
  found.kernel_sends = read_send_version("/sys/fs/btrfs/features/send_stream_version");
  auto ends = engine::make_pipe();
  if (!ends) {
    co_return std::move(ends.error());
  }
  engine::child_options options;
  options.argv = {"btrfs", "--version"};
  options.stdout_fd = ends->write_end.get();
  auto child = engine::child_process::spawn(loop, std::move(options));
  if (!child) {
    error failure = std::move(child.error());
    // Anything else that kept it from starting has a remedy already, or none.
    if (failure.status == ENOENT) {
      failure.remedy = "install btrfs-progs";
    }
    co_return failure;
  }
  ends->write_end.reset();
  auto waiting = child->wait();
  auto end = co_await std::move(waiting);
  if (!end) {
    co_return std::move(end.error());
  }
  std::array<std::byte, 256> text;  // far less than the pipe holds, so reading may come last
  auto got = co_await loop.read(ends->read_end.get(), text);
  if (!got) {
    co_return std::move(got.error());
  }
  const auto version =
      parse_version(std::string_view(reinterpret_cast<const char*>(text.data()), *got));
  if (!end->success() || !version) {
    co_return child_failure("`btrfs --version`", *end);
  }
  found.tools = *version;
  co_return found;
}

std::vector<std::string> send_arguments(const send_options& options) {
  // -q: without it every send prints a line to stderr, which is quoted when something fails.
  std::vector<std::string> argv = {"btrfs", "send", "-q"};
  if (options.protocol >= 2) {
    argv.insert(argv.end(), {"--proto", std::to_string(options.protocol)});
    if (options.compressed_data) {
      argv.emplace_back("--compressed-data");
    }
  }
  if (options.without_data) {
    argv.emplace_back("--no-data");
  }
  if (options.parent) {
    argv.insert(argv.end(), {"-p", *options.parent});
  }
  argv.push_back(options.snapshot);
  return argv;
}

result<send_process> send_process::start(engine::reactor& loop, std::vector<std::string> argv) {
  auto ends = engine::make_pipe(pipe_bytes);
  if (!ends) {
    return std::move(ends.error());
  }
  if (auto nonblocking = engine::set_nonblocking(ends->read_end.get()); !nonblocking) {
    return std::move(nonblocking.error());
  }
  engine::child_options child_options;
  child_options.argv = std::move(argv);
  child_options.stdout_fd = ends->write_end.get();
  auto child = engine::child_process::spawn(loop, std::move(child_options));
  if (!child) {
    return std::move(child.error());
  }
  return send_process(std::move(*child), std::move(ends->read_end));
}

task<result<void>> send_process::finish() {
  auto waiting = _child.wait();
  auto end = co_await std::move(waiting);
  if (!end) {
    co_return std::move(end.error());
  }
  if (!end->success()) {
    co_return child_failure("`btrfs send`", *end);
  }
  co_return engine::ok();
}

task<void> send_process::abort() {
  _child.terminate();
  _pipe.reset();
  auto waiting = _child.wait();
  (void)co_await std::move(waiting);
}

std::vector<std::string> receive_arguments(const std::string& directory, bool decompress) {
  // -e: stop at the END command instead of waiting for another stream. -m: it need not look for the
  // mount, which takes a /proc that shows it.
  std::vector<std::string> argv = {"btrfs", "receive", "-q", "-e", "-C", "-m", directory};
  if (decompress) {
    argv.emplace_back("--force-decompress");
  }
  argv.push_back(directory);
  return argv;
}

result<receive_process> receive_process::start(engine::reactor& loop, receive_command command) {
  auto ends = engine::make_pipe(pipe_bytes);
  if (!ends) {
    return std::move(ends.error());
  }
  if (auto nonblocking = engine::set_nonblocking(ends->write_end.get()); !nonblocking) {
    return std::move(nonblocking.error());
  }
  engine::child_options options;
  options.argv = std::move(command.argv);
  options.before_start = std::move(command.before_start);
  options.kept_fd = command.lock;
  options.stdin_fd = ends->read_end.get();
  auto child = engine::child_process::spawn(loop, std::move(options));
  if (!child) {
    return std::move(child.error());
  }
  return receive_process(std::move(*child), std::move(ends->write_end));
}

std::optional<std::size_t> receive_process::unread_bytes() const {
  int bytes = 0;
  if (!_pipe.valid() || ::ioctl(_pipe.get(), FIONREAD, &bytes) != 0) {
    return std::nullopt;
  }
  return static_cast<std::size_t>(bytes);
}

task<result<void>> receive_process::finish(engine::stop_token stop) {
  if (stop.stop_requested()) {
    auto aborting = abort();
    co_await std::move(aborting);
    co_return engine::cancelled_error();
  }
  _pipe.reset();
  const engine::stop_callback on_stop(stop, engine::terminate_child{&_child});
  auto waiting = _child.wait();
  auto end = co_await std::move(waiting);
  if (!end) {
    co_return std::move(end.error());
  }
  if (!end->success()) {
    if (stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    co_return child_failure("`btrfs receive`", *end);
  }
  co_return engine::ok();
}

task<void> receive_process::abort() {
  // Before its input ends: what it has received so far must not look finished to it.
  _child.terminate();
  auto waiting = _child.wait();
  (void)co_await std::move(waiting);
  _pipe.reset();
}

}  // namespace bts3::btrfs
