#include "app/store/manifest_turns.hh"

#include "app/text/human_units.hh"
#include "planner/manifest.hh"

#include <unistd.h>

#include <algorithm>

namespace bts3::app {

namespace {

// The text, and what parsing makes of it.
constexpr std::uint64_t memory_of_text = 4;

}  // namespace

manifest_bound manifest_bound::of_host(const config& settings) {
  std::uint64_t memory = settings.global.memory_limit_bytes.value_or(0);
  if (!settings.global.memory_limit_bytes) {
    const long pages = ::sysconf(_SC_PHYS_PAGES);
    const long page = ::sysconf(_SC_PAGESIZE);
    if (pages <= 0 || page <= 0) {
      return {planner::manifest_bytes_max, true};
    }
    memory = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page) / 2;
  }
  return {std::min(planner::manifest_bytes_max, memory / memory_of_text), true};
}

namespace {

std::string why_too_large(std::uint64_t bytes, manifest_bound bound) {
  return "it has " + format_bytes(bytes) + ", and reading a manifest takes about four times its " +
         "size in memory: more than " + format_bytes(bound.bytes_max) + " are not read here";
}

std::string remedy_of_size(std::uint64_t bytes) {
  constexpr std::uint64_t mib = 1024 * 1024;
  const std::uint64_t needed = (memory_of_text * bytes + mib - 1) / mib;
  return "set global.memory_limit_bytes = \"" + std::to_string(needed) +
         "MiB\" or more, on a host that has so much memory";
}

}  // namespace

std::string manifest_too_large(std::uint64_t bytes, manifest_bound bound) {
  return why_too_large(bytes, bound) + "; " + remedy_of_size(bytes);
}

engine::error manifest_too_large(const std::string& key, std::uint64_t bytes,
                                 manifest_bound bound) {
  return engine::configuration_error("manifest " + key + ": " + why_too_large(bytes, bound),
                                     remedy_of_size(bytes));
}

}  // namespace bts3::app
