// What a run has used, for the event that ends it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace bts3::app {

struct process_figures {
  double cpu_seconds = 0;  // of all threads, user and system
  std::uint64_t peak_rss_bytes = 0;
};

// Of this process, so far.
[[nodiscard]] process_figures figures_of_process();

// "12.345".
[[nodiscard]] std::string seconds_text(double seconds);
[[nodiscard]] double seconds_since(std::chrono::steady_clock::time_point began);

}  // namespace bts3::app
