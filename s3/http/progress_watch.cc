#include "s3/http/progress_watch.hh"

#include <algorithm>
#include <utility>

namespace bts3::s3 {

namespace {

// What a second of a deadline is worth: a question's answer comes no slower than this.
constexpr std::uint64_t answer_bytes_per_second_min = 1024;

}  // namespace

std::string progress_watch::overdue(std::uint64_t moved, std::uint64_t answered, bool paused,
                                    time_point now) {
  if (moved != _moved || paused) {
    _moved = moved;
    _moved_at = now;
  } else if (now - _moved_at >= _rules.stall_timeout) {
    return "no byte moved for " + std::to_string(_rules.stall_timeout.count()) + " ms";
  }
  if (_rules.deadline) {
    const auto allowed =
        *_rules.deadline + std::chrono::seconds(answered / answer_bytes_per_second_min);
    return now - _began_at < allowed ? std::string()
                                     : "no whole answer in " + std::to_string(allowed.count()) +
                                           " ms, " + std::to_string(answered) + " bytes of it";
  }
  const bool reconnected = _window_moved && moved < *_window_moved;
  if (paused || reconnected || !_window_moved) {
    _window_moved = moved;
    _window_at = now;
  } else if (now - _window_at >= _rules.crawl_window) {
    const std::uint64_t in_window = moved - *_window_moved;
    if (in_window < _rules.crawl_bytes_min) {
      return "only " + std::to_string(in_window) + " bytes moved in " +
             std::to_string(_rules.crawl_window.count()) + " ms";
    }
    _window_moved = moved;
    _window_at = now;
  }
  return {};
}

std::chrono::milliseconds progress_watch::look_again_after() const {
  return std::max(std::min(_rules.stall_timeout, _rules.deadline.value_or(_rules.crawl_window)) / 4,
                  std::chrono::milliseconds(1));
}

}  // namespace bts3::s3
