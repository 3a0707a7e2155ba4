// ls, find, history, diff and index build, as they print.
#include "app/files/path_completion.hh"
#include "app/store/commands.hh"
#include "tests/app/files/files_scene.hh"

#include <nlohmann/json.hpp>

#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::files_scene;
using bts3::testing::some_full;
using bts3::testing::some_incremental;

namespace {

// Standard output in a file, until its end.
class caught_output {
 public:
  explicit caught_output(std::string path) : _path(std::move(path)) {
    std::fflush(stdout);
    _before = ::dup(STDOUT_FILENO);
    BOOST_REQUIRE(std::freopen(_path.c_str(), "w", stdout) != nullptr);
  }
  ~caught_output() {
    std::fflush(stdout);
    ::dup2(_before, STDOUT_FILENO);
    ::close(_before);
  }
  caught_output(const caught_output&) = delete;
  caught_output& operator=(const caught_output&) = delete;

 private:
  std::string _path;
  int _before = -1;
};

struct scene : files_scene {
  template <typename Command>
  std::string printed(Command command) {
    ::setenv("TZ", "UTC", 1);
    static_cast<files_selection&>(command) = wanted;
    const std::string file = directory / "printed";
    {
      const caught_output caught(file);
      const auto status = loop->run(run_command(with, std::move(command)));
      said = status ? "" : status.error().text();
    }
    return testing::content_of(file);
  }
  std::string said;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(files_commands_suite, scene)

BOOST_AUTO_TEST_CASE(ls_shows_a_directory_or_a_file) {
  add(some_full());
  ls_command ls;
  BOOST_TEST(printed(ls) == "etc\nhome\nlink\n");
  ls.path = "/home/";
  BOOST_TEST(printed(ls) == "a b\\x0a\n");
  ls.null = true;
  BOOST_TEST(printed(ls) == std::string("a b\n\0", 5));
  ls = {};
  ls.details = true;
  ls.path = "etc";
  BOOST_TEST(printed(ls) == "-rw-r--r-- 1 0 0 10 2023-11-14 22:13 fstab\n");
  ls.path = "etc/fstab";
  BOOST_TEST(printed(ls) == "-rw-r--r-- 1 0 0 10 2023-11-14 22:13 etc/fstab\n");
  ls.directory = true;
  ls.path = "etc";
  BOOST_TEST(printed(ls).ends_with(" etc\n"));
  ls.path = "ect";
  BOOST_TEST(printed(ls) == "");
  BOOST_TEST(said.starts_with("there is no \"ect\" in the backup of 2026-11-21T02:00:00Z"), said);
  ls = {};
  ls.json = true;
  ls.path = "etc";
  const auto document = nlohmann::json::parse(printed(ls));
  BOOST_TEST(document["directory"] == "etc");
  BOOST_TEST(document["entries"][0]["path"] == "etc/fstab");
  BOOST_TEST(document["created_at"] == "2026-11-21T02:00:00Z");
}

BOOST_AUTO_TEST_CASE(find_shows_what_is_as_asked_for) {
  add(some_full());
  find_command find;
  BOOST_TEST(printed(find) == "etc\netc/fstab\nhome\nhome/a b\\x0a\nlink\n");
  find.name = "*b*";
  BOOST_TEST(printed(find) == "etc/fstab\nhome/a b\\x0a\n");
  find.path = "etc";
  BOOST_TEST(printed(find) == "etc/fstab\n");
  find = {};
  find.size_min = 10;
  BOOST_TEST(printed(find) == "etc/fstab\n");
  find = {};
  find.type = 'l';
  BOOST_TEST(printed(find) == "link\n");
  find = {};
  find.newer = "2023-01-01T00:00:00Z";
  BOOST_TEST(printed(find) == "etc/fstab\n");
  find.older = "2023-11-14T22:13:19Z";
  BOOST_TEST(printed(find) == "");
  find = {};
  find.path = "link";
  BOOST_TEST(printed(find) == "");
  BOOST_TEST(said.starts_with("\"link\" is no directory"), said);
}

BOOST_AUTO_TEST_CASE(history_and_diff_tell_what_a_backup_changed) {
  add(some_full());
  add(some_incremental());
  history_command history;
  history.path = "home/c";
  BOOST_TEST(printed(history) ==
             "BACKUP             CHANGE                     SIZE  MODIFIED          MANIFEST\n"
             "2026-11-21 03:00Z  renamed from home/a b\\x0a   0 B  1970-01-01 00:00  " +
                 keys[1] + "\n");
  diff_command diff;
  diff.keys = keys;
  BOOST_TEST(printed(diff) ==
             "changed  etc/fstab (content, attributes)\n"
             "renamed  home/a b\\x0a -> home/c\n"
             "added    home/new\n"
             "removed  link\n");
  diff.keys = {keys[1], keys[0]};
  diff.path = "home/new";
  BOOST_TEST(printed(diff) == "removed  home/new\n");
  diff = {};
  diff.times = {"2026-11-21T02:30:00Z"};
  diff.null = true;
  BOOST_TEST(printed(diff) == std::string("etc/fstab\0home/c\0home/new\0link\0", 31));
  diff = {};
  BOOST_TEST(printed(diff) == "");
  BOOST_TEST(said.starts_with("diff compares two backups, and 0 are named"), said);
}

// For whoever reads them, and for the table of names.
BOOST_AUTO_TEST_CASE(documents_are_as_they_were) {
  add(some_full());
  add(some_incremental());
  ls_command ls;
  ls.json = true;
  ls.path = "home";
  testing::check_golden("ls.json", printed(ls));
  find_command find;
  find.json = true;
  testing::check_golden("find.json", printed(find));
  history_command history;
  history.json = true;
  history.path = "home/c";
  testing::check_golden("history.json", printed(history));
  diff_command diff;
  diff.json = true;
  diff.keys = keys;
  testing::check_golden("diff.json", printed(diff));
}

BOOST_AUTO_TEST_CASE(index_build_tells_first_and_then_makes) {
  add(some_full(), index::none);
  index_build_command build;
  build.dry_run = true;
  const std::string plan = printed(build);
  BOOST_TEST(plan.starts_with("1 backup without an index: "), plan);
  BOOST_TEST(plan.find(keys[0]) != std::string::npos);
  BOOST_TEST(reads_of("chunk-") == 0);
  build.json = true;
  testing::check_golden("index_plan.json", printed(build));
  build.dry_run = false;
  testing::check_golden("index.json", printed(build));
  build.json = false;
  BOOST_TEST(printed(build) ==
             "0 indexes made from chunks, 0 read; the files of 1 backup can be looked at\n");
  BOOST_TEST(said == "");
  build.dry_run = true;
  BOOST_TEST(printed(build) == "every backup of the chain has an index; nothing is to be read\n");
}

BOOST_AUTO_TEST_CASE(paths_are_completed_from_what_is_here_without_a_request) {
  add(some_full());
  add(some_incremental());
  const std::string file = directory / "config.toml";
  testing::write_file(file,
                      "[subvolumes]\npaths = [\"/srv/data\"]\n[snapshots]\nbase_dir = \"/s\"\n"
                      "[s3]\nbucket = \"b\"\nregion = \"r\"\nprefix = \"p\"\n");
  common_options common;
  common.config_path = file;
  const engine::environment_lookup here = [this](std::string_view name) {
    return name == "HOME" ? std::optional(directory / "home") : with.environment(name);
  };
  const auto settings_there = load_config(file, here);
  BOOST_TEST(settings_there.has_value(), testing::error_text(settings_there));
  complete_command complete;
  complete.what = complete_command::kind::paths;
  complete.begin = "home/";
  BOOST_TEST(completed_paths(complete, common, here) == "words\n");
  BOOST_TEST(printed(ls_command()) == "etc\nhome\n");
  BOOST_TEST(completed_paths(complete, common, here) == "words\nhome/c\nhome/new\n");
  complete.begin = "h";
  BOOST_TEST(completed_paths(complete, common, here) == "words\nhome/\n");
  complete.at = "2026-11-21T02:30:00Z";
  complete.begin = "";
  BOOST_TEST(completed_paths(complete, common, here) == "words\netc/\nhome/\nlink\n");
}

BOOST_AUTO_TEST_SUITE_END()
