#include "engine/files.hh"

#include "tests/engine/scratch_directory.hh"
#include "tests/support/as_nobody.hh"
#include "tests/support/no_growth.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <string>

using namespace bts3::engine;
using bts3::engine::testing::scratch_directory;
using bts3::testing::error_text;
using bts3::testing::no_growth;

namespace {

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

mode_t mode_of(const std::string& path) {
  struct stat entry{};
  BOOST_REQUIRE(::stat(path.c_str(), &entry) == 0);
  return entry.st_mode & 07777;
}

bool is_there(const std::string& path) {
  return std::filesystem::exists(std::filesystem::symlink_status(path));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(durable_files)

BOOST_AUTO_TEST_CASE(what_lies_in_wait_under_the_temporary_name_is_removed_and_not_opened) {
  const scratch_directory here;
  const std::string path = here.path() + "/state.json";
  const std::string temporary = path + ".new";
  const std::string precious = here.path() + "/precious";
  std::ofstream(precious) << "precious";
  const std::function<void()> traps[] = {
      [&] { std::filesystem::create_symlink(precious, temporary); },
      [&] { std::filesystem::create_hard_link(precious, temporary); },
      [&] { BOOST_REQUIRE(::mkfifo(temporary.c_str(), 0600) == 0); },
      [&] { std::ofstream(temporary) << "a longer leftover of a run that was killed"; },
      [] {},
  };
  for (const auto& set_trap : traps) {
    set_trap();
    const auto written = write_durably(path, "new");
    BOOST_TEST(written.has_value(), error_text(written));
    BOOST_TEST(content(path) == "new");
    BOOST_TEST(content(precious) == "precious");
    BOOST_TEST(!is_there(temporary));
  }
  BOOST_TEST(mode_of(path) == 0600U);
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_written_leaves_nothing_and_the_old_one_as_it_was) {
  const scratch_directory here;
  const std::string path = here.path() + "/state.json";
  BOOST_REQUIRE(write_durably(path, "old").has_value());
  // Full at once, and in the middle of the text.
  for (const std::size_t room : {std::size_t{0}, std::size_t{4096}}) {
    const no_growth full(room);
    const auto written = write_durably(path, std::string(10'000, 'x'));
    BOOST_REQUIRE(!written);
    BOOST_TEST(written.error().status == EFBIG);
    BOOST_TEST(written.error().message == "writing " + path + ".new: File too large");
  }
  BOOST_TEST(content(path) == "old");
  BOOST_TEST(!is_there(path + ".new"));
  // Nor where the name itself is in the way.
  const std::string folder = here.path() + "/folder";
  std::filesystem::create_directory(folder);
  const auto onto_folder = write_durably(folder, "new");
  BOOST_TEST(error_text(onto_folder) == "renaming " + folder + ".new: Is a directory");
  BOOST_TEST(!is_there(folder + ".new"));
  std::filesystem::create_directory(path + ".new");
  const auto beside_folder = write_durably(path, "new");
  BOOST_TEST(error_text(beside_folder) == path + ".new: Is a directory");
  BOOST_TEST(content(path) == "old");
  BOOST_TEST(std::filesystem::is_directory(path + ".new"));
}

BOOST_AUTO_TEST_CASE(the_mode_is_the_one_asked_for_whatever_the_umask_says) {
  const scratch_directory here;
  const std::string path = here.path() + "/metrics.prom";
  const mode_t before = ::umask(0077);
  const auto written = write_durably(path, "text", 0644);
  ::umask(before);
  BOOST_REQUIRE_MESSAGE(written.has_value(), error_text(written));
  BOOST_TEST(mode_of(path) == 0644U);
}

BOOST_AUTO_TEST_CASE(a_name_without_a_directory_lies_in_the_working_one) {
  const scratch_directory here;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(here.path());
  const auto written = write_durably("state.json", "text");
  std::filesystem::current_path(before);
  BOOST_REQUIRE_MESSAGE(written.has_value(), error_text(written));
  BOOST_TEST(content(here.path() + "/state.json") == "text");
}

BOOST_AUTO_TEST_CASE(a_directory_that_is_not_there_is_named) {
  const scratch_directory here;
  const std::string missing = here.path() + "/none";
  BOOST_TEST(error_text(open_directory(missing)) == missing + ": No such file or directory");
  const auto written = write_durably(missing + "/file", "text");
  BOOST_TEST(error_text(written) == missing + "/file.new: No such file or directory");
  std::ofstream(here.path() + "/file") << "no directory";
  BOOST_TEST(error_text(open_directory(here.path() + "/file")) ==
             here.path() + "/file: Not a directory");
}

// Its file is in place then, and whether it would survive a power cut cannot be told.
BOOST_AUTO_TEST_CASE(a_directory_that_cannot_be_synced_is_an_error) {
  if (::geteuid() != 0) {
    std::cout << "skipped: becoming another user needs root\n";
    return;
  }
  const scratch_directory here;
  BOOST_REQUIRE(::chown(here.path().c_str(), 65534, 65534) == 0);
  BOOST_REQUIRE(::chmod(here.path().c_str(), 0300) == 0);
  std::string said;
  {
    const bts3::testing::as_nobody nobody;
    said = error_text(write_durably(here.path() + "/file", "text"));
  }
  BOOST_TEST(said == here.path() + "/: Permission denied");
  BOOST_TEST(content(here.path() + "/file") == "text");
}

BOOST_AUTO_TEST_CASE(the_last_directory_is_made_for_its_owner_and_none_above_it) {
  const scratch_directory here;
  const std::string made = here.path() + "/made";
  BOOST_TEST(make_last_directory(made));
  BOOST_TEST(mode_of(made) == 0700U);
  BOOST_TEST(!make_last_directory(made));  // it was there
  BOOST_TEST(!make_last_directory(here.path() + "/a/b"));
  BOOST_TEST(!is_there(here.path() + "/a"));
}

BOOST_AUTO_TEST_SUITE_END()
