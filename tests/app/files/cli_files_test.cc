// The words of ls, find, history, diff and index build.
#include "app/cli/cli.hh"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <string>
#include <variant>
#include <vector>

using namespace bts3::app;

namespace {

std::variant<command_line, early_exit> parsed(const std::vector<std::string>& words) {
  std::vector<const char*> all = {"btrfs_to_s3"};
  for (const std::string& word : words) {
    all.push_back(word.c_str());
  }
  return parse_command_line(static_cast<int>(all.size()), all.data());
}

template <typename Command>
Command accepted(const std::vector<std::string>& words) {
  const auto line = parsed(words);
  const auto* end = std::get_if<early_exit>(&line);
  BOOST_REQUIRE_MESSAGE(end == nullptr, (end == nullptr ? "" : end->text));
  return std::get<Command>(std::get<command_line>(line).command);
}

bool refused(const std::vector<std::string>& words) {
  const auto line = parsed(words);
  return std::holds_alternative<early_exit>(line) && std::get<early_exit>(line).status == 2;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cli_files_suite)

BOOST_AUTO_TEST_CASE(a_backup_is_chosen_as_for_a_restore_and_a_path_is_optional) {
  const auto ls = accepted<ls_command>({"ls", "-l", "--from", "s3://b/p", "--region", "r",
                                        "--subvolume", "data", "--at", "2026-01-02", "--identity",
                                        "/k", "--cache-dir", "/c", "etc"});
  BOOST_TEST(ls.details);
  BOOST_TEST(!ls.null);
  BOOST_TEST(ls.path == "etc");
  BOOST_TEST(ls.from == "s3://b/p");
  BOOST_TEST(ls.at == "2026-01-02");
  BOOST_TEST(ls.identities.front() == "/k");
  BOOST_TEST(ls.cache_dir == "/c");
  BOOST_TEST(accepted<ls_command>({"ls"}).path == "");
  BOOST_TEST(accepted<ls_command>({"ls", "-0d", "--json"}).directory);
  BOOST_TEST(refused({"ls", "--at", "2026-01-02", "--manifest-key", "k"}));
  BOOST_TEST(refused({"ls", "--all"}));
  BOOST_TEST(refused({"history"}));
  BOOST_TEST(accepted<history_command>({"history", "a b"}).path == "a b");
}

BOOST_AUTO_TEST_CASE(sizes_and_ages_are_more_less_or_just_that) {
  using std::chrono::seconds;
  const auto more = accepted<find_command>({"find", "--size", "+10KiB", "--mtime", "-7"});
  BOOST_TEST(*more.size_min == 10241);
  BOOST_TEST(!more.size_max.has_value());
  BOOST_TEST((more.age_max == seconds(7 * 86400 - 1)));
  BOOST_TEST(!more.age_min.has_value());
  const auto less = accepted<find_command>({"find", "--size", "-4096", "--mtime", "+12h", "home"});
  BOOST_TEST(*less.size_max == 4095);
  BOOST_TEST((less.age_min == seconds(12 * 3600 + 1)));
  BOOST_TEST(less.path == "home");
  const auto just = accepted<find_command>({"find", "--size=5", "--type", "l", "--name", "*.c"});
  BOOST_TEST(*just.size_min == 5);
  BOOST_TEST(*just.size_max == 5);
  BOOST_TEST(just.type == 'l');
  BOOST_TEST(just.name == "*.c");
  for (const char* wrong : {"", "+", "-0", "ten", "+-5"}) {
    BOOST_TEST(refused({"find", "--size", wrong}), wrong);
  }
  for (const char* wrong : {"", "7", "+x", "-0"}) {
    BOOST_TEST(refused({"find", "--mtime", wrong}), wrong);
  }
  BOOST_TEST(refused({"find", "--type", "x"}));
}

BOOST_AUTO_TEST_CASE(a_difference_names_one_backup_or_two) {
  const auto two =
      accepted<diff_command>({"diff", "--at", "2026-01-02", "--at", "2026-01-03", "etc"});
  BOOST_TEST(two.times.size() == 2);
  BOOST_TEST(two.path == "etc");
  BOOST_TEST(accepted<diff_command>({"diff", "--manifest-key", "a"}).keys.size() == 1);
  BOOST_TEST(refused({"diff", "--manifest-key", "a", "--at", "2026-01-02"}));
}

BOOST_AUTO_TEST_CASE(indexes_are_built_by_words_of_their_own) {
  const auto build = accepted<index_build_command>({"index", "build", "--dry-run", "--json"});
  BOOST_TEST(build.dry_run);
  BOOST_TEST(build.json);
  BOOST_TEST(refused({"index"}));
}

BOOST_AUTO_TEST_CASE(a_path_of_a_backup_is_completed_as_one_and_its_place_is_noted) {
  const auto of = [](const std::vector<std::string>& words) {
    std::vector<std::string> all = {"complete", "--"};
    all.insert(all.end(), words.begin(), words.end());
    return accepted<complete_command>(all);
  };
  const auto ls =
      of({"ls", "--subvolume", "data", "--at", "2026-01-02", "--cache-dir=/c", "etc/f"});
  BOOST_TEST((ls.what == complete_command::kind::paths));
  BOOST_TEST(ls.begin == "etc/f");
  BOOST_TEST(ls.subvolume == "data");
  BOOST_TEST(ls.at == "2026-01-02");
  BOOST_TEST(ls.cache_dir == "/c");
  BOOST_TEST((of({"diff", "x"}).what == complete_command::kind::paths));
  BOOST_TEST((of({"keys", "show", "x"}).what == complete_command::kind::files));
}

BOOST_AUTO_TEST_SUITE_END()
