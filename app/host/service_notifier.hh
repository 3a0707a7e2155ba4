// What a service manager hears of the program: that it is ready, what it is doing, that it is
// alive, that it is about to end. The protocol of sd_notify(3): datagrams of KEY=value lines to the
// socket that NOTIFY_SOCKET names. A few lines do what libsystemd would, without the dependency.
//
// The keep-alives come from the reactor: a program that hangs sends none, and is restarted. Nothing
// here ever makes a run fail or wait: what the manager cannot take is dropped, and said once.
#pragma once

#include "engine/environment.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "engine/unique_fd.hh"

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>

namespace bts3::app {

// The variables that speak to one process alone: they must not reach its children.
inline constexpr const char* service_variables[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC",
                                                    "WATCHDOG_PID"};

class service_notifier {
 public:
  // Without NOTIFY_SOCKET it tells nobody, and that is no error. `own` is this process. `log` must
  // outlive it. Errors: a variable that makes no sense.
  static engine::result<service_notifier> create(const engine::environment_lookup& environment,
                                                 pid_t own, engine::log_sink& log);
  // Tells nobody.
  explicit service_notifier(engine::log_sink& log) : _log(&log) {}

  [[nodiscard]] bool active() const { return _socket.valid(); }
  // How often the manager wants to hear of us; 0: never.
  [[nodiscard]] std::chrono::microseconds watchdog() const { return _watchdog; }

  // Start-up is over; what follows is the work.
  void ready(const std::string& status);
  // One line for whoever asks the manager; control characters become blanks.
  void status(const std::string& text);
  // The end has begun, and takes `at_most` (EXTEND_TIMEOUT_USEC).
  void stopping(const std::string& status, std::chrono::microseconds at_most);
  // A keep-alive twice in each interval of the watchdog, until `until` stops; returns at once where
  // none is wanted.
  engine::task<void> keep_alive(engine::reactor& loop, engine::stop_token until);

 private:
  enum class patience { none, some };
  void send(std::string_view message, patience wait);

  engine::log_sink* _log;
  engine::unique_fd _socket;
  std::string _address;  // a path; with a leading NUL: an abstract name
  std::chrono::microseconds _watchdog{0};
  bool _failed = false;
};

}  // namespace bts3::app
