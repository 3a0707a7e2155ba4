// How far a long transfer has come: a log line every 30 s for whoever reads the log later, and one
// live line for whoever sits at the terminal.
//
// progress counts; it is told of bytes with add() and runs beside the transfer until it is stopped.
// The rate is that of the last minute, so that a stalled transfer shows as one. Log lines and the
// live line share standard error: log_over_line takes the live line away before each log line, and
// the next tick draws it again.
#pragma once

#include "engine/async_scope.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

namespace bts3::app {

// Standing of a transfer at one moment.
struct progress_report {
  std::uint64_t bytes = 0;
  std::uint64_t total = 0;  // 0: not known
  std::uint64_t bytes_per_second = 0;
  bool at_least = false;                    // the total is too small, or may be
  std::optional<unsigned> percent;          // at most 99; absent without a total that holds
  std::optional<std::chrono::seconds> eta;  // absent while nothing moves, or without a total

  // "1.2 GiB of 4.0 GiB, 30 %, 85.3 MiB/s, 34 s left"
  [[nodiscard]] std::string text() const;
  // Where `after` more bytes follow: "8.2 GiB in all to come, 3 min 20 s".
  [[nodiscard]] std::string text_with_rest(std::uint64_t after) const;
};

// The arithmetic alone, with time as a parameter.
class progress_meter {
 public:
  using time_point = std::chrono::steady_clock::time_point;
  explicit progress_meter(time_point start) { _samples.push_back({start, 0}); }

  // 0: not known; may grow while the transfer runs. `at_least`: there may be more.
  void set_total(std::uint64_t bytes, bool at_least = false) {
    _total = bytes;
    _at_least = at_least;
  }
  void add(std::uint64_t bytes) { _bytes += bytes; }
  [[nodiscard]] std::uint64_t bytes() const { return _bytes; }
  // To be called about once a second: remembers a minute of samples. `arriving`: bytes on their way
  // that add() will be told of; what was shown once is never taken back.
  progress_report report(time_point now, std::uint64_t arriving = 0);

 private:
  struct sample {
    time_point when;
    std::uint64_t bytes;
  };
  std::uint64_t _bytes = 0;
  std::uint64_t _total = 0;
  bool _at_least = false;
  std::deque<sample> _samples;  // oldest first
};

// One line at the bottom of a terminal, redrawn in place, and the same line for a service manager.
class live_line {
 public:
  using mirror = std::function<void(const std::string&)>;
  // Writes to `fd`, only where that is a terminal, and every few times to `elsewhere`, unless that
  // is empty.
  explicit live_line(int fd, mirror elsewhere = {});
  [[nodiscard]] bool on_terminal() const { return _terminal; }
  // Whether anybody sees it.
  [[nodiscard]] bool usable() const { return _terminal || _elsewhere; }
  // Whether a service manager does.
  [[nodiscard]] bool mirrored() const { return static_cast<bool>(_elsewhere); }
  // Cut to the terminal's width.
  void show(const std::string& text);
  // What the run is at, for `elsewhere` alone: on a terminal the log tells.
  void announce(const std::string& text);
  void clear();

 private:
  int _fd;
  bool _terminal;
  mirror _elsewhere;
  unsigned _times = 0;
  bool _shown = false;
};

// Writes to `inner` with the live line out of the way. Both must outlive it.
class log_over_line final : public engine::log_sink {
 public:
  log_over_line(engine::log_sink& inner, live_line& line) : _inner(inner), _line(line) {}
  using log_sink::write;
  void write(engine::log_level level, std::string_view component, std::string_view event,
             std::span<const engine::log_field> fields) override;

 private:
  engine::log_sink& _inner;
  live_line& _line;
};

// How often progress shows itself.
struct progress_cadence {
  std::chrono::milliseconds tick{1'000};  // the live line
  int ticks_per_log_line = 30;            // 0: no log lines
};

class progress {
 public:
  // `component` as in the log; `what` stands before the live line ("restore data"). `line` may be
  // null. `more` is asked for each report and may add to it ("2 retries"); it may be empty.
  progress(engine::reactor& loop, engine::log_sink& log, live_line* line, std::string component,
           std::string what, std::function<std::string()> more = {}, progress_cadence cadence = {});
  // stop() must have been awaited after start().
  ~progress() = default;
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;

  void set_total(std::uint64_t bytes, bool at_least = false) { _meter.set_total(bytes, at_least); }
  void add(std::uint64_t bytes) {
    _meter.add(bytes);
    if (_received) {
      _begun -= std::min(_begun, bytes);
      _corrected -= static_cast<std::int64_t>(bytes);
    }
  }
  // So much of others follows, which the live line then tells of.
  void set_after(std::uint64_t bytes) { _after = bytes; }
  // Of what is fetched in pieces, add() tells when one is whole: on a slow line that is minutes
  // apart. `received`, asked at each tick, counts all that came over the network, whatever it was;
  // a piece that was begun then shows as far as it came.
  void watch(std::function<std::uint64_t()> received);
  // A piece is fetched, which add() will tell of; or will be no more.
  void begin(std::uint64_t bytes) { _begun += bytes; }
  void give_up(std::uint64_t bytes) { _begun -= std::min(_begun, bytes); }
  // Bytes of it that did not come over the network (positive), or came in vain (negative).
  void correct(std::int64_t bytes) { _corrected += bytes; }
  // Instead of add(): asked at each tick how many bytes there are; for counters of other threads.
  void follow(std::function<std::uint64_t()> counter) { _counter = std::move(counter); }
  [[nodiscard]] std::uint64_t bytes() const { return _meter.bytes(); }

  // Begins to tick, until stop(); which takes the live line away and joins.
  void start() { _scope.spawn(tick()); }
  engine::task<void> stop();

 private:
  engine::task<void> tick();

  engine::reactor& _loop;
  engine::log_sink& _log;
  live_line* _line;
  std::string _component;
  std::string _what;
  std::function<std::string()> _more;
  [[nodiscard]] std::uint64_t arriving() const;

  std::function<std::uint64_t()> _counter;
  std::function<std::uint64_t()> _received;
  std::uint64_t _received_before = 0;
  std::uint64_t _after = 0;
  std::uint64_t _begun = 0;     // of pieces that are not whole
  std::int64_t _corrected = 0;  // to what came, for what is whole already
  progress_cadence _cadence;
  progress_meter _meter;
  engine::stop_source _stop;
  engine::async_scope _scope;
};

}  // namespace bts3::app
