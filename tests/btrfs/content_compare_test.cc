#include "btrfs/content_compare.hh"

#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

using namespace bts3::btrfs;
using bts3::testing::error_text;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

void set_time(const fs::path& path, long seconds) {
  const std::array<timespec, 2> times{{{seconds, 7}, {seconds, 7}}};
  BOOST_REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) == 0);
}

// Two equal trees in a temporary directory.
class two_trees {
 public:
  two_trees() {
    std::string name = (fs::current_path() / "compare-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    _base = name;
    for (const fs::path& root : {first(), second()}) {
      fs::create_directories(root / "folder" / "deep");
      write(root / "folder" / "deep" / "file", std::string(3'000'000, 'x'));
      write(root / "file", "content");
      fs::create_hard_link(root / "file", root / "linked");
      fs::create_symlink("file", root / "link");
      BOOST_REQUIRE(::mkfifo((root / "pipe").c_str(), 0600) == 0);
      write(root / "sparse", "");
      fs::resize_file(root / "sparse", 64 << 20);
      if (::geteuid() == 0) {
        BOOST_REQUIRE(::mknod((root / "device").c_str(), S_IFCHR | 0600, makedev_of(1, 3)) == 0);
      }
      settle(root);
    }
  }
  ~two_trees() { fs::remove_all(_base); }
  two_trees(const two_trees&) = delete;
  two_trees& operator=(const two_trees&) = delete;

  [[nodiscard]] fs::path first() const { return _base / "a"; }
  [[nodiscard]] fs::path second() const { return _base / "b"; }

  static unsigned long makedev_of(unsigned major, unsigned minor) { return major << 8 | minor; }
  // The same times everywhere, so that only what was planted differs.
  static void settle(const fs::path& root) {
    std::vector<fs::path> all;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      all.push_back(entry.path());
    }
    for (const fs::path& path : all) {
      set_time(path, 1000);
    }
  }

  // The difference, "none", or the error.
  [[nodiscard]] std::string verdict(const compare_options& options = {}) const {
    auto report = compare_trees(first(), second(), options);
    return report ? report->difference.value_or("none") : error_text(report);
  }

