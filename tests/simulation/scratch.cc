#include "tests/simulation/scratch.hh"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace bts3::simulation {

namespace {

struct made_directory {
  made_directory() {
    for (const std::filesystem::path& parent :
         {std::filesystem::path("/dev/shm"), std::filesystem::temp_directory_path()}) {
      std::string name = (parent / "simulation-XXXXXX").string();
      if (::mkdtemp(name.data()) != nullptr) {
        path = name;
        return;
      }
    }
    std::fputs("no directory for spools can be made\n", stderr);
    std::_Exit(2);
  }
  ~made_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  made_directory(const made_directory&) = delete;
  made_directory& operator=(const made_directory&) = delete;
  std::string path;
};

}  // namespace

const std::string& scratch_directory() {
  static const made_directory made;
  return made.path;
}

}  // namespace bts3::simulation
