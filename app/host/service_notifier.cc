#include "app/host/service_notifier.hh"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;

// Only the first and the last message are worth waiting for, and not for long.
constexpr timeval patience_max{2, 0};

error senseless(const std::string& variable, const std::string& value, const std::string& wanted) {
  error failure;
  failure.message = variable + " = \"" + value + "\" is " + wanted;
  failure.remedy = "it comes from the service manager; nothing is told to it in this run";
  return failure;
}

std::optional<std::uint64_t> number_in(const std::string& text) {
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
  return whole ? std::optional(value) : std::nullopt;
}

std::string one_line(std::string text) {
  for (char& c : text) {
    c = static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  return text;
}

}  // namespace

result<service_notifier> service_notifier::create(const engine::environment_lookup& environment,
                                                  pid_t own, engine::log_sink& log) {
  service_notifier made(log);
  const std::string address = environment("NOTIFY_SOCKET").value_or("");
  if (address.empty()) {
    return made;
  }
  // sun_path: an abstract name may fill it, a path needs a NUL behind it.
  const bool abstract = address.front() == '@';
  if ((!abstract && address.front() != '/') || address.size() < 2 ||
      address.size() + (abstract ? 0 : 1) > sizeof(sockaddr_un::sun_path)) {
    return senseless("NOTIFY_SOCKET", address, "neither a path nor an abstract socket");
  }
  const std::string interval = environment("WATCHDOG_USEC").value_or("");
  const std::string whom = environment("WATCHDOG_PID").value_or("");
  if (!interval.empty()) {
    const auto microseconds = number_in(interval);
    constexpr std::uint64_t longest = std::uint64_t{365} * 86'400 * 1'000'000;
    if (!microseconds || *microseconds == 0) {
      return senseless("WATCHDOG_USEC", interval, "no number of microseconds");
    }
    const auto process = number_in(whom);
    if (!whom.empty() && !process) {
      return senseless("WATCHDOG_PID", whom, "no process");
    }
    // A watchdog longer than a year is none, and one of another process none of ours.
    if (*microseconds <= longest && (whom.empty() || *process == static_cast<std::uint64_t>(own))) {
      made._watchdog = std::chrono::microseconds(*microseconds);
    }
  }
  made._socket.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!made._socket.valid()) {
    return engine::system_error(errno, "a socket for NOTIFY_SOCKET");
  }
  if (::setsockopt(made._socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience_max,
                   sizeof patience_max) != 0) {
    return engine::system_error(errno, "the time limit of NOTIFY_SOCKET");
  }
  made._address = address;
  if (abstract) {
    made._address.front() = '\0';
  }
  return made;
}

void service_notifier::send(std::string_view message, patience wait) {
  if (!active()) {
    return;
  }
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, _address.data(), _address.size());
  // The length tells how long an abstract name is, and may or may not count a path's NUL.
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + _address.size());
  const int flags = MSG_NOSIGNAL | (wait == patience::none ? MSG_DONTWAIT : 0);
  const ssize_t sent = ::sendto(_socket.get(), message.data(), message.size(), flags,
                                reinterpret_cast<const sockaddr*>(&to), size);
  if (sent >= 0 || std::exchange(_failed, true)) {
    return;
  }
  const std::string problem = engine::system_error(errno, "NOTIFY_SOCKET").message;
  _log->write(engine::log_level::warning, "app", "service_manager_not_told",
              {{"error", problem}, {"consequence", "the run goes on; this is said once"}});
}

void service_notifier::ready(const std::string& status) {
  send("READY=1\nSTATUS=" + one_line(status), patience::some);
}

void service_notifier::status(const std::string& text) {
  send("STATUS=" + one_line(text), patience::none);
}

void service_notifier::stopping(const std::string& status, std::chrono::microseconds at_most) {
  send("STOPPING=1\nEXTEND_TIMEOUT_USEC=" + std::to_string(at_most.count()) +
           "\nSTATUS=" + one_line(status),
       patience::some);
}

task<void> service_notifier::keep_alive(engine::reactor& loop, engine::stop_token until) {
  if (!active() || _watchdog.count() == 0) {
    co_return;
  }
  for (;;) {
    send("WATCHDOG=1", patience::none);
    auto sleeping = loop.sleep_aside(_watchdog / 2, until);
    auto slept = co_await std::move(sleeping);
    if (!slept) {
      co_return;
    }
  }
}

}  // namespace bts3::app
