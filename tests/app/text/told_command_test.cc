// What is printed as a remedy is run by real shells, with names that nobody would choose.
#include "engine/told_command.hh"

#include "app/cli/cli.hh"
#include "app/config/working_place.hh"
#include "app/overview/status_report.hh"
#include "app/text/text_table.hh"
#include "app/upkeep/verify_report.hh"
#include "engine/plain_text.hh"
#include "tests/app/support.hh"

#include <boost/test/unit_test.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

using namespace bts3::app;
using bts3::engine::set_told_place;
using bts3::engine::shell_word;
using bts3::engine::told_command;

namespace {

const std::vector<std::string> hostile = {"data",
                                          "a b",
                                          "it's",
                                          "say \"x\"",
                                          "$(touch /tmp/x)$HOME",
                                          "a\nb",
                                          "-x",
                                          "--json",
                                          "`id`",
                                          "a\\b",
                                          "tab\there",
                                          "\xff\xfe",
                                          "caf\xc3\xa9",
                                          "*",
                                          "~root",
                                          "a;b&c|d>e",
                                          "#no",
                                          "!!",
                                          "{a,b}",
                                          "'",
                                          "\xe2\x80\xae"
                                          "x",
                                          "a'\nb`c\\",
                                          "%s%n",
                                          "$'x'",
                                          "\\'"};

// The words that `shell` makes of `command`.
std::vector<std::string> words_of(const std::string& shell, const std::string& command) {
  std::string path = (std::filesystem::temp_directory_path() / "bts3-XXXXXX").string();
  const int fd = ::mkstemp(path.data());
  BOOST_REQUIRE(fd >= 0);
  ::close(fd);
  std::ofstream(path) << "btrfs_to_s3() { printf '%s\\0' \"$@\"; }\n" << command << "\n";
  std::FILE* const said = ::popen((shell + " " + path).c_str(), "r");
  BOOST_REQUIRE(said != nullptr);
  std::string text;
  for (int c = std::fgetc(said); c != EOF; c = std::fgetc(said)) {
    text += static_cast<char>(c);
  }
  BOOST_TEST(::pclose(said) == 0, command);
  std::filesystem::remove(path);
  std::vector<std::string> words;
  while (!text.empty()) {
    words.push_back(text.substr(0, text.find('\0')));
    text.erase(0, words.back().size() + 1);
  }
  return words;
}

// The command line as the program takes it from a shell.
command_line taken(const std::string& shell, const std::string& command) {
  std::vector<std::string> words = words_of(shell, command);
  words.insert(words.begin(), "btrfs_to_s3");
  std::vector<const char*> pointers;
  for (const std::string& word : words) {
    pointers.push_back(word.c_str());
  }
  auto parsed = parse_command_line(static_cast<int>(pointers.size()), pointers.data());
  if (const auto* end = std::get_if<early_exit>(&parsed)) {
    BOOST_FAIL(command << ": " << end->text);
  }
  return std::get<command_line>(parsed);
}

// What stands between the `count`th pair of backquotes.
std::string quoted_in(std::string text, std::size_t count = 1) {
  for (std::size_t i = 0; i < 2 * count - 1; ++i) {
    BOOST_REQUIRE(text.find('`') != std::string::npos);
    text.erase(0, text.find('`') + 1);
  }
  return text.substr(0, text.find('`'));
}

struct placed {
  explicit placed(bts3::engine::told_place where) { set_told_place(std::move(where)); }
  ~placed() { set_told_place({}); }
  placed(const placed&) = delete;
  placed& operator=(const placed&) = delete;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(told_command_suite)

BOOST_AUTO_TEST_CASE(a_printed_command_means_what_it_says_to_a_shell) {
  for (const std::string& name : hostile) {
    const placed here({"/root/" + name + ".toml", {}});
    const std::string command =
        told_command("restore", {{"--subvolume", name},
                                 {"--target", "/srv/" + name},
                                 {"--manifest-key", "p/" + name + "/manifest.json"}});
    // As it is printed: no other gate changes it, it is one line, and fits between backquotes.
    BOOST_TEST(bts3::engine::printable(command) == command);
    BOOST_TEST(command.find('`') == std::string::npos);
    const bool spelled_out = command.find("$'") != std::string::npos && name != "$'x'";
    for (const std::string shell : {"bash", "dash"}) {
      if (shell == "dash" && spelled_out) {
        continue;  // no $'...' there
      }
      const command_line line = taken(shell, command);
      const auto& restore = std::get<restore_command>(line.command);
      BOOST_TEST(restore.subvolume == name);
      BOOST_TEST(restore.target == "/srv/" + name);
      BOOST_TEST(restore.manifest_key == "p/" + name + "/manifest.json");
      BOOST_TEST(line.common.config_path == "/root/" + name + ".toml");
    }
  }
  BOOST_TEST(shell_word("") == "''");
  BOOST_TEST(shell_word("p/subvol/data/manifest-20260102T030405Z.json") ==
             "p/subvol/data/manifest-20260102T030405Z.json");
  BOOST_TEST(shell_word("a b") == "'a b'");
}

BOOST_AUTO_TEST_CASE(a_printed_command_leads_to_the_same_place) {
  command_line line;
  BOOST_TEST(told_place_of(line).config.empty());  // the default needs no option
  line.common.config_path = "/etc/other.toml";
  BOOST_TEST(told_place_of(line).config == "/etc/other.toml");
  verify_command verify;
  verify.from = "s3://b/p x";
  verify.region = "r";
  verify.profile = "it's";
  line.command = verify;
  const placed there(told_place_of(line));
  const command_line again = taken("bash", told_command("thaw", {{"--subvolume", "d"}}));
  const bucket_place* const place = place_in(again);
  BOOST_REQUIRE(place != nullptr);
  BOOST_TEST((place->from == verify.from && place->region == "r"));
  BOOST_TEST((place->profile == verify.profile && place->endpoint_url.empty()));
  // A backup has no place without a configuration.
  BOOST_TEST(told_command("backup --full", {{"--subvolume", "d"}}) ==
             "btrfs_to_s3 backup --full --subvolume d");
  BOOST_TEST(told_command("doctor") == "btrfs_to_s3 doctor");
  BOOST_TEST(told_command("prune --yes") == "btrfs_to_s3 prune --yes");
}

BOOST_AUTO_TEST_CASE(what_reports_print_is_run_as_it_stands) {
  for (const std::string& name : hostile) {
    const placed here({"/root/my config.toml", {}});
    verify_outcome outcome;
    outcome.name = name;
    outcome.target = "/srv/restore/" + name;
    for (const char* const time : {"20261101T020000Z", "20261108T020000Z"}) {
      verified_backup one;
      one.key = "p/subvol/" + name + "/full/manifest-" + time + ".json";
      one.when = bts3::planner::timestamp::parse(time).value();
      outcome.backups.push_back(one);
    }
    outcome.backups[0].archived = "1 of 1 object is archived (GLACIER)";
    outcome.backups[1].findings.push_back({"chunk", "missing"});
    outcome.backups[1].restorable = false;
    const std::string text = verify_as_text({outcome}, verify_command(), 1);
    // Its first lines name things as they are called; the commands are behind them.
    const std::string thaw = quoted_in(text.substr(text.find("is archived")));
    BOOST_TEST(std::get<thaw_command>(taken("bash", thaw).command).subvolume == name);
    BOOST_TEST(std::get<thaw_command>(taken("bash", thaw).command).manifest_key ==
               outcome.backups[0].key);
    const std::string mark = "the newest: ";
    std::string newest = text.substr(text.find(mark) + mark.size());
    newest = newest.substr(0, newest.find('\n'));
    const command_line line = taken("bash", newest);
    const auto& restore = std::get<restore_command>(line.command);
    BOOST_TEST(restore.subvolume == name);
    BOOST_TEST(restore.target == outcome.target);
    BOOST_TEST(restore.manifest_key == outcome.backups[0].key);
    BOOST_TEST(line.common.config_path == "/root/my config.toml");
  }
}

BOOST_AUTO_TEST_CASE(a_printed_command_is_not_cut_where_lines_are) {
  const std::string command = told_command("verify --deep", {{"--subvolume", "a  b c"}});
  const std::string text = "damaged; `" + command + "` looks again";
  for (const std::size_t columns : {10U, 20U, 30U, 60U, 200U}) {
    BOOST_TEST(quoted_in(wrapped(text, 4, columns)) == command);
  }
  BOOST_TEST(wrapped("one ` two", 0, 4) == "one\n`\ntwo\n");  // it belongs to none
}

BOOST_AUTO_TEST_SUITE_END()
