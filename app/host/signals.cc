#include "app/host/signals.hh"

#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <utility>

namespace bts3::app {

namespace {

bool is_ignored(int signal_number) {
  struct sigaction now{};
  return ::sigaction(signal_number, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

std::string name_of(int signal_number) {
  const char* const name = ::sigabbrev_np(signal_number);
  return name != nullptr ? "SIG" + std::string(name) : std::to_string(signal_number);
}

}  // namespace

engine::result<signal_watch> signal_watch::create() {
  sigset_t stopping;
  ::sigemptyset(&stopping);
  ::sigaddset(&stopping, SIGINT);
  ::sigaddset(&stopping, SIGTERM);
  // A blocked signal arrives although it is ignored.
  if (!is_ignored(SIGHUP)) {
    ::sigaddset(&stopping, SIGHUP);
  }
  if (const int code = ::pthread_sigmask(SIG_BLOCK, &stopping, nullptr); code != 0) {
    return engine::system_error(code, "blocking signals");
  }
  // A child that stops reading is noticed as EPIPE by the write that meets it, a limit on the size
  // of files as EFBIG.
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  ::signal(SIGCHLD, SIG_DFL);
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
    auto reading = loop.read_aside(_fd.get(), std::as_writable_bytes(std::span(&info, 1)), until);
    auto got = co_await std::move(reading);
    if (!got || *got != sizeof info) {
      co_return;
    }
    const int number = static_cast<int>(info.ssi_signo);
    log.write(engine::log_level::warning, "app", _received == 0 ? "stopping" : "stopping_faster",
              {{"signal", name_of(number)}});
    if (_received == 0) {
      _received = number;
      stop.request_stop();
      continue;
    }
    const sources now = *_to_hasten;
    for (engine::stop_source* const one : now) {
      one->request_stop();
    }
  }
}

hastened::hastened(const signal_watch* signals, engine::stop_source& what)
    : _among(signals != nullptr ? signals->_to_hasten : nullptr), _what(&what) {
  if (_among) {
    _among->push_back(_what);
  }
}

hastened::~hastened() {
  if (_among) {
    std::erase(*_among, _what);
  }
}

}  // namespace bts3::app
