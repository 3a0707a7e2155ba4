#include "app/host/source_path.hh"

#include <sys/stat.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <utility>

namespace bts3::app {

namespace {

void add_steps(const std::filesystem::path& path, std::vector<path_step>& steps) {
  std::filesystem::path so_far;
  for (const auto& name : path) {
    so_far /= name;
    struct stat entry{};
    if (name.empty() || ::lstat(so_far.c_str(), &entry) != 0) {
      continue;
    }
    steps.push_back({so_far.string(), entry.st_uid, entry.st_gid, entry.st_mode});
  }
}

}  // namespace

std::vector<path_step> steps_to(const std::string& path) {
  std::vector<path_step> steps;
  add_steps(path, steps);
  char real[PATH_MAX];
  if (::realpath(path.c_str(), real) != nullptr && path != real) {
    add_steps(real, steps);
  }
  return steps;
}

std::string who_may_exchange(const std::vector<path_step>& steps, std::uint32_t user) {
  const auto trusted = [&](std::uint32_t owner) { return owner == 0 || owner == user; };
  for (std::size_t i = 0; i + 1 < steps.size(); ++i) {
    const path_step& directory = steps[i];
    const path_step& entry = steps[i + 1];
    if (!S_ISDIR(directory.mode) || !entry.path.starts_with(directory.path)) {
      continue;  // a link's own place decides; or the path as written ends here
    }
    if (!trusted(directory.owner)) {
      return "user " + std::to_string(directory.owner) + ", whose " + directory.path + " is";
    }
    const bool sticky = (directory.mode & S_ISVTX) != 0 && trusted(entry.owner);
    if ((directory.mode & S_IWOTH) != 0 && !sticky) {
      return "everybody, who may write to " + directory.path;
    }
    if ((directory.mode & S_IWGRP) != 0 && directory.group != 0 && !sticky) {
      return "group " + std::to_string(directory.group) + ", which may write to " + directory.path;
    }
  }
  return "";
}

}  // namespace bts3::app