 private:
  fs::path _base;
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(content_compare_suite)

BOOST_AUTO_TEST_CASE(equal_trees_have_no_difference_and_holes_are_not_read) {
  const two_trees trees;
  auto report = compare_trees(trees.first(), trees.second());
  BOOST_REQUIRE_MESSAGE(report.has_value(), error_text(report));
  BOOST_TEST(report->difference.value_or("none") == "none");
  BOOST_TEST(report->files == 4u);
  BOOST_TEST(report->files_compared == 4u);
  // A file system without SEEK_DATA reads the 64 MiB of the hole, too.
  BOOST_TEST((report->bytes_compared == 3'000'014u || report->bytes_compared > (64u << 20)));
}

BOOST_AUTO_TEST_CASE(every_kind_of_difference_is_found_and_named) {
  struct planted {
    const char* words;
    std::function<void(const fs::path&)> change;
  };
  const auto at_byte = [](const fs::path& path, std::streamoff at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file.put('!');
  };
  std::vector<planted> plants = {
      {"first at byte 2999999",
       [&](const fs::path& root) { at_byte(root / "folder/deep/file", 2'999'999); }},
      {"first at byte 1048576",
       [&](const fs::path& root) { at_byte(root / "folder/deep/file", 1 << 20); }},
      {"first at byte 50000000",
       [&](const fs::path& root) { at_byte(root / "sparse", 50'000'000); }},
      {"size is 7 in the first tree and 8",
       [](const fs::path& root) { write(root / "file", "content!"); }},
      {"mode is 0644 in the first tree and 4600",
       [](const fs::path& root) { ::chmod((root / "file").c_str(), 04600); }},
      {"\"folder/deep\": mode",
       [](const fs::path& root) { ::chmod((root / "folder/deep").c_str(), 0700); }},
      {"the root directory: mode", [](const fs::path& root) { ::chmod(root.c_str(), 0700); }},
      {"number of links",
       [](const fs::path& root) {
         fs::remove(root / "linked");
         write(root / "linked", "content");
       }},
      {"link target is \"file\"",
       [](const fs::path& root) {
         fs::remove(root / "link");
         fs::create_symlink("filo", root / "link");
       }},
      {"is a named pipe in the first tree and a file",
       [](const fs::path& root) {
         fs::remove(root / "pipe");
         write(root / "pipe", "");
       }},
      {"\"folder/deep/file\" is only in the first tree",
       [](const fs::path& root) { fs::remove(root / "folder/deep/file"); }},
      {"\"folder/extra\" is only in the second tree",
       [](const fs::path& root) { write(root / "folder/extra", ""); }},
  };
  if (::geteuid() == 0) {
    plants.push_back({"owner is 0 in the first tree and 5", [](const fs::path& root) {
                        BOOST_REQUIRE(::lchown((root / "link").c_str(), 5, -1) == 0);
                      }});
    plants.push_back({"group is 0", [](const fs::path& root) {
                        BOOST_REQUIRE(::lchown((root / "pipe").c_str(), -1, 5) == 0);
                      }});
    plants.push_back({"device is 1:3 in the first tree and 1:5", [](const fs::path& root) {
                        fs::remove(root / "device");
                        BOOST_REQUIRE(::mknod((root / "device").c_str(), S_IFCHR | 0600,
                                              two_trees::makedev_of(1, 5)) == 0);
                      }});
  }
  for (const planted& plant : plants) {
    const two_trees trees;
    plant.change(trees.second());
    two_trees::settle(trees.second());
    const std::string verdict = trees.verdict();
    BOOST_TEST(has(verdict, plant.words), plant.words << ", but: " << verdict);
  }
}

BOOST_AUTO_TEST_CASE(times_and_attributes_count_but_not_the_time_of_the_root) {
  const two_trees trees;
  set_time(trees.second(), 99);
  BOOST_TEST(trees.verdict() == "none");
  set_time(trees.second() / "folder", 99);
  BOOST_TEST(has(trees.verdict(), "\"folder\": modification time is 1000.000000007"));
  set_time(trees.second() / "folder", 1000);
  const std::string with = trees.first() / "file";
  if (::setxattr(with.c_str(), "user.a", "1", 1, 0) != 0) {
    BOOST_TEST_MESSAGE("no user attributes here");
    return;
  }
  two_trees::settle(trees.first());
  BOOST_TEST(has(trees.verdict(), "attribute user.a is present in the first tree and absent"));
  const std::string other = trees.second() / "file";
  BOOST_REQUIRE(::setxattr(other.c_str(), "user.a", "2", 1, 0) == 0);
  two_trees::settle(trees.second());
  BOOST_TEST(has(trees.verdict(), "the values of attribute user.a differ"));
}

BOOST_AUTO_TEST_CASE(a_sample_is_the_same_each_time_and_spread_over_the_tree) {
  const two_trees trees;
  for (const fs::path& root : {trees.first(), trees.second()}) {
    for (int folder = 0; folder < 10; ++folder) {
      const fs::path path = root / ("d" + std::to_string(folder));
      fs::create_directory(path);
      for (int file = 0; file < 50; ++file) {
        write(path / ("f" + std::to_string(file)), "one");
      }
    }
  }
  // Which files a sample of 100 reads: those whose difference it finds.
  std::array<int, 10> hits{};
  for (int folder = 0; folder < 10; ++folder) {
    for (int file = 0; file < 50; ++file) {
      const fs::path path =
          trees.second() / ("d" + std::to_string(folder)) / ("f" + std::to_string(file));
      write(path, "two");
      two_trees::settle(trees.first());
      two_trees::settle(trees.second());
      compare_options options;
      options.files_max = 100;
      const std::string once = trees.verdict(options);
      BOOST_REQUIRE(once == trees.verdict(options));
      hits[static_cast<std::size_t>(folder)] += once == "none" ? 0 : 1;
      write(path, "one");
    }
  }
  int all = 0;
  for (const int of_folder : hits) {
    BOOST_TEST(of_folder > 0);
    all += of_folder;
  }
  // Of 504 files, 4 are elsewhere.
  BOOST_TEST((all >= 96 && all <= 100));
}

BOOST_AUTO_TEST_CASE(metadata_of_files_outside_the_sample_is_compared_too) {
  const two_trees trees;
  compare_options options;
  options.files_max = 0;
  BOOST_TEST(trees.verdict(options) == "none");
  ::chmod((trees.second() / "folder/deep/file").c_str(), 0600);
  BOOST_TEST(has(trees.verdict(options), "mode"));
}

BOOST_AUTO_TEST_CASE(paths_longer_than_one_system_call_takes_are_compared) {
  const two_trees trees;
  const std::string name(200, 'n');
  for (const fs::path& root : {trees.first(), trees.second()}) {
    int here = ::open(root.c_str(), O_PATH | O_DIRECTORY);
    for (int depth = 0; depth < 30; ++depth) {  // 6,000 bytes
      BOOST_REQUIRE(::mkdirat(here, name.c_str(), 0755) == 0);
      const int below = ::openat(here, name.c_str(), O_PATH | O_DIRECTORY);
      ::close(here);
      here = below;
    }
    const int file = ::openat(here, "file", O_CREAT | O_WRONLY, 0644);
    const char letter = root == trees.first() ? 'a' : 'b';
    BOOST_REQUIRE(::write(file, &letter, 1) == 1);
    const std::array<timespec, 2> times{{{5, 0}, {5, 0}}};
    ::futimens(file, times.data());
    ::close(file);
    // Upwards, the times of the directories.
    for (int depth = 0; depth < 30; ++depth) {
      ::utimensat(here, ".", times.data(), 0);
      const int above = ::openat(here, "..", O_PATH | O_DIRECTORY);
      ::close(here);
      here = above;
    }
    ::close(here);
  }
  BOOST_TEST(has(trees.verdict(), "the contents differ, first at byte 0"));
}

BOOST_AUTO_TEST_CASE(a_stop_ends_it_and_a_missing_tree_is_an_error) {
  const two_trees trees;
  const std::atomic<bool> stop{true};
  compare_options options;
  options.stop = &stop;
  auto report = compare_trees(trees.first(), trees.second(), options);
  BOOST_REQUIRE(!report);
  BOOST_TEST((report.error().what_now == bts3::engine::disposition::cancelled));
  BOOST_TEST(!compare_trees(trees.first(), trees.first() / "none").has_value());
}

BOOST_AUTO_TEST_SUITE_END()
