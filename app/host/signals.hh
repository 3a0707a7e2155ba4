// SIGINT, SIGTERM and SIGHUP as a stop request.
//
// The signals are blocked and read from a signalfd by the reactor, so nothing ever runs in a signal
// handler. The first one requests a stop, which every running operation notices; what follows is
// the ordinary way out. Each further one ends what is done on that way and may be left to the next
// run: see hastened. Children run in process groups of their own and are stopped by us.
#pragma once

#include "engine/async_scope.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/unique_fd.hh"

#include <memory>
#include <vector>

namespace bts3::app {

class hastened;

class signal_watch {
 public:
  // Blocks SIGINT, SIGTERM and SIGHUP for the process; SIGHUP not where it is ignored, as under
  // nohup(1). Ignores SIGPIPE and SIGXFSZ, whose calls then fail, and takes back an inherited
  // disregard of SIGCHLD, under which no child's exit status could be had. Call it before any
  // thread starts.
  static engine::result<signal_watch> create();

  // Requests a stop from `stop` when a signal arrives; ends when `until` stops. All references
  // must outlive the task.
  engine::task<void> run(engine::reactor& loop, engine::stop_source& stop, engine::log_sink& log,
                         engine::stop_token until);
  // The signal that arrived first, 0 when none did.
  [[nodiscard]] int received() const { return _received; }

 private:
  friend hastened;
  using sources = std::vector<engine::stop_source*>;

  explicit signal_watch(engine::unique_fd fd) : _fd(std::move(fd)) {}
  engine::unique_fd _fd;
  int _received = 0;
  std::shared_ptr<sources> _to_hasten = std::make_shared<sources>();
};

// While it exists, a further signal (one after the first) requests a stop from `what`, which must
// outlive it. `signals` null: there are none.
class hastened {
 public:
  hastened(const signal_watch* signals, engine::stop_source& what);
  ~hastened();
  hastened(const hastened&) = delete;
  hastened& operator=(const hastened&) = delete;

 private:
  std::shared_ptr<signal_watch::sources> _among;  // null: none
  engine::stop_source* _what;
};

}  // namespace bts3::app
