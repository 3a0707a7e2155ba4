#include "app/host/run_figures.hh"

#include <sys/resource.h>

#include <cstdio>
#include <fstream>

namespace bts3::app {

namespace {

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// VmHWM of /proc/self/status, 0 when it cannot be read. (ru_maxrss would count what the process was
// before its exec, too.)
std::uint64_t peak_rss_bytes() {
  std::ifstream file("/proc/self/status");
  std::string word;
  while (file >> word) {
    std::uint64_t kibibytes = 0;
    if (word == "VmHWM:" && file >> kibibytes) {
      return kibibytes * 1024;
    }
  }
  return 0;
}

}  // namespace

process_figures figures_of_process() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  process_figures made;
  made.cpu_seconds = seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
  made.peak_rss_bytes = peak_rss_bytes();
  return made;
}

std::string seconds_text(double seconds) {
  char text[64];
  std::snprintf(text, sizeof text, "%.3f", seconds);
  return text;
}

double seconds_since(std::chrono::steady_clock::time_point began) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

}  // namespace bts3::app
