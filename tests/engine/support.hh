// Shared by the engine's tests.
#pragma once

#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <dirent.h>

#include <memory>
#include <string>
#include <vector>

namespace bts3::engine::testing {

inline std::unique_ptr<reactor> make_reactor(unsigned queue_entries = 256) {
  reactor_options options;
  options.queue_entries = queue_entries;
  auto made = reactor::create(options);
  BOOST_REQUIRE_MESSAGE(made.has_value(), bts3::testing::error_text(made));
  return std::move(*made);
}

// Keeps what was logged.
class recording_log final : public log_sink {
 public:
  using log_sink::write;
  void write(log_level, std::string_view, std::string_view event,
             std::span<const log_field>) override {
    events.emplace_back(event);
  }
  std::vector<std::string> events;
};

// Open descriptors of this process.
inline std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* directory = ::opendir("/proc/self/fd");
  while (::readdir(directory) != nullptr) {
    ++count;
  }
  ::closedir(directory);
  return count;
}

}  // namespace bts3::engine::testing
