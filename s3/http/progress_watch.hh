// Whether an exchange still gets on, by what has moved; pure arithmetic.
//
// Nothing at all for stall_timeout is a stall. So is a question that is not answered whole by its
// deadline; whatever has none has to move crawl_bytes_min in each crawl_window. Time in which the
// exchange is paused does not count.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace bts3::s3 {

class progress_watch {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  struct limits {
    std::chrono::milliseconds stall_timeout;
    // Of the exchange as a whole, and a second more for each KiB of the answer.
    std::optional<std::chrono::milliseconds> deadline;
    std::chrono::milliseconds crawl_window;
    std::uint64_t crawl_bytes_min;
  };
  // The exchange begins at `now`.
  progress_watch(limits rules, time_point now) : _rules(rules), _moved_at(now), _began_at(now) {}

  // Why the exchange is to be cut; empty: it is not. `moved`: bytes in either direction by now,
  // fewer than before after a reconnection; `answered`: of the answer's body.
  [[nodiscard]] std::string overdue(std::uint64_t moved, std::uint64_t answered, bool paused,
                                    time_point now);
  // When to ask next: four times in the shortest time that can be overdue.
  [[nodiscard]] std::chrono::milliseconds look_again_after() const;

 private:
  limits _rules;
  std::uint64_t _moved = 0;
  time_point _moved_at;
  time_point _began_at;
  std::optional<std::uint64_t> _window_moved;  // when the crawl_window that runs began
  time_point _window_at{};
};

}  // namespace bts3::s3
