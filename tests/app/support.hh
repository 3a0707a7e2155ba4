// What tests of app/ share.
#pragma once

#include "engine/clock.hh"
#include "engine/log_sink.hh"

#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::testing {

// A directory of its own, removed at the end.
class scratch_directory {
 public:
  scratch_directory() {
    std::string name = (std::filesystem::temp_directory_path() / "bts3-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    _path = name;
  }
  ~scratch_directory() { std::filesystem::remove_all(_path); }
  scratch_directory(const scratch_directory&) = delete;
  scratch_directory& operator=(const scratch_directory&) = delete;
  [[nodiscard]] std::string operator/(const char* name) const { return (_path / name).string(); }

 private:
  std::filesystem::path _path;
};

// Keeps the names of the events.
class event_log final : public engine::log_sink {
 public:
  using engine::log_sink::write;
  void write(engine::log_level, std::string_view, std::string_view event,
             std::span<const engine::log_field>) override {
    events.emplace_back(event);
  }
  std::vector<std::string> events;
};

inline std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

inline void write_file(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

// The document `name` of tests/data/surface is `text`. BTS3_UPDATE_GOLDEN=1 writes it anew.
inline void check_golden(const std::string& name, const std::string& text) {
  const std::string path = BTS3_SOURCE_DIR "/tests/data/surface/" + name;
  if (std::getenv("BTS3_UPDATE_GOLDEN") != nullptr) {
    write_file(path, text);
  }
  BOOST_TEST(text == content_of(path), name);
}

}  // namespace bts3::testing
