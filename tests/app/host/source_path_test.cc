#include "app/host/source_path.hh"

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

using namespace bts3::app;

namespace {

constexpr std::uint32_t directory = S_IFDIR;

std::vector<path_step> way(path_step middle, path_step last = {"/a/b", 0, 0, S_IFDIR | 0755}) {
  middle.path = "/a";
  return {{"/", 0, 0, directory | 0755}, middle, last};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(source_path_suite)

BOOST_AUTO_TEST_CASE(only_root_and_this_user_are_trusted_with_the_way_to_a_source) {
  const std::uint32_t user = 1000;
  BOOST_TEST(who_may_exchange(way({"", 0, 0, directory | 0755}), 0) == "");
  BOOST_TEST(who_may_exchange(way({"", user, user, directory | 0755}), user) == "");
  BOOST_TEST(who_may_exchange(way({"", 0, 0, directory | 0775}), 0) == "");
  BOOST_TEST(who_may_exchange(way({"", user, user, directory | 0700}), 0) ==
             "user 1000, whose /a is");
  BOOST_TEST(who_may_exchange(way({"", 0, 0, directory | 0757}), 0) ==
             "everybody, who may write to /a");
  BOOST_TEST(who_may_exchange(way({"", 0, 50, directory | 0775}), 0) ==
             "group 50, which may write to /a");
}

BOOST_AUTO_TEST_CASE(a_sticky_directory_lets_each_exchange_only_what_is_theirs) {
  const path_step shared = {"", 0, 0, directory | 01777};
  BOOST_TEST(who_may_exchange(way(shared), 0) == "");
  const path_step theirs = {"/a/b", 1000, 1000, directory | 0755};
  BOOST_TEST(who_may_exchange(way(shared, theirs), 0) == "everybody, who may write to /a");
  BOOST_TEST(who_may_exchange(way(shared, theirs), 1000) == "");
  // What the source itself is like is no matter: its content is what is backed up.
  BOOST_TEST(who_may_exchange(way({"", 0, 0, directory | 0755}, theirs), 0) == "");
}

BOOST_AUTO_TEST_CASE(both_the_written_way_and_that_behind_links_are_walked) {
  const std::filesystem::path place =
      std::filesystem::temp_directory_path() / ("bts3-way-" + std::to_string(::getpid()));
  std::filesystem::create_directories(place / "real/b");
  std::filesystem::create_directory_symlink(place / "real", place / "link");
  const auto steps = steps_to((place / "link/b").string());
  const auto has = [&](const std::filesystem::path& path) {
    for (const path_step& one : steps) {
      if (one.path == path.string()) {
        return true;
      }
    }
    return false;
  };
  BOOST_TEST(has("/"));
  BOOST_TEST(has(place / "link"));
  BOOST_TEST(has(place / "real"));
  BOOST_TEST(has(std::filesystem::canonical(place / "real/b")));
  std::filesystem::remove_all(place);
}

BOOST_AUTO_TEST_SUITE_END()
