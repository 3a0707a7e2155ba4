// Files with keys for the tests of app/secrets/, written without leaving copies in memory.
#pragma once

#include "engine/age/random.hh"
#include "engine/age/x25519.hh"
#include "engine/secret_string.hh"
#include "tests/app/support.hh"
#include "tests/engine/age/support.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

namespace bts3::testing {

struct key_place : scratch_directory {
  // Its mode is `mode` whatever the umask says. No buffer of a stream has it.
  std::string write(const char* name, std::string_view text, mode_t mode = 0600) const {
    std::string path = *this / name;
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    BOOST_REQUIRE(file >= 0);
    BOOST_REQUIRE(::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    BOOST_REQUIRE(::fchmod(file, mode) == 0);
    ::close(file);
    return path;
  }
  // In this directory, by the shell, which has to end with 0.
  void must(const std::string& command) const {
    const std::string whole = "cd " + (*this / ".") + " && { " + command + "; } >out 2>err";
    const int status = std::system(whole.c_str());
    BOOST_REQUIRE_MESSAGE(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                          command << ": " << content_of(*this / "err"));
  }
};

// An environment of its own.
struct played_environment {
  std::map<std::string, std::string, std::less<>> variables;
  std::optional<std::string> operator()(std::string_view name) const {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  }
};

}  // namespace bts3::testing
