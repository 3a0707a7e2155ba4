#include "app/mount/mount_place.hh"

#include "engine/plain_text.hh"
#include "engine/told_command.hh"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

namespace bts3::app {

namespace {

namespace fs = std::filesystem;
using engine::configuration_error;
using engine::error;
using engine::result;

std::string in_quotes(const std::string& path) {
  return "\"" + engine::printable(path) + "\"";
}

error left_behind(const std::string& directory) {
  return configuration_error(
      in_quotes(directory) + " is a mount whose program has ended without taking it away",
      "`umount -l " + engine::shell_word(directory) +
          "`, or as an ordinary user `fusermount3 -uz " + engine::shell_word(directory) +
          "`, removes it");
}

// Where it is found; empty: nowhere.
std::string helper_in(const mount_tools& tools) {
  std::istringstream list(tools.path + ":/usr/bin:/bin");
  for (std::string directory; std::getline(list, directory, ':');) {
    std::string path = directory + "/" + tools.helper;
    if (directory.starts_with('/') && ::access(path.c_str(), X_OK) == 0) {
      return path;
    }
  }
  return {};
}

bool others_allowed(const mount_tools& tools) {
  std::ifstream file(tools.settings);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    if (words >> word && word == "user_allow_other") {
      return true;
    }
  }
  return false;
}

result<void> check_host(const mount_tools& tools, uid_t user, bool allow_other) {
  const int device = ::open(tools.device.c_str(), O_RDWR | O_CLOEXEC);
  if (device < 0) {
    const int code = errno;
    error failure = engine::system_error(code, tools.device);
    failure.what_now = engine::disposition::fail;
    failure.why = engine::reason::configuration;
    failure.remedy = code == ENOENT || code == ENODEV
                         ? "`modprobe fuse` loads the kernel's part of FUSE; in a container the "
                           "device has to be passed in"
                         : "who mounts must be allowed to open it: `chmod 666 " + tools.device +
                               "` is what most systems have";
    return failure;
  }
  ::close(device);
  if (user == 0) {
    return engine::ok();
  }
  if (helper_in(tools).empty()) {
    return configuration_error(
        tools.helper + " is not installed, without which only root can mount",
        "install it: in Debian it is in the package fuse3");
  }
  if (allow_other && !others_allowed(tools)) {
    return configuration_error(
        "an ordinary user may not mount for others here (--allow-other)",
        "root allows it by a line \"user_allow_other\" in " + tools.settings);
  }
  return engine::ok();
}

result<void> check_empty(const std::string& directory) {
  std::error_code code;
  const fs::directory_iterator first(directory, code);
  if (code) {
    error failure = engine::system_error(code.value(), directory);
    failure.why = engine::reason::configuration;
    failure.what_now = engine::disposition::fail;
    return failure;
  }
  if (first != fs::directory_iterator()) {
    return configuration_error(
        in_quotes(directory) + " is not empty, and what is in it would not be seen",
        "choose an empty directory");
  }
  return engine::ok();
}

// As mountinfo has it: "\040" for a blank.
std::string unescaped(const std::string& text) {
  std::string made;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool octal = text[i] == '\\' && i + 3 < text.size() &&
                       text.find_first_not_of("01234567", i + 1) >= i + 4;  // three digits
    if (octal) {
      made += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      made += text[i];
    }
  }
  return made;
}

// Its exit status; what it says is kept from the terminal. Negative: it could not be run.
int run_helper(const std::string& helper, std::vector<std::string> arguments) {
  std::vector<char*> words;
  for (std::string& one : arguments) {
    words.push_back(one.data());
  }
  words.push_back(nullptr);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int code = ::posix_spawn(&child, helper.c_str(), &files, nullptr, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  if (code != 0) {
    return -1;
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      return -1;
    }
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

result<std::string> usable_mount_point(const mount_tools& tools, const std::string& directory,
                                       uid_t user, bool allow_other) {
  struct stat found{};
  if (::stat(directory.c_str(), &found) != 0) {
    const int code = errno;
    if (code == ENOTCONN) {
      return left_behind(directory);
    }
    error failure = engine::system_error(code, directory);
    failure.what_now = engine::disposition::fail;
    failure.why = engine::reason::configuration;
    failure.remedy = code == ENOENT ? "make it: `mkdir " + engine::shell_word(directory) + "`" : "";
    return failure;
  }
  if (!S_ISDIR(found.st_mode)) {
    return configuration_error(in_quotes(directory) + " is no directory",
                               "a filesystem is mounted at an empty directory");
  }
  if (auto empty = check_empty(directory); !empty) {
    return std::move(empty.error());
  }
  if (user != 0 && ::access(directory.c_str(), W_OK) != 0) {
    return configuration_error(
        in_quotes(directory) + " cannot be written by this user, who may mount nothing there",
        "choose an empty directory of this user's");
  }
  if (auto host = check_host(tools, user, allow_other); !host) {
    return std::move(host.error());
  }
  char real[PATH_MAX];
  if (::realpath(directory.c_str(), real) == nullptr) {
    return engine::system_error(errno, directory);
  }
  return std::string(real);
}

std::optional<std::string> mounted_at(const mount_tools& tools, const std::string& path) {
  std::optional<std::string> found;
  std::ifstream file(tools.mounts);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string id;
    std::string parent;
    std::string device;
    std::string root;
    std::string point;
    if (words >> id >> parent >> device >> root >> point && unescaped(point) == path) {
      found = device;  // later ones lie above
    }
  }
  return found;
}

result<unmounted> take_away(const mount_tools& tools, const std::string& path,
                            const std::string& device) {
  if (mounted_at(tools, path) != device) {
    return unmounted::already;
  }
  const int code = ::umount2(path.c_str(), UMOUNT_NOFOLLOW) == 0 ? 0 : errno;
  if (code == 0) {
    return unmounted::now;
  }
  const std::string helper = code == EPERM ? helper_in(tools) : std::string();
  if (!helper.empty()) {
    if (run_helper(helper, {helper, "-u", "--", path}) == 0) {
      return unmounted::now;
    }
  }
  if (mounted_at(tools, path) != device) {
    return unmounted::already;
  }
  const bool done = helper.empty() ? ::umount2(path.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH) == 0
                                   : run_helper(helper, {helper, "-u", "-z", "--", path}) == 0;
  if (done) {
    return unmounted::later;
  }
  error failure = engine::system_error(code, "taking the mount at " + path + " away");
  failure.remedy = "`umount -l " + engine::shell_word(path) + "` as root does";
  return failure;
}

}  // namespace bts3::app
