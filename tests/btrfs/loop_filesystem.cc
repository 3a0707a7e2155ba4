#include "tests/btrfs/loop_filesystem.hh"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace bts3::btrfs::testing {

namespace {

constexpr off_t image_bytes = 256 * 1024 * 1024;

void require(bool condition, const std::string& what) {
  if (!condition) {
    throw std::runtime_error("loop filesystem: " + what);
  }
}

std::vector<const char*> pointers(const std::vector<std::string>& argv) {
  std::vector<const char*> list;
  for (const std::string& argument : argv) {
    list.push_back(argument.c_str());
  }
  list.push_back(nullptr);
  return list;
}

// First line of what a program prints; empty when it fails.
std::string first_line_of(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "re");
  if (pipe == nullptr) {
    return {};
  }
  std::array<char, 256> line{};
  const bool got = std::fgets(line.data(), line.size(), pipe) != nullptr;
  const bool good = ::pclose(pipe) == 0;
  std::string text = got && good ? line.data() : "";
  while (!text.empty() && text.back() == '\n') {
    text.pop_back();
  }
  return text;
}

// mkfs.btrfs looks at all loop devices, and fails where one of them goes meanwhile.
bool made(const std::string& image) {
  for (int attempt = 0; attempt < 20; ++attempt) {
    if (run_quietly({"mkfs.btrfs", "-q", "-f", image})) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

}  // namespace

bool run_quietly(const std::vector<std::string>& argv) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  auto list = pointers(argv);
  pid_t child = 0;
  const int failure = ::posix_spawnp(&child, list[0], &actions, nullptr,
                                     const_cast<char* const*>(list.data()), environ);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  return failure == 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

std::string loop_filesystem::unavailable() {
  if (::geteuid() != 0) {
    return "a loop Btrfs needs root";
  }
  if (::access("/dev/loop-control", R_OK | W_OK) != 0) {
    return "a loop Btrfs needs /dev/loop-control";
  }
  if (!run_quietly({"mkfs.btrfs", "--version"}) || !run_quietly({"losetup", "--version"})) {
    return "a loop Btrfs needs mkfs.btrfs and losetup";
  }
  std::ifstream known("/proc/filesystems");
  const std::string text((std::istreambuf_iterator<char>(known)), {});
  if (text.find("btrfs") == std::string::npos && !run_quietly({"modprobe", "btrfs"})) {
    return "the kernel has no Btrfs";
  }
  return {};
}

loop_filesystem::loop_filesystem() {
  char name[] = "/tmp/bts3-btrfs-test-XXXXXX";
  require(::mkdtemp(name) != nullptr, "no temporary directory");
  _base = name;
  try {
    const std::string image = (_base / "image").string();
    write_file(image, "");
    require(::truncate(image.c_str(), image_bytes) == 0, "truncate");
    require(made(image), "mkfs.btrfs");
    std::filesystem::create_directory(directory());
    _device = first_line_of("losetup --find --show '" + image + "'");
    require(!_device.empty(), "losetup");
    require(::mount(_device.c_str(), directory().c_str(), "btrfs", 0, nullptr) == 0, "mount");
  } catch (...) {
    tear_down();
    throw;
  }
}

loop_filesystem::~loop_filesystem() {
  tear_down();
}

void loop_filesystem::tear_down() noexcept {
  try {
    for (const std::string& point : mounts_below(_base)) {
      ::umount2(point.c_str(), MNT_DETACH);
    }
    if (!_device.empty()) {
      run_quietly({"losetup", "--detach", _device});
    }
    // A mount that is still there must not be deleted through.
    if (mounts_below(_base).empty()) {
      std::filesystem::remove_all(_base);
    }
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "loop filesystem: %s\n", failure.what());
  }
}

void loop_filesystem::remount_only(const std::string& subvolume) {
  require(::umount2(directory().c_str(), 0) == 0, "unmount");
  require(::mount(_device.c_str(), directory().c_str(), "btrfs", 0,
                  ("subvol=" + subvolume).c_str()) == 0,
          "mount subvol=" + subvolume);
}

std::vector<std::string> mounts_below(const std::filesystem::path& below) {
  std::ifstream table("/proc/self/mountinfo");
  std::vector<std::string> found;
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string field;
    for (int i = 0; i < 5; ++i) {
      fields >> field;
    }
    if (field == below.string() || field.starts_with(below.string() + "/")) {
      found.insert(found.begin(), field);
    }
  }
  return found;
}

void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  require(file.good(), "write " + path.string());
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  require(file.good(), "read " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

std::filesystem::path make_subvolume(const std::filesystem::path& path) {
  require(run_quietly({"btrfs", "subvolume", "create", path.string()}),
          "make subvolume " + path.string());
  return path;
}

}  // namespace bts3::btrfs::testing
