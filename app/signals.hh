// SIGINT and SIGTERM as a stop request.
//
// The signals are blocked and read from a signalfd by the reactor, so nothing ever runs in a signal
// handler. The first one requests a stop, which every running operation notices; what follows is
// the ordinary way out. Children run in process groups of their own and are stopped by us.
#pragma once

#include "engine/async_scope.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/unique_fd.hh"

namespace bts3::app {

class signal_watch {
 public:
  // Blocks SIGINT and SIGTERM for the process and ignores SIGPIPE; call it before any thread
  // starts.
  static engine::result<signal_watch> create();

  // Requests a stop from `stop` when a signal arrives; ends when `until` stops. All references
  // must outlive the task.
  engine::task<void> run(engine::reactor& loop, engine::stop_source& stop, engine::log_sink& log,
                         engine::stop_token until);
  // The signal that arrived, 0 when none did.
  [[nodiscard]] int received() const { return _received; }

 private:
  explicit signal_watch(engine::unique_fd fd) : _fd(std::move(fd)) {}
  engine::unique_fd _fd;
  int _received = 0;
};

}  // namespace bts3::app
