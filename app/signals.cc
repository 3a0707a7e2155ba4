#include "app/signals.hh"

#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

namespace bts3::app {

engine::result<signal_watch> signal_watch::create() {
  sigset_t stopping;
  ::sigemptyset(&stopping);
  ::sigaddset(&stopping, SIGINT);
  ::sigaddset(&stopping, SIGTERM);
  if (::pthread_sigmask(SIG_BLOCK, &stopping, nullptr) != 0) {
    return engine::system_error(errno, "blocking signals");
  }
  // A child that stops reading is noticed as EPIPE by the write that meets it.
  ::signal(SIGPIPE, SIG_IGN);
  engine::unique_fd fd(::signalfd(-1, &stopping, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) {
    return engine::system_error(errno, "signalfd");
  }
  return signal_watch(std::move(fd));
}

engine::task<void> signal_watch::run(engine::reactor& loop, engine::stop_source& stop,
                                     engine::log_sink& log, engine::stop_token until) {
  for (;;) {
    signalfd_siginfo info{};
    auto got = co_await loop.read(_fd.get(), std::as_writable_bytes(std::span(&info, 1)), until);
    if (!got || *got != sizeof info) {
      co_return;
    }
    const int number = static_cast<int>(info.ssi_signo);
    if (_received == 0) {
      _received = number;
      log.write(engine::log_level::warning, "app", "stopping",
                {{"signal", number == SIGINT ? "SIGINT" : "SIGTERM"}});
      stop.request_stop();
    }
  }
}

}  // namespace bts3::app
