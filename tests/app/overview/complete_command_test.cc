// What shells are told: by words alone, by a configuration, and of a bucket that is slow or away.
#include "app/overview/complete_command.hh"

#include "tests/app/config/config_support.hh"
#include "tests/app/support.hh"
#include "tests/support/scripted_s3_server.hh"

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::app::testing::variables;
using bts3::testing::content_of;
using bts3::testing::scratch_directory;
using bts3::testing::write_file;

namespace {

using strings = std::vector<std::string>;

std::string answer(strings words,
                   const std::map<std::string, std::string, std::less<>>& known = {}) {
  std::vector<const char*> all = {"btrfs_to_s3", "complete", "--"};
  for (const std::string& word : words) {
    all.push_back(word.c_str());
  }
  auto parsed = parse_command_line(static_cast<int>(all.size()), all.data());
  BOOST_REQUIRE(std::holds_alternative<command_line>(parsed));
  const auto& line = std::get<command_line>(parsed);
  return completed(std::get<complete_command>(line.command), line.common, variables(known));
}

// The candidates of an answer that is a list.
strings offered(strings words, const std::map<std::string, std::string, std::less<>>& known = {}) {
  std::istringstream text(answer(std::move(words), known));
  std::string line;
  std::getline(text, line);
  BOOST_TEST(line == "words");
  strings found;
  while (std::getline(text, line)) {
    found.push_back(line.substr(0, line.find('\t')));
  }
  return found;
}

bool has(const strings& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

// A host with a configuration and a bucket with two backups of "data" and one of "ho me".
struct scene {
  scratch_directory directory;
  bts3::testing::scripted_s3_server server;
  std::map<std::string, std::string, std::less<>> known;

  scene() {
    server.add_bucket("b");
    for (const char* key : {"p/subvol/data/full/manifest-20260101T000000Z.json",
                            "p/subvol/data/full/manifest-not-a-time.json",
                            "p/subvol/data/full/chunk-20260101T000000Z-0.bin",
                            "p/subvol/data/incremental/manifest-20260108T000000Z.json",
                            "p/subvol/ho me/full/manifest-20260102T000000Z.json"}) {
      server.put("b", key, "{}");
    }
    write_file(config(),
               "[subvolumes]\npaths = [\"/srv/data\", {name = \"ho me\", path = \"/h\"}]\n"
               "[s3]\nbucket = \"b\"\nregion = \"r\"\nprefix = \"p\"\nendpoint_url = \"" +
                   server.url() + "\"\n");
    known = {{"HOME", directory / "home"},
             {"XDG_CACHE_HOME", directory / "cache"},
             {"AWS_ACCESS_KEY_ID", "key"},
             {"AWS_SECRET_ACCESS_KEY", "secret"},
             {"AWS_EC2_METADATA_DISABLED", "true"}};
    std::filesystem::create_directory(directory / "cache");
  }
  std::string config() const { return directory / "config.toml"; }
  strings offers(strings words) {
    words.insert(words.begin(), {"--config", config()});
    return offered(std::move(words), known);
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(complete_command_suite)

BOOST_AUTO_TEST_CASE(commands_and_options_are_those_of_the_command_line) {
  const strings commands = offered({""});
  for (const char* one : {"backup", "restore", "init", "doctor"}) {
    BOOST_TEST(has(commands, one), one);
  }
  BOOST_TEST(!has(commands, "complete"));
  BOOST_TEST(offered({"re"}) == strings{"restore"}, boost::test_tools::per_element());
  BOOST_TEST(offered({"backup", "--on"}) == strings{"--once"}, boost::test_tools::per_element());
  BOOST_TEST(has(offered({"backup", ""}), "--subvolume"));
  BOOST_TEST(has(offered({"--log-format", "json", "backup", "--"}), "--config"));
  BOOST_TEST(has(offered({"--"}), "--version"));
  BOOST_TEST(offered({"frobnicate", "x"}).empty());
  BOOST_TEST(has(offered({}), "backup"));
  const strings of_keys = {"generate", "show", "check", "rewrap"};
  BOOST_TEST(offered({"keys", ""}) == of_keys, boost::test_tools::per_element());
  BOOST_TEST(offered({"keys", "generate", "--p"}) == strings{"--passphrase"},
             boost::test_tools::per_element());
  BOOST_TEST(answer({"keys", "show", ""}) == "files\n");
}

BOOST_AUTO_TEST_CASE(values_are_offered_in_every_way_of_writing_them) {
  const strings warning = {"warning"};
  BOOST_TEST(offered({"backup", "--log-level", "w"}) == warning, boost::test_tools::per_element());
  BOOST_TEST(offered({"backup", "--log-level", "=", "w"}) == warning,
             boost::test_tools::per_element());
  BOOST_TEST(offered({"backup", "--log-level=w"}) == strings{"--log-level=warning"},
             boost::test_tools::per_element());
  BOOST_TEST(offered({"backup", "--log-level", "="}).size() == 5U);
  BOOST_TEST(offered({"restore", "--verify", "s"}) == strings{"sample"},
             boost::test_tools::per_element());
  BOOST_TEST(answer({"restore", "--target", "/s"}) == "directories\n");
  BOOST_TEST(answer({"--config", ""}) == "files\n");
  BOOST_TEST(answer({"init", "--subvolume", ""}) == "directories\n");
  BOOST_TEST(offered({"list", "--region", ""}).empty());
  BOOST_TEST(offered({"backup", "--once=", ""}).size() > 5U);
  BOOST_TEST(offered({"backup", "--once=x"}).empty());
}

BOOST_AUTO_TEST_CASE(subvolumes_come_from_the_configuration) {
  scene here;
  const strings both = {"data", "ho me"};
  BOOST_TEST(here.offers({"backup", "--subvolume", ""}) == both, boost::test_tools::per_element());
  BOOST_TEST(here.offers({"backup", "--subvolume", "ho"}) == strings{"ho me"},
             boost::test_tools::per_element());
  BOOST_TEST(here.offers({"backup", "--subvolume=d"}) == strings{"--subvolume=data"},
             boost::test_tools::per_element());
  BOOST_TEST(here.server.requests().empty());
  BOOST_TEST(offered({"--config", "/no/such", "backup", "--subvolume", ""}).empty());
  write_file(here.config(), "[s3]\nbuckett = 1\n");
  BOOST_TEST(here.offers({"backup", "--subvolume", ""}).empty());
}

BOOST_AUTO_TEST_CASE(dates_and_keys_come_from_the_bucket_newest_first_and_then_from_the_cache) {
  scene here;
  const strings times = {"20260108T000000Z", "20260101T000000Z"};
  BOOST_TEST(here.offers({"restore", "--subvolume", "data", "--at", ""}) == times,
             boost::test_tools::per_element());
  const strings keys = {"p/subvol/data/incremental/manifest-20260108T000000Z.json",
                        "p/subvol/data/full/manifest-20260101T000000Z.json"};
  const std::size_t asked = here.server.requests().size();
  BOOST_TEST(asked > 0U);
  BOOST_TEST(here.offers({"restore", "--subvolume", "data", "--manifest-key", "p/"}) == keys,
             boost::test_tools::per_element());
  BOOST_TEST(here.server.requests().size() == asked);  // the cache's
  // All subvolumes, where none is named.
  BOOST_TEST(here.offers({"restore", "--all", "--at", ""}).size() == 3U);
  BOOST_TEST(here.offers({"restore", "--subvolume", "ho me", "--at", "2026"}) ==
                 strings{"20260102T000000Z"},
             boost::test_tools::per_element());
  // The cache tells others nothing, and gets old.
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(here.directory / "cache")) {
    struct stat facts{};
    BOOST_REQUIRE(::stat(entry.path().c_str(), &facts) == 0);
    BOOST_TEST((facts.st_mode & 077) == 0U, entry.path());
    if (entry.is_regular_file()) {
      std::filesystem::last_write_time(
          entry.path(), std::filesystem::file_time_type::clock::now() - std::chrono::minutes(2));
    }
  }
  const std::size_t before = here.server.requests().size();
  BOOST_TEST(here.offers({"restore", "--subvolume", "data", "--at", ""}).size() == 2U);
  BOOST_TEST(here.server.requests().size() > before);
}

BOOST_AUTO_TEST_CASE(a_bucket_may_take_the_place_of_a_configuration) {
  scene here;
  const strings from = {"restore", "--from", "s3://b/p", "--endpoint-url", here.server.url()};
  strings words = from;
  words.insert(words.end(), {"--subvolume", ""});
  const strings both = {"data", "ho me"};
  BOOST_TEST(offered(words, here.known) == both, boost::test_tools::per_element());
  const strings as_bash = {
      "restore",     "--from", "s3", ":",           "//b/p", "--endpoint-url",
      "=",           "http",   ":",  "//127.0.0.1", ":",     std::to_string(here.server.port()),
      "--subvolume", ""};
  BOOST_TEST(offered(as_bash, here.known) == both, boost::test_tools::per_element());
  words = from;
  words.insert(words.end(), {"--subvolume", "data", "--at", ""});
  BOOST_TEST(offered(words, here.known).size() == 2U);
}

BOOST_AUTO_TEST_CASE(what_does_not_answer_is_waited_for_two_seconds_and_in_silence) {
  scene here;
  const bts3::testing::request_match everything(bts3::testing::s3_verb::any, 1, 0);
  for (const bool stalls : {true, false}) {
    here.server.clear_script();
    if (stalls) {
      here.server.script(everything, bts3::testing::scripted_action::stall_before_answer());
    } else {
      here.server.script(everything, bts3::testing::scripted_action::answer(403, "AccessDenied"));
    }
    const auto begin = std::chrono::steady_clock::now();
    BOOST_TEST(here.offers({"restore", "--subvolume", "data", "--at", ""}).empty());
    BOOST_TEST((std::chrono::steady_clock::now() - begin < std::chrono::seconds(4)));
  }
  here.known.erase("AWS_ACCESS_KEY_ID");
  BOOST_TEST(here.offers({"restore", "--subvolume", "data", "--at", ""}).empty());
}

BOOST_AUTO_TEST_CASE(a_cache_that_is_not_ours_or_spoiled_is_not_believed) {
  scene here;
  here.offers({"restore", "--subvolume", "data", "--at", ""});
  std::string file;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(here.directory / "cache")) {
    file = entry.is_regular_file() ? entry.path().string() : file;
  }
  BOOST_REQUIRE(!file.empty());
  write_file(file, "\x1b[31mevil\nnot a key\np/subvol/data/full/manifest-20250101T000000Z.json\n");
  const strings times = here.offers({"restore", "--subvolume", "data", "--at", ""});
  BOOST_TEST(times == strings{"20250101T000000Z"}, boost::test_tools::per_element());
  // A link that somebody else put there is not followed.
  const std::string target = here.directory / "target";
  write_file(target, "p/subvol/data/full/manifest-20240101T000000Z.json\n");
  std::filesystem::remove(file);
  std::filesystem::create_symlink(target, file);
  BOOST_TEST(here.offers({"restore", "--subvolume", "data", "--at", ""}).size() == 2U);
  BOOST_TEST(content_of(target) == "p/subvol/data/full/manifest-20240101T000000Z.json\n");
}

BOOST_AUTO_TEST_CASE(the_cache_is_the_users_own) {
  BOOST_TEST(completion_cache(variables({{"XDG_CACHE_HOME", "/c"}, {"HOME", "/h"}}), 1000) ==
             "/c/btrfs_to_s3");
  BOOST_TEST(completion_cache(variables({{"HOME", "/h"}}), 1000) == "/h/.cache/btrfs_to_s3");
  BOOST_TEST(completion_cache(variables({{"HOME", "h"}}), 0) == "/run/btrfs_to_s3");
  BOOST_TEST(completion_cache(variables({}), 1000) == "");
}

BOOST_AUTO_TEST_SUITE_END()
