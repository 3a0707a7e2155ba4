// What is told of a catalogue: paths, lines, histories, differences.
#include "app/files/asking.hh"
#include "app/files/entry_text.hh"
#include "app/files/path_history.hh"
#include "app/files/tree_difference.hh"
#include "tests/app/files/files_scene.hh"

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <string>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::error_text;
using bts3::testing::files_scene;
using bts3::testing::some_full;
using bts3::testing::some_incremental;

namespace {

const std::atomic<bool> never = false;

std::string told(const std::vector<changed_path>& found) {
  std::string text;
  for (const changed_path& one : found) {
    text += std::string(word_of(one.what)) + " " + (one.before.empty() ? "" : one.before + " -> ") +
            one.path + (one.content ? " content" : "") + (one.attributes ? " attributes" : "") +
            "; ";
  }
  return text;
}

std::string told(const std::vector<path_event>& events) {
  std::string text;
  for (const path_event& one : events) {
    text += std::to_string(one.link) + " " + word_of(one.what) +
            (one.other.empty() ? "" : " " + one.other) + "; ";
  }
  return text;
}

struct two_backups : files_scene {
  two_backups() {
    add(some_full());
    add(some_incremental());
    backup = std::move(*open());
  }
  std::string history(const std::string& path) {
    return told(*history_of(backup->catalogue(), path, backup->link()));
  }
  std::string differences(const std::string& below) {
    const tree_side from{&backup->catalogue(), 1};
    const tree_side to{&backup->catalogue(), 2};
    return told(*difference_of(from, to, below, never));
  }
  std::unique_ptr<opened_backup> backup;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(files_answers_suite)

BOOST_AUTO_TEST_CASE(a_path_is_meant_from_the_subvolume_on) {
  BOOST_TEST(*path_in_backup("") == "");
  BOOST_TEST(*path_in_backup("/") == "");
  BOOST_TEST(*path_in_backup("./etc//fstab/") == "etc/fstab");
  BOOST_TEST(*path_in_backup("a\nb/...") == "a\nb/...");
  BOOST_TEST(!path_in_backup("etc/../x").has_value());
}

BOOST_FIXTURE_TEST_CASE(a_path_that_is_not_there_is_told_with_what_is, two_backups) {
  const auto misspelt = existing(*backup, "etc/fstabb", 2);
  BOOST_REQUIRE(!misspelt.has_value());
  BOOST_TEST((misspelt.error().what_now == engine::disposition::not_found));
  BOOST_TEST(misspelt.error().remedy == "perhaps \"etc/fstab\" is meant");
  BOOST_TEST(existing(*backup, "home/q/far/away", 2).error().remedy ==
             "the nearest directory that is there is \"home\"");
  BOOST_TEST(existing(*backup, "etc/fstab/x", 2)
                 .error()
                 .message.ends_with(": \"etc/fstab\" is no directory"));
  BOOST_TEST(existing(*backup, "home/a b\n", 2).error().message.find("\"home/a b\\x0a\"") !=
             std::string::npos);
  BOOST_TEST(existing(*backup, "home/a b\n", 1).has_value());
  BOOST_TEST(existing(*backup, "", 1).has_value());
}

BOOST_FIXTURE_TEST_CASE(lines_are_those_of_ls_with_names_that_no_terminal_obeys, two_backups) {
  ::setenv("TZ", "UTC", 1);
  std::vector<shown_entry> entries;
  for (const char* path : {"etc/fstab", "home/a b\n", "link", "home"}) {
    entries.push_back({path, *existing(*backup, path, 1)});
  }
  BOOST_TEST(long_lines(entries) ==
             "-rw-r--r-- 1 0 0 10 2023-11-14 22:13 etc/fstab\n"
             "-rw------- 1 0 0  0 1970-01-01 00:00 home/a b\\x0a\n"
             "lrwxrwxrwx 1 0 0  9 1970-01-01 00:00 link -> etc/fstab\n"
             "drwx------ 1 0 0  0 1970-01-01 00:00 home\n");
  BOOST_TEST(short_line("a\033[1mb") == "a\\x1b[1mb\n");
  const auto json = entry_json("etc/fstab", entries.front().at);
  BOOST_TEST(json.dump() ==
             R"({"path":"etc/fstab","type":"file","mode":"0644","links":1,"uid":0,"gid":0,)"
             R"("bytes":10,"modified_at":"2023-11-14T22:13:20.000000005Z"})");
  BOOST_TEST(entry_json("\xff", entries.front().at)["path_base64"] == "/w==");
  btrfs::index::node odd = entries.front().at;
  odd.mode = 07751;
  BOOST_TEST(mode_text(odd) == "-rwsr-s--t");
  odd.mode = 07640;
  BOOST_TEST(mode_text(odd) == "-rwSr-S--T");
  odd.modified.seconds = INT64_MIN;
  BOOST_TEST(local_minute(odd.modified) == std::to_string(INT64_MIN));
  BOOST_TEST(rfc3339(odd.modified) == "");
}

BOOST_FIXTURE_TEST_CASE(a_history_tells_what_made_and_changed_a_path_and_where_it_went,
                        two_backups) {
  BOOST_TEST(history("etc/fstab") == "1 created; 2 changed; ");
  BOOST_TEST(history("home/a b\n") == "1 created; 2 renamed home/c; ");
  BOOST_TEST(history("home/c") == "2 renamed home/a b\n; ");
  BOOST_TEST(history("home/new") == "2 created; ");
  BOOST_TEST(history("link") == "1 created; 2 deleted; ");
  BOOST_TEST(history("nothing") == "");
}

BOOST_FIXTURE_TEST_CASE(two_backups_of_a_chain_differ_in_what_the_later_one_changed, two_backups) {
  BOOST_TEST(differences("") ==
             "changed etc/fstab content attributes; renamed home/a b\n -> home/c; "
             "added home/new; removed link; ");
  BOOST_TEST(differences("etc") == "changed etc/fstab content attributes; ");
  BOOST_TEST(differences("et") == "");
  BOOST_TEST(differences("link") == "removed link; ");
  const tree_side later{&backup->catalogue(), 2};
  const tree_side earlier{&backup->catalogue(), 1};
  BOOST_TEST(told(*difference_of(later, earlier, "home", never)) ==
             "renamed home/c -> home/a b\n; removed home/new; ");
  BOOST_TEST(told(*difference_of(later, later, "", never)) == "");
}

BOOST_FIXTURE_TEST_CASE(two_chains_are_compared_name_by_name, two_backups) {
  files_scene other;
  other.add(some_full());
  const auto before = other.open();
  BOOST_REQUIRE_MESSAGE(before.has_value(), error_text(before));
  const tree_side from{&(*before)->catalogue(), 1};
  const tree_side to{&backup->catalogue(), 2};
  BOOST_TEST(told(*difference_of(from, to, "", never)) ==
             "changed etc/fstab content attributes; removed home/a b\n; added home/c; "
             "added home/new; removed link; ");
  BOOST_TEST(told(*difference_of(from, tree_side{&backup->catalogue(), 1}, "", never)) == "");
}

BOOST_AUTO_TEST_SUITE_END()
