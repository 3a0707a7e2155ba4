// A throwaway Btrfs filesystem on a sparse image, for tests that need the kernel's own behaviour.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace bts3::btrfs::testing {

// Runs a program with nothing on its stdin and its output discarded; true when it exited with 0.
bool run_quietly(const std::vector<std::string>& argv);

// 256 MiB, formatted and mounted at directory(). Unmounted and removed on destruction, after
// whatever happened. Throws when a step fails.
class loop_filesystem {
 public:
  // Why it cannot be made here ("needs root", ...); empty when it can.
  static std::string unavailable();

  loop_filesystem();
  ~loop_filesystem();
  loop_filesystem(const loop_filesystem&) = delete;
  loop_filesystem& operator=(const loop_filesystem&) = delete;

  [[nodiscard]] std::filesystem::path directory() const { return _base / "mnt"; }
  // Outside the filesystem, for mount points and scripts; removed with it.
  [[nodiscard]] const std::filesystem::path& base() const { return _base; }
  // Mounts subvolume `subvolume` (a path from the top level) once more at `point`, and unmounts
  // everything else: what a machine with "subvol=" in its fstab looks like.
  void remount_only(const std::string& subvolume);

 private:
  void tear_down() noexcept;

  std::filesystem::path _base;
  std::string _device;
};

// Mount points at or below `below`, as the kernel lists them.
std::vector<std::string> mounts_below(const std::filesystem::path& below);

void write_file(const std::filesystem::path& path, const std::string& text);
std::string read_file(const std::filesystem::path& path);
std::filesystem::path make_subvolume(const std::filesystem::path& path);

}  // namespace bts3::btrfs::testing

// In a test case: makes `name`, or ends the case with a printed reason.
#define BTS3_LOOP_FILESYSTEM(name)                                                  \
  if (const std::string why = bts3::btrfs::testing::loop_filesystem::unavailable(); \
      !why.empty()) {                                                               \
    BOOST_TEST_MESSAGE("skipped: " << why);                                         \
    std::cout << "skipped: " << why << '\n';                                        \
    return;                                                                         \
  }                                                                                 \
  bts3::btrfs::testing::loop_filesystem name
