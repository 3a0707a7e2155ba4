// A file in a directory of its own, for what reads files.
#pragma once

#include "engine/assert.hh"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace bts3::fuzz {

class local_file {
 public:
  explicit local_file(const std::string& name) {
    // In memory where that is possible: what is written is synced each time.
    const bool memory = std::filesystem::is_directory("/dev/shm");
    std::string place =
        (memory ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path()) /
        "btrfs_to_s3-fuzz-XXXXXX";
    BTS3_ASSERT(::mkdtemp(place.data()) != nullptr);
    _place = place;
    _path = place + "/" + name;
  }
  ~local_file() { std::filesystem::remove_all(_place); }
  local_file(const local_file&) = delete;
  local_file& operator=(const local_file&) = delete;

  void hold(std::string_view text) const {
    std::ofstream file(_path, std::ios::binary | std::ios::trunc);
    file.write(text.data(), static_cast<std::streamsize>(text.size()));
    file.close();
    BTS3_ASSERT(!file.fail());
  }
  // In that directory.
  [[nodiscard]] std::string beside(const std::string& name) const { return _place + "/" + name; }
  [[nodiscard]] const std::string& path() const { return _path; }

 private:
  std::string _place;
  std::string _path;
};

}  // namespace bts3::fuzz
