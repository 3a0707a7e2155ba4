// The words of mount.
#include "app/cli/cli.hh"

#include <boost/test/unit_test.hpp>

#include <string>
#include <variant>
#include <vector>

using namespace bts3::app;

namespace {

std::variant<command_line, early_exit> parsed(const std::vector<std::string>& words) {
  std::vector<const char*> all = {"btrfs_to_s3", "mount"};
  for (const std::string& word : words) {
    all.push_back(word.c_str());
  }
  return parse_command_line(static_cast<int>(all.size()), all.data());
}

bool refused(const std::vector<std::string>& words) {
  const auto line = parsed(words);
  return std::holds_alternative<early_exit>(line) && std::get<early_exit>(line).status == 2;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(mount_words_suite)

BOOST_AUTO_TEST_CASE(a_directory_is_needed_and_a_backup_is_chosen_as_for_a_restore) {
  const auto line = parsed({"/mnt", "--subvolume", "data", "--at", "2026-01-02", "--identity", "/k",
                            "--cache-dir", "/c", "--allow-other"});
  BOOST_REQUIRE(std::holds_alternative<command_line>(line));
  const auto& made = std::get<mount_command>(std::get<command_line>(line).command);
  BOOST_TEST(made.directory == "/mnt");
  BOOST_TEST(made.subvolume == "data");
  BOOST_TEST(made.at == "2026-01-02");
  BOOST_TEST(made.identities.front() == "/k");
  BOOST_TEST(made.cache_dir == "/c");
  BOOST_TEST(made.allow_other);
  BOOST_TEST(refused({}));
  BOOST_TEST(refused({"/mnt", "/other"}));
  BOOST_TEST(refused({"/mnt", "--at", "2026-01-02", "--manifest-key", "k"}));
}

BOOST_AUTO_TEST_SUITE_END()
