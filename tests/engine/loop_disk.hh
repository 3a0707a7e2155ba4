// A small filesystem on a loop device, for tests that need a disk to be full or broken.
#pragma once

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

namespace bts3::engine::testing {

// Mounted at directory(); unmounted and removed on destruction, after whatever happened.
class loop_disk {
 public:
  // Why it cannot be made here; empty when it can.
  static std::string unavailable(const std::string& type) {
    if (::geteuid() != 0 || ::access("/dev/loop-control", R_OK | W_OK) != 0) {
      return "a loop device needs root and /dev/loop-control";
    }
    return run("mkfs." + type + " -V") && run("losetup --version")
               ? std::string()
               : "needs mkfs." + type + " and losetup";
  }

  // `mount_options` as mount(2) takes them for that type: "data=journal".
  loop_disk(const std::string& type, std::uintmax_t bytes, const char* mount_options = nullptr) {
    char name[] = "/tmp/bts3-spool-test-XXXXXX";
    BOOST_REQUIRE(::mkdtemp(name) != nullptr);
    _base = name;
    try {
      std::filesystem::create_directory(directory());
      std::fclose(std::fopen(image().c_str(), "we"));
      std::filesystem::resize_file(image(), bytes);
      require(make(type), "mkfs." + type);
      _device = attach();
      require(!_device.empty(), "losetup");
      require(::mount(_device.c_str(), directory().c_str(), type.c_str(), 0, mount_options) == 0,
              "mount");
    } catch (...) {
      tear_down();
      throw;
    }
  }
  ~loop_disk() { tear_down(); }
  loop_disk(const loop_disk&) = delete;
  loop_disk& operator=(const loop_disk&) = delete;

  [[nodiscard]] std::filesystem::path directory() const { return _base / "mnt"; }

  // From now on the device ends after its first mebibyte: what lies behind gives EIO.
  void break_off() {
    constexpr std::uint64_t left = std::uint64_t{1} << 20;
    std::filesystem::resize_file(image(), left);
    require(run("losetup --set-capacity " + _device), "losetup --set-capacity");
    const int device = ::open(_device.c_str(), O_RDONLY | O_CLOEXEC);
    std::uint64_t bytes = 0;
    const bool told = device >= 0 && ::ioctl(device, BLKGETSIZE64, &bytes) == 0;
    ::close(device);
    require(told && bytes == left, _device + " has " + std::to_string(bytes) + " bytes");
  }

 private:
  static bool run(const std::string& command) {
    return std::system((command + " >/dev/null 2>&1 </dev/null").c_str()) == 0;
  }
  // mkfs.btrfs looks at all loop devices, and fails where one of them goes meanwhile.
  [[nodiscard]] bool make(const std::string& type) const {
    for (int attempt = 0; attempt < 20; ++attempt) {
      if (run("mkfs." + type + " -q " + image().string())) {
        return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }
  static void require(bool condition, const std::string& what) {
    if (!condition) {
      throw std::runtime_error("loop disk: " + what);
    }
  }
  [[nodiscard]] std::filesystem::path image() const { return _base / "image"; }

  std::string attach() const {
    FILE* pipe = ::popen(("losetup --find --show " + image().string()).c_str(), "re");
    std::array<char, 256> line{};
    const bool got = pipe != nullptr && std::fgets(line.data(), line.size(), pipe) != nullptr;
    const bool good = pipe != nullptr && ::pclose(pipe) == 0;
    const std::string text = got && good ? line.data() : "";
    return text.substr(0, text.find('\n'));
  }

  void tear_down() noexcept {
    bool unmounted = true;
    if (!_device.empty()) {
      unmounted = ::umount2(directory().c_str(), MNT_DETACH) == 0 || errno == EINVAL;
      run("losetup --detach " + _device);
    }
    if (unmounted) {
      std::error_code ignored;
      std::filesystem::remove_all(_base, ignored);
    } else {
      std::fprintf(stderr, "loop disk: %s is still mounted\n", directory().c_str());
    }
  }

  std::filesystem::path _base;
  std::string _device;
};

}  // namespace bts3::engine::testing

// In a test case: makes `name`, or ends the case with a printed reason.
#define BTS3_LOOP_DISK(name, type, ...)                                                            \
  if (const std::string why = bts3::engine::testing::loop_disk::unavailable(type); !why.empty()) { \
    BOOST_TEST_MESSAGE("skipped: " << why);                                                        \
    std::cout << "skipped: " << why << '\n';                                                       \
    return;                                                                                        \
  }                                                                                                \
  bts3::engine::testing::loop_disk name(type, __VA_ARGS__)
