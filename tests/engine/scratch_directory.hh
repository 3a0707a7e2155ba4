// A directory for a test, on a real disk (/tmp may be in memory), removed with everything in it.
#pragma once

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>

namespace bts3::engine::testing {

class scratch_directory {
 public:
  explicit scratch_directory(const std::string& parent = "/var/tmp") {
    std::string name = parent + "/bts3-spool-test-XXXXXX";
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    _path = name;
  }
  ~scratch_directory() { std::filesystem::remove_all(_path); }
  scratch_directory(const scratch_directory&) = delete;
  scratch_directory& operator=(const scratch_directory&) = delete;

  [[nodiscard]] std::string path() const { return _path.string(); }
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(_path), {}));
  }

 private:
  std::filesystem::path _path;
};

}  // namespace bts3::engine::testing
