#include "app/text/progress.hh"

#include "app/text/human_units.hh"
#include "app/text/text_table.hh"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace bts3::app {

namespace {

using engine::task;
using std::chrono::seconds;

constexpr seconds rate_window{60};
constexpr std::size_t columns_default = 80;
// A service manager shows what it was told last, and need not be told each second.
constexpr unsigned shows_per_mirrored = 5;

// What fits of a list with commas, by whole items where one does: half a figure misleads.
std::string fitted(const std::string& text, std::size_t columns) {
  std::string begin = shortened(text, columns);
  if (begin.size() < text.size() && text.compare(begin.size(), 2, ", ") != 0) {
    const std::size_t end = begin.rfind(", ");
    begin.resize(end == std::string::npos ? begin.size() : end);
  }
  return begin;
}

}  // namespace

std::string progress_report::text() const {
  std::string line = format_bytes(bytes);
  if (total > 0) {
    line += (at_least ? " of at least " : " of ") + format_bytes(total);
  }
  if (percent) {
    line += ", " + std::to_string(*percent) + " %";
  }
  line += ", " + format_bytes(bytes_per_second) + "/s";
  if (eta) {
    line += ", " + format_duration(*eta) + " left";
  }
  return line;
}

std::string progress_report::text_with_rest(std::uint64_t after) const {
  const std::uint64_t left = (total > bytes ? total - bytes : 0) + after;
  std::string line = format_bytes(left) + " in all to come";
  if (bytes_per_second > 0) {
    line += ", " + format_duration(seconds(left / bytes_per_second));
  }
  return line;
}

progress_report progress_meter::report(time_point now, std::uint64_t arriving) {
  const std::uint64_t bytes = std::max(_bytes + arriving, _samples.back().bytes);
  _samples.push_back({now, bytes});
  // The newest sample that is a whole window old stays, as the window's beginning.
  while (_samples.size() > 2 && now - _samples[1].when >= rate_window) {
    _samples.pop_front();
  }
  const sample& first = _samples.front();
  const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(now - first.when);
  progress_report made;
  made.bytes = bytes;
  made.total = _total;
  if (passed.count() > 0) {
    made.bytes_per_second = static_cast<std::uint64_t>(
        static_cast<double>(bytes - first.bytes) * 1000.0 / static_cast<double>(passed.count()));
  }
  if (_total > 0) {
    // There is more to do for as long as somebody reports, and a total that is passed was too
    // small.
    constexpr unsigned percent_max = 99;
    const std::uint64_t done = std::min(bytes, _total);
    made.at_least = _at_least || bytes > _total;
    made.total = std::max(bytes, _total);
    if (bytes <= _total) {
      made.percent = std::min(percent_max, static_cast<unsigned>(static_cast<double>(done) * 100.0 /
                                                                 static_cast<double>(_total)));
    }
    if (made.bytes_per_second > 0 && done < _total) {
      made.eta = seconds((_total - done) / made.bytes_per_second);
    }
  }
  return made;
}

live_line::live_line(int fd, mirror elsewhere)
    : _fd(fd), _terminal(::isatty(fd) == 1), _elsewhere(std::move(elsewhere)) {}

void live_line::announce(const std::string& text) {
  if (_elsewhere) {
    _elsewhere(text);
  }
}

void live_line::show(const std::string& text) {
  if (_elsewhere && _times++ % shows_per_mirrored == 0) {
    _elsewhere(text);
  }
  if (!_terminal) {
    return;
  }
  winsize size{};
  const std::size_t columns =
      ::ioctl(_fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : columns_default;
  // Back to the first column, the text, and nothing of the old line behind it (ECMA-48's EL). A
  // line that filled the last column would wrap.
  const std::string drawn = "\r" + fitted(printable(text), columns - 1) + "\x1b[K";
  // A terminal that has gone is no reason to fail.
  (void)!::write(_fd, drawn.data(), drawn.size());
  _shown = true;
}

void live_line::clear() {
  if (std::exchange(_shown, false)) {
    constexpr std::string_view erase = "\r\x1b[K";
    (void)!::write(_fd, erase.data(), erase.size());
  }
}

void log_over_line::write(engine::log_level level, std::string_view component,
                          std::string_view event, std::span<const engine::log_field> fields) {
  _line.clear();
  _inner.write(level, component, event, fields);
}

progress::progress(engine::reactor& loop, engine::log_sink& log, live_line* line,
                   std::string component, std::string what, std::function<std::string()> more,
                   progress_cadence cadence)
    : _loop(loop),
      _log(log),
      _line(line),
      _component(std::move(component)),
      _what(std::move(what)),
      _more(std::move(more)),
      _cadence(cadence),
      _meter(std::chrono::steady_clock::now()),
      _scope(loop) {}

void progress::watch(std::function<std::uint64_t()> received) {
  _received = std::move(received);
  _received_before = _received();
}

std::uint64_t progress::arriving() const {
  if (!_received) {
    return 0;
  }
  const auto came = static_cast<std::int64_t>(_received() - _received_before) + _corrected;
  return came <= 0 ? 0 : std::min(_begun, static_cast<std::uint64_t>(came));
}

task<void> progress::tick() {
  for (int ticks = 1;; ++ticks) {
    auto sleeping = _loop.sleep_aside(_cadence.tick, _stop.token());
    auto slept = co_await std::move(sleeping);
    if (!slept) {
      co_return;
    }
    if (_counter) {
      _meter.add(_counter() - _meter.bytes());
    }
    const progress_report now = _meter.report(std::chrono::steady_clock::now(), arriving());
    const std::string more = _more ? _more() : std::string();
    if (_cadence.ticks_per_log_line > 0 && ticks % _cadence.ticks_per_log_line == 0) {
      _log.write(engine::log_level::info, _component, "progress",
                 {{"what", _what},
                  {"bytes", std::to_string(now.bytes)},
                  {"total", std::to_string(now.total)},
                  {"percent", now.percent ? std::to_string(*now.percent) : "unknown"},
                  {"bytes_per_second", std::to_string(now.bytes_per_second)},
                  {"eta_seconds", now.eta ? std::to_string(now.eta->count()) : "unknown"},
                  {"more", more.empty() ? "none" : more}});
    }
    if (_line != nullptr) {
      _line->show(_what + ": " + now.text() +
                  (_after == 0 ? "" : ", " + now.text_with_rest(_after)) +
                  (more.empty() ? "" : ", " + more));
    }
  }
}

task<void> progress::stop() {
  _stop.request_stop();
  auto joining = _scope.join();
  co_await std::move(joining);
  if (_line != nullptr) {
    _line->clear();
  }
}

}  // namespace bts3::app
