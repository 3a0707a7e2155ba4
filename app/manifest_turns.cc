#include "app/manifest_turns.hh"

#include "app/human_units.hh"
#include "planner/manifest.hh"

#include <unistd.h>

#include <algorithm>

namespace bts3::app {

namespace {

// The text, and what parsing makes of it.
constexpr std::uint64_t memory_of_text = 4;

}  // namespace

std::uint64_t manifest_bytes_allowed(const config& settings) {
  std::uint64_t memory = settings.memory_limit_bytes;
  if (memory == 0) {
    const long pages = ::sysconf(_SC_PHYS_PAGES);
    const long page = ::sysconf(_SC_PAGESIZE);
    if (pages <= 0 || page <= 0) {
      return planner::manifest_bytes_max;
    }
    memory = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page) / 2;
  }
  return std::min(planner::manifest_bytes_max, memory / memory_of_text);
}

std::string manifest_too_large(std::uint64_t bytes, std::uint64_t allowed) {
  return "it has " + format_bytes(bytes) + ", and reading a manifest takes about four times its " +
         "size in memory: more than " + format_bytes(allowed) +
         " are not read here; raise global.memory_limit_bytes, or use a host with more memory";
}

}  // namespace bts3::app
