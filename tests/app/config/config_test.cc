#include "app/text/human_units.hh"

#include "tests/app/config/config_support.hh"
#include "tests/support/as_nobody.hh"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

using namespace bts3::app;
using namespace bts3::app::testing;
using bts3::testing::error_text;
namespace engine = bts3::engine;
namespace s3 = bts3::s3;

namespace {

std::string problem_of_file(const std::string& path) {
  const auto settings = load_config(path, home);
  if (settings) {
    return "accepted";
  }
  BOOST_TEST((settings.error().why == bts3::engine::reason::configuration));
  return settings.error().text();
}

std::string problem_of_paths(const std::string& list) {
  return problem(with("subvolumes.paths", list));
}

std::string problem_of_prefix(const std::string& prefix) {
  return problem(with("s3.prefix", "\"" + prefix + "\""));
}

class scratch_file {
 public:
  scratch_file() {
    std::string name = (std::filesystem::temp_directory_path() / "bts3-config-XXXXXX").string();
    const int fd = ::mkstemp(name.data());
    BOOST_REQUIRE(fd >= 0);
    ::close(fd);
    path = name;
  }
  ~scratch_file() { std::filesystem::remove(path); }
  scratch_file(const scratch_file&) = delete;
  scratch_file& operator=(const scratch_file&) = delete;
  void write(const std::string& text) const { std::ofstream(path, std::ios::binary) << text; }
  std::string path;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(config_suite)

BOOST_AUTO_TEST_CASE(an_unknown_key_names_the_nearest_known_one_and_its_line) {
  const std::string text = problem(minimal + "concurency = 3\n");
  BOOST_TEST(has(text, "s3.concurency (line 7)"));
  BOOST_TEST(has(text, "s3.concurrency?"));
  BOOST_TEST(has(problem(minimal + "[schedule]\nfull_each_days = 3\n"), "full_every_days?"));
  BOOST_TEST(has(problem("[subvolumes]\npath = [\"/a\"]\n"), "did you mean subvolumes.paths?"));
  // A value may not forge a line of the log.
  BOOST_TEST(has(problem(minimal + "\"a\\nb\" = 3\n"), "s3.a\\x0ab (line 7)"));
}

BOOST_AUTO_TEST_CASE(an_unknown_table_names_the_nearest_known_one) {
  BOOST_TEST(has(problem(minimal + "[snapshot]\n"), "[snapshot] (line 7)"));
  BOOST_TEST(has(problem(minimal + "[snapshot]\n"), "[snapshots]?"));
  BOOST_TEST(has(problem(minimal + "[S3]\nregion = \"r\"\n"), "[s3]?"));
}

BOOST_AUTO_TEST_CASE(a_table_must_be_one) {
  BOOST_TEST(has(problem("global = 3\n" + minimal), "global (line 1) must be a table: write"));
  BOOST_TEST(
      has(problem(minimal + "[[hooks]]\nbefore = \"x\"\n"), "hooks (line 7) must be a table"));
}

BOOST_AUTO_TEST_CASE(several_problems_are_told_at_once_under_the_name_of_the_file) {
  const std::string text = problem("[s3]\nbucket = \"b\"\npart_size_bytes = \"1MiB\"\n");
  BOOST_TEST(text.starts_with("file: "));
  BOOST_TEST(has(text, "s3.part_size_bytes"));
  BOOST_TEST(has(text, "s3.region is missing; set it in [s3]"));
  BOOST_TEST(has(text, "s3.prefix is missing; set it in [s3]"));
  BOOST_TEST(has(text, "subvolumes.paths is missing; write [subvolumes]"));
  BOOST_TEST(!has(text, "s3.bucket"));
}

BOOST_AUTO_TEST_CASE(the_keys_without_a_default_must_be_given) {
  for (const char* key : {"s3.bucket", "s3.region", "s3.prefix"}) {
    const std::string text = problem(with(key, ""));
    BOOST_TEST(text.starts_with("file: " + std::string(key) + " is missing; set it in [s3]"), text);
    BOOST_TEST(!has(text, " | "), text);
  }
  BOOST_TEST(has(problem("[s3]\nbucket = \"\"\nregion = \"\"\nprefix = \"\"\n"),
                 "s3.bucket is empty; set it in [s3] | s3.region is empty"));
}

BOOST_AUTO_TEST_CASE(what_is_no_toml_is_refused_with_its_line) {
  BOOST_TEST(has(problem("not toml"), "file, line 1: "));
  BOOST_TEST(has(problem("not toml"), "config.example.toml"));
  BOOST_TEST(has(problem(minimal + "prefix = \"twice\"\n"), "line 7"));
  BOOST_TEST(has(problem(minimal + "endpoint_url = \"\xff\"\n"), "line 7"));
}

BOOST_AUTO_TEST_CASE(keys_that_contradict_each_other_are_named) {
  const std::pair<std::string, std::string> cases[] = {
      {"part_size_bytes = 10000001", "s3.part_size_bytes = 10000001 must be a multiple of 64"},
      {"chunk_size_bytes = \"5MiB\"\npart_size_bytes = \"128MiB\"",
       "at least s3.part_size_bytes = 134217728"},
      {"storage_class_manifest = \"DEEP_ARCHIVE\"", "use STANDARD"},
      {"sse_kms_key_id = \"k\"", "s3.sse_kms_key_id needs s3.sse = \"aws:kms\""},
      {"part_size_bytes = \"128MiB\"\nspool_enabled = true\n[global]\nspool_size_bytes = \"64MiB\"",
       "global.spool_size_bytes = 67108864 must be at least s3.part_size_bytes"},
  };
  for (const auto& [line, expected] : cases) {
    const std::string text = problem(minimal + line + "\n");
    BOOST_TEST(has(text, expected), line << ": " << text);
  }
  const std::string expedited = "[thaw]\ntier = \"Expedited\"\n";
  BOOST_TEST(has(problem(minimal + expedited), "use Standard or Bulk"));
  BOOST_TEST(problem(minimal + "storage_class_chunks = \"GLACIER\"\n" + expedited) == "accepted");
  const config settings = parsed(minimal + "sse = \"aws:kms\"\nsse_kms_key_id = \"k\"\n");
  BOOST_TEST(settings.s3.sse_kms_key_id == "k");
}

BOOST_AUTO_TEST_CASE(keys_are_taken_by_their_former_names_too) {
  const config former = parsed(minimal +
                               "[restore]\nwait_for_restore = false\n"
                               "restore_timeout_seconds = \"6h\"\nrestore_tier = \"Bulk\"\n"
                               "thaw_days = 9\n");
  BOOST_TEST(!former.thaw.wait);
  BOOST_TEST(former.thaw.timeout_seconds.count() == 21'600);
  BOOST_TEST((former.thaw.tier == s3::retrieval_tier::bulk));
  BOOST_TEST((former.thaw.days == 9U));
  // A problem is told with the name that is written.
  const std::string wrong =
      problem(minimal + "[restore]\nrestore_tier = \"Fast\"\nthaw_days = 1.5\n");
  BOOST_TEST(has(wrong, "restore.restore_tier = \"Fast\" must be one of"), wrong);
  BOOST_TEST(has(wrong, "restore.thaw_days (line "), wrong);
  // Both names in one place contradict each other; the environment beats the file by either.
  for (const auto& [name, key, value] :
       {std::tuple("wait_for_restore", "wait", "true"),
        std::tuple("restore_timeout_seconds", "timeout_seconds", "5"),
        std::tuple("restore_tier", "tier", "\"Bulk\""), std::tuple("thaw_days", "days", "3")}) {
    const std::string both = problem(minimal + "[restore]\n" + name + " = " + value + "\n[thaw]\n" +
                                     key + " = " + value + "\n");
    BOOST_TEST(has(both, "restore." + std::string(name) + " (line "), both);
    BOOST_TEST(has(both, "is the former name of thaw." + std::string(key)), both);
  }
  const std::string in_file = minimal + "[restore]\nrestore_tier = \"Bulk\"\n";
  const std::string renamed = minimal + "[thaw]\ntier = \"Bulk\"\n";
  for (const std::string& text : {in_file, renamed}) {
    for (const char* variable : {"BTRFS_TO_S3_THAW_TIER", "BTRFS_TO_S3_RESTORE_RESTORE_TIER"}) {
      const auto set = variables({{"HOME", "/h"}, {variable, "Standard"}});
      BOOST_TEST((parsed(text, set).thaw.tier == s3::retrieval_tier::standard), variable);
      BOOST_TEST(unknown_variables({variable}).empty());
    }
  }
  const auto both = variables(
      {{"HOME", "/h"}, {"BTRFS_TO_S3_THAW_DAYS", "2"}, {"BTRFS_TO_S3_RESTORE_THAW_DAYS", "3"}});
  BOOST_TEST(has(problem(minimal, both),
                 "BTRFS_TO_S3_RESTORE_THAW_DAYS is the former name of BTRFS_TO_S3_THAW_DAYS"));
  // What is no name any more, and never was one, leads to the present one.
  const std::string unknown = problem(minimal + "[restore]\nrestore_teir = \"Bulk\"\n");
  BOOST_TEST(has(unknown, "did you mean thaw.tier?"), unknown);
}

BOOST_AUTO_TEST_CASE(a_part_that_nobody_asked_for_fits_into_chunk_and_spool) {
  constexpr std::uint64_t mebibyte = 1 << 20;
  BOOST_TEST(parsed(minimal).s3.part_size_bytes == 128 * mebibyte);
  BOOST_TEST(parsed(minimal + "chunk_size_bytes = \"64MiB\"\n").s3.part_size_bytes ==
             64 * mebibyte);
  BOOST_TEST(parsed(minimal + "chunk_size_bytes = 10485761\n").s3.part_size_bytes == 10485760U);
  const std::string spool = "[global]\nspool_size_bytes = \"6MiB\"\n";
  BOOST_TEST(parsed(minimal + spool).s3.part_size_bytes == 128 * mebibyte);
  BOOST_TEST(parsed(minimal + "spool_enabled = true\n" + spool).s3.part_size_bytes == 6 * mebibyte);
  BOOST_TEST(parsed(minimal + "spool_enabled = true\nchunk_size_bytes = \"5MiB\"\n" + spool)
                 .s3.part_size_bytes == 5 * mebibyte);
  // The environment sets either as the file does, also where there is no file.
  const bts3::engine::environment_lookup small =
      variables({{"HOME", "/h"}, {"BTRFS_TO_S3_S3_CHUNK_SIZE_BYTES", "64MiB"}});
  BOOST_TEST(parsed(minimal, small).s3.part_size_bytes == 64 * mebibyte);
  const auto without_file = with_environment(config(), {}, small);
  BOOST_REQUIRE(without_file.has_value());
  BOOST_TEST(without_file->s3.part_size_bytes == 64 * mebibyte);
}

BOOST_AUTO_TEST_CASE(tables_of_the_earlier_tool_are_told_as_such) {
  const std::string said = problem(minimal + "[filesystem]\nbackend = \"btrfs\"\n");
  BOOST_TEST(has(said, "[filesystem] (line 7), of the earlier tool, is not used any more"), said);
  BOOST_TEST(has(said, "remove the table"), said);
  BOOST_TEST(!has(said, "did you mean"), said);
  BOOST_TEST(has(problem(minimal + "[zfs]\npool_name = \"tank\"\n"), "ZFS is not backed up"));
}

BOOST_AUTO_TEST_CASE(an_interval_of_less_than_a_day_stands_alone) {
  BOOST_TEST((parsed(with("schedule.incremental_every", "\"6h\"")).schedule.incremental_every ==
              std::chrono::hours(6)));
  BOOST_TEST((parsed(with("schedule.incremental_every", "\"15m\"")).schedule.incremental_every ==
              std::chrono::minutes(15)));
  for (const char* wrong : {"\"14m\"", "\"24h\"", "\"2d\"", "\"90s\"", "3601"}) {
    const std::string said = problem(with("schedule.incremental_every", wrong));
    BOOST_TEST(has(said, "schedule.incremental_every must be whole minutes"), wrong << said);
  }
  const std::string both =
      problem(minimal + "[schedule]\nincremental_every = \"6h\"\nincremental_every_days = 1\n");
  BOOST_TEST(has(both, "contradict each other; remove one of them"), both);
}

BOOST_AUTO_TEST_CASE(the_level_of_the_log_is_taken_in_any_case) {
  BOOST_TEST((parsed(with("global.log_level", "\"WARNING\"")).global.log_level ==
              engine::log_level::warning));
  BOOST_TEST(
      (parsed(with("global.log_level", "\"Info\"")).global.log_level == engine::log_level::info));
  BOOST_TEST(has(problem(with("global.log_level", "\"LOUD\"")), "must be one of debug"));
  BOOST_TEST(has(problem(with("s3.checksum", "\"CRC32\"")), "must be one of"));
}

BOOST_AUTO_TEST_CASE(another_stores_classes_are_taken_where_one_is_named) {
  BOOST_TEST(has(problem(minimal + "storage_class_chunks = \"ONEZONE_COLD\"\n"),
                 "must be one of STANDARD, "));
  for (const char* one : {"ONEZONE_COLD", "none", "Cool", "x:y"}) {
    const std::string line = "storage_class_chunks = \"" + std::string(one) + "\"\n";
    BOOST_TEST(problem(minimal + line + "endpoint_url = \"https://s3.example.org\"\n") ==
               "accepted");
  }
  const std::string ill = "storage_class_manifest = \"A B\"\n";
  BOOST_TEST(has(problem(minimal + ill + "endpoint_url = \"https://s3.example.org\"\n"),
                 "s3.storage_class_manifest = \"A B\" must be one of"));
}

BOOST_AUTO_TEST_CASE(the_parts_that_a_store_takes_limit_a_chunk) {
  const config settings = parsed(minimal + "parts_max = 1000\n");
  BOOST_TEST(settings.chunk_limit_bytes() == 1000U * (std::uint64_t{128} << 20));
  const config one = parsed(minimal + "parts_max = 1\n");
  BOOST_TEST(one.chunk_limit_bytes() == std::uint64_t{128} << 20);
}

BOOST_AUTO_TEST_CASE(tags_are_what_s3_takes) {
  for (const char* wrong : {"=v", "a=1, a=2", "a=1,,b=2", "a=&", "a=1 2 3 4 5?"}) {
    const std::string text = problem(minimal + "tags = \"" + std::string(wrong) + "\"\n");
    BOOST_TEST(has(text, "is no tag"), wrong << ": " << text);
  }
  BOOST_TEST(has(problem(minimal + "tags = \"a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1\"\n"),
                 "s3.tags has 11 tags; S3 takes 10"));
}

BOOST_AUTO_TEST_CASE(the_time_of_day_has_two_digits_and_two) {
  BOOST_TEST(
      (parsed(with("schedule.run_at", "\"2:00\"")).schedule.run_at == std::chrono::minutes(120)));
  for (const char* wrong :
       {"24:00", "12:60", "2:60", ":200", "2:0", "02.00", "02:0a", "a2:00", "02:000", ""}) {
    const std::string text = problem(with("schedule.run_at", "\"" + std::string(wrong) + "\""));
    BOOST_TEST(has(text, "must be a time like \"02:00\""), wrong << ": " << text);
  }
  BOOST_TEST(
      (parsed(with("schedule.run_at", "\"00:00\"")).schedule.run_at == std::chrono::minutes(0)));
}

BOOST_AUTO_TEST_CASE(a_memory_limit_lowers_what_is_in_flight_or_is_refused_with_the_sum) {
  constexpr std::uint64_t mebibyte = 1 << 20;
  const auto limited = [](const std::string& limit) {
    return minimal + "[global]\nmemory_limit_bytes = \"" + limit + "\"\n";
  };
  BOOST_TEST(parsed(minimal).parts_in_flight(128 * mebibyte) == 4U);
  BOOST_TEST(parsed(limited("704MiB")).parts_in_flight(128 * mebibyte) == 4U);
  BOOST_TEST(parsed(limited("703MiB")).parts_in_flight(128 * mebibyte) == 3U);
  BOOST_TEST(parsed(limited("320MiB")).parts_in_flight(128 * mebibyte) == 1U);
  BOOST_TEST(parsed(limited("320MiB")).parts_in_flight(16 * mebibyte) == 4U);
  BOOST_TEST(parsed(limited("320MiB")).parts_in_flight(256 * mebibyte) == 0U);
  const std::string text = problem(limited("319MiB"));
  BOOST_TEST(has(text, "global.memory_limit_bytes = 334495744 is too small"), text);
  BOOST_TEST(has(text, "make 320.0 MiB"), text);
  const std::string spooled = minimal + "spool_enabled = true\n[global]\nmemory_limit_bytes = ";
  BOOST_TEST(has(problem(spooled + "\"159MiB\"\n"), "160.0 MiB with the spool"));
  BOOST_TEST(parsed(spooled + "\"160MiB\"\n").s3.spool_enabled);
}

BOOST_AUTO_TEST_CASE(control_characters_are_refused_wherever_text_is_free) {
  const std::string text =
      problem(minimal + "sse = \"aws:kms\"\nsse_kms_key_id = \"k\\r\\nx-amz-acl: public-read\"\n");
  BOOST_TEST(has(text, "s3.sse_kms_key_id = \"k\\x0d\\x0ax-amz-acl: public-read\" holds control"));
  BOOST_TEST(has(text, "remove them"));
  for (const char* key : {"s3.bucket", "s3.region", "s3.prefix", "s3.endpoint_url"}) {
    BOOST_TEST(has(problem(with(key, "\"a\\u007fb\"")), std::string(key) + " = \"a\\x7fb\" holds"));
  }
  BOOST_TEST(
      has(problem(with("global.lock_path", "\"/a\\u0000b\"")), "\"/a\\x00b\" holds control"));
}

BOOST_AUTO_TEST_CASE(a_prefix_has_plain_segments) {
  for (const char* wrong : {"../x", "a/..", "./a", "a/./b", "a//b", "s3://bucket/a", "/a/../b/"}) {
    const std::string text = problem_of_prefix(wrong);
    BOOST_TEST(has(text, "s3.prefix = \"" + std::string(wrong) + "\" has the segment"), text);
    BOOST_TEST(has(text, "like \"hosts/alpha\""), text);
  }
  for (const char* right : {"", "/", "a", "/a/b/", "a.b/..c/...", "a b/\u00e4"}) {
    BOOST_TEST(problem_of_prefix(right) == "accepted", right);
  }
}

// 1024 bytes is S3's limit; /subvol/data/incremental/chunk-20260102T030405Z-01234567-0000000000.bin
// has 71.
BOOST_AUTO_TEST_CASE(a_prefix_leaves_room_for_the_rest_of_the_key) {
  BOOST_TEST(problem_of_prefix(std::string(953, 'p')) == "accepted");
  BOOST_TEST(problem_of_prefix("/" + std::string(953, 'p') + "//") == "accepted");
  const std::string text = problem_of_prefix(std::string(954, 'p'));
  BOOST_TEST(has(text, "is too long: with subvolume \"data\" keys have more than 1024 bytes"));
}

BOOST_AUTO_TEST_CASE(home_is_put_in_for_the_tilde_of_paths) {
  const std::string text = with("restore.target_base_dir", "\"~/r\"");
  BOOST_TEST(parsed(text, variables({{"HOME", "/h/"}})).restore.target_base_dir == "/h/r");
  BOOST_TEST(parsed(text, variables({{"HOME", "/"}})).restore.target_base_dir == "/r");
  BOOST_TEST(parsed(with("s3.prefix", "\"~/r\"")).s3.prefix == "~/r");
  for (const bts3::engine::environment_lookup& none :
       {variables({}), variables({{"HOME", "relative"}})}) {
    const std::string said = problem(text, none);
    BOOST_TEST(has(said, "restore.target_base_dir = \"~/r\" cannot be expanded: HOME is no"), said);
    BOOST_TEST(has(said, "global.state_path = \"~/.local"), said);
    BOOST_TEST(parse_config(with("global.state_path", "\"/s\""), "file", none).has_value());
  }
}

BOOST_AUTO_TEST_CASE(other_variables_that_begin_alike_are_no_overrides) {
  const config settings = parsed(minimal, variables({{"HOME", "/h"},
                                                     {"BTRFS_TO_S3_HARNESS_RUN_DIR", "/run"},
                                                     {"BTRFS_TO_S3_CONCURRENCY", "many"},
                                                     {"btrfs_to_s3_s3_concurrency", "many"}}));
  BOOST_TEST(settings.s3.concurrency == 4U);
}

BOOST_AUTO_TEST_CASE(a_variable_that_is_none_is_told_with_the_nearest) {
  const auto found = unknown_variables({"HOME", "BTRFS_TO_S3_S3_REGION", "BTRFS_TO_S3_S3_REGON",
                                        "BTRFS_TO_S3_HARNESS_RUN_DIR",
                                        "BTRFS_TO_S3_SUBVOLUMES_PATHS", "BTRFS_TO_S3_HOOK_STATUS",
                                        "BTRFS_TO_S3_BACKUP_TYPE", "BTRFS_TO_S3_CONCURRENCY"});
  BOOST_REQUIRE(found.size() == 2U);
  BOOST_TEST(found[0].name == "BTRFS_TO_S3_S3_REGON");
  BOOST_TEST(found[0].nearest == "BTRFS_TO_S3_S3_REGION");
  BOOST_TEST(found[1].name == "BTRFS_TO_S3_CONCURRENCY");
}

BOOST_AUTO_TEST_CASE(a_chunk_never_has_more_than_ten_thousand_parts) {
  config settings;
  settings.s3.part_size_bytes = 5 << 20;
  BOOST_TEST(settings.chunk_limit_bytes() == std::uint64_t{10'000} * (5 << 20));
  settings.s3.chunk_size_bytes = std::uint64_t{1} << 30;
  BOOST_TEST(settings.chunk_limit_bytes() == std::uint64_t{1} << 30);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(config_subvolumes_suite)

BOOST_AUTO_TEST_CASE(subvolumes_have_distinct_names) {
  std::string paths = R"(["/srv/data/", {name = "root", path = "/"}, "/mnt/data"])";
  const std::string text = problem_of_paths(paths);
  BOOST_TEST(has(text, "/srv/data and /mnt/data are both called \"data\"; give one another name"));
  paths.replace(paths.find("\"/mnt/data\""), 11, R"({name = "more", path = "/mnt/data"})");
  const config settings = parsed(with("subvolumes.paths", paths));
  BOOST_TEST(settings.subvolumes.at(0).path == "/srv/data");
  BOOST_TEST(settings.subvolumes.at(1).name == "root");
  BOOST_TEST(settings.subvolumes.at(2).name == "more");
  BOOST_TEST(parsed(with("subvolumes.paths", "[\"//\"]")).subvolumes.at(0).name == "root");
}

BOOST_AUTO_TEST_CASE(paths_are_a_list_of_absolute_ones) {
  BOOST_TEST(has(problem_of_paths(""), "subvolumes.paths is missing"));
  for (const char* list : {"\"/srv/data\"", "[]", "{path = \"/srv/data\"}"}) {
    const std::string text = problem_of_paths(list);
    BOOST_TEST(has(text, "subvolumes.paths (line "), text);
    BOOST_TEST(has(text, "must be a list with at least one entry"), text);
  }
  for (const char* list : {"[\"srv/data\"]", "[\"\"]", "[7]", "[{name = \"x\"}]", "[[\"/a\"]]",
                           "[\"~user/data\"]", "[\"/a\\nb/c\"]"}) {
    const std::string text = problem_of_paths(list);
    BOOST_TEST(has(text, "subvolumes.paths (line "), text);
    BOOST_TEST(has(text, "is no absolute path; write \"/srv/data\""), text);
  }
}

BOOST_AUTO_TEST_CASE(home_is_put_in_for_the_tilde_of_a_subvolume) {
  const std::string text = with("subvolumes.paths", R"(["~/data", {name = "me", path = "~"}])");
  const config settings = parsed(text, variables({{"HOME", "/home/me/"}}));
  BOOST_REQUIRE(settings.subvolumes.size() == 2U);
  BOOST_TEST(settings.subvolumes[0].path == "/home/me/data");
  BOOST_TEST(settings.subvolumes[0].name == "data");
  BOOST_TEST(settings.subvolumes[1].path == "/home/me");
  const std::string said = problem(with("subvolumes.paths", R"(["~/data"])"), variables({}));
  BOOST_TEST(has(said, "\"~/data\" cannot be expanded: HOME is no absolute path"), said);
}

BOOST_AUTO_TEST_CASE(an_entry_may_name_nested_subvolumes_to_be_silent_about) {
  const auto entry = [](const std::string& value) {
    return parsed(with("subvolumes.paths", "[{path = \"/a\", ignore_nested = " + value + "}]"))
        .subvolumes.front();
  };
  BOOST_TEST(entry("true").ignore_all_nested);
  BOOST_TEST(!entry("false").ignore_all_nested);
  BOOST_TEST(entry("[\"var/lib/docker/\", \"vm\"]").ignore_nested ==
                 (std::vector<std::string>{"var/lib/docker", "vm"}),
             boost::test_tools::per_element());
  for (const char* bad : {"\"docker\"", "[\"/docker\"]", "[1]", "[\"\"]", "7"}) {
    const std::string text =
        problem_of_paths(std::string("[{path = \"/a\", ignore_nested = ") + bad + "}]");
    BOOST_TEST(has(text, "ignore_nested must be true, or a list of directories"), text);
  }
}

BOOST_AUTO_TEST_CASE(an_entry_has_path_and_name_as_strings_and_nothing_else) {
  BOOST_TEST(has(problem_of_paths(R"([{path = "/a", nam = "x"}])"),
                 "unknown key nam; there are name, path and "
                 "ignore_nested"));
  BOOST_TEST(has(problem_of_paths(R"([{path = "/a", name = 7}])"), "name must be a string"));
  BOOST_TEST(has(problem_of_paths(R"([{path = 7, name = "x"}])"), "path must be a string"));
}

BOOST_AUTO_TEST_CASE(a_name_can_stand_in_keys_and_file_names) {
  for (const char* wrong : {"", ".", "..", "a/b", "a\\nb", "\\u001b[31m"}) {
    const std::string text =
        problem_of_paths("[{path = \"/a\", name = \"" + std::string(wrong) + "\"}]");
    BOOST_TEST(has(text, "cannot be a name here"), wrong << ": " << text);
    BOOST_TEST(has(text, "{name = ..., path = ...}"), wrong << ": " << text);
  }
  BOOST_TEST(problem_of_paths("[\"/srv/a__b\"]") == "accepted");
  BOOST_TEST(problem_of_paths("[\"/srv/a__20260102T030405Z__full\"]") == "accepted");
  BOOST_TEST(has(problem_of_paths("[\"/srv/a__no-s3\"]"), "as the journals of backup --no-s3 do"));
  BOOST_TEST(has(problem_of_paths("[\"/srv/..\"]"), "\"..\" cannot be a name here"));
  // 255 bytes of a file name, less "__20260102T030405Z__full".
  BOOST_TEST(problem_of_paths("[\"/srv/" + std::string(231, 'n') + "\"]") == "accepted");
  BOOST_TEST(
      has(problem_of_paths("[\"/srv/" + std::string(232, 'n') + "\"]"), "more than 231 bytes"));
}

BOOST_AUTO_TEST_CASE(the_environment_gives_the_list_as_the_file_does) {
  const auto environment = [](const std::string& list) {
    return variables({{"HOME", "/h"}, {"BTRFS_TO_S3_SUBVOLUMES_PATHS", list}});
  };
  const config settings = parsed(minimal, environment(R"(["/a", {name = "b", path = "/"}])"));
  BOOST_REQUIRE(settings.subvolumes.size() == 2u);
  BOOST_TEST(settings.subvolumes[0].path == "/a");
  BOOST_TEST(settings.subvolumes[1].name == "b");
  for (const char* wrong : {"/a", "", "[\"/a\"", "[]", "[\"a\"]"}) {
    const std::string text = problem(minimal, environment(wrong));
    BOOST_TEST(has(text, "BTRFS_TO_S3_SUBVOLUMES_PATHS"), wrong << ": " << text);
    BOOST_TEST(has(text, "\"/srv/data\""), wrong << ": " << text);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(config_file_suite)

BOOST_AUTO_TEST_CASE(a_file_is_read_and_named_in_what_is_wrong_with_it) {
  const scratch_file file;
  file.write(minimal);
  BOOST_TEST(problem_of_file(file.path) == "accepted");
  file.write("\xef\xbb\xbf" + minimal);  // as some editors begin it
  BOOST_TEST(problem_of_file(file.path) == "accepted");
  file.write("");
  BOOST_TEST(problem_of_file(file.path).starts_with(file.path + ": "));
  file.write("nonsense");
  BOOST_TEST(problem_of_file(file.path).starts_with(file.path + ", line 1: "));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_read_is_told_apart) {
  const scratch_file file;
  BOOST_TEST(
      has(problem_of_file(file.path + ".missing"), ".missing does not exist; name one with"));
  BOOST_TEST(has(problem_of_file("/proc"), "/proc is a directory; name one with --config"));
  BOOST_TEST(problem_of_file("") == "--config is empty; name a file");
  BOOST_TEST(problem_of_file("c.toml") ==
             "--config c.toml cannot be made absolute: the current directory is gone; name it with "
             "all its directories");
  // A file of the kernel's whose first page cannot be read.
  BOOST_TEST(has(problem_of_file("/proc/self/mem"), "/proc/self/mem: Input/output error; check"));
  file.write(minimal + "#" + std::string(1 << 20, 'x') + "\n");
  BOOST_TEST(has(problem_of_file(file.path), "has more than 1.0 MiB"));
  BOOST_TEST(has(problem_of_file("/dev/zero"), "has more than 1.0 MiB"));
}

BOOST_AUTO_TEST_CASE(a_file_that_this_user_may_not_read_is_named) {
  if (::geteuid() != 0) {
    std::cout << "skipped: becoming another user needs root\n";
    return;
  }
  const scratch_file file;
  file.write(minimal);
  BOOST_REQUIRE(::chmod(file.path.c_str(), 0600) == 0);
  std::string text;
  {
    const bts3::testing::as_nobody nobody;
    text = problem_of_file(file.path);
  }
  BOOST_TEST(has(text, file.path + ": Permission denied; check that this user may read it"), text);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(human_units_suite)

BOOST_AUTO_TEST_CASE(sizes_take_human_forms) {
  const std::pair<const char*, std::uint64_t> cases[] = {
      {"0", 0},
      {"4096", 4096},
      {"7B", 7},
      {"1K", 1024},
      {"1KiB", 1024},
      {"1KB", 1000},
      {"128MiB", 134'217'728},
      {"2 M", 2'097'152},
      {"2  MB", 2'000'000},
      {"1.5 GB", 1'500'000'000},
      {"1G", 1'073'741'824},
      {"0.5GiB", 536'870'912},
      {"1T", 1'099'511'627'776},
      {"1TiB", 1'099'511'627'776},
      {"9TB", 9'000'000'000'000},
      {"8000000TiB", 8'796'093'022'208'000'000},
  };
  for (const auto& [text, bytes] : cases) {
    BOOST_TEST(parse_bytes(text).value_or(1) == bytes, text);
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_size_or_does_not_fit_is_none) {
  for (const char* wrong :
       {"", " ", "MiB", "-1", "-0.5K", "1 furlong", "1e3", "0x10", "1,5GB", "1mib", "1KiB2", "inf",
        "nan", "infinity", "99999999999999999999", "9000000TiB", "9300000000000000000"}) {
    BOOST_TEST(!parse_bytes(wrong).has_value(), wrong);
  }
  BOOST_TEST(!parse_bytes(std::string(400, '9')).has_value());
}

BOOST_AUTO_TEST_CASE(durations_take_human_forms) {
  using namespace std::chrono_literals;
  const std::pair<const char*, std::chrono::milliseconds> cases[] = {
      {"90", 90s},  {"90s", 90s},     {"15 m", 15min}, {"6h", 6h},
      {"7d", 168h}, {"250ms", 250ms}, {"0", 0s},       {"0.5h", 30min}};
  for (const auto& [text, time] : cases) {
    BOOST_TEST((parse_duration(text).value_or(-1ms) == time), text);
  }
  for (const char* wrong :
       {"", "h", "-1", "1 week", "1e3", "6H", "nan", "inf", "99999999999999999999", "20000000d"}) {
    BOOST_TEST(!parse_duration(wrong).has_value(), wrong);
  }
}

BOOST_AUTO_TEST_CASE(sizes_are_shown_in_the_largest_fitting_unit) {
  const std::pair<std::uint64_t, const char*> cases[] = {{0, "0 B"},
                                                         {1023, "1023 B"},
                                                         {1024, "1.0 KiB"},
                                                         {1'610'612'736, "1.5 GiB"},
                                                         {std::uint64_t{1} << 50, "1.0 PiB"},
                                                         {UINT64_MAX, "16384.0 PiB"}};
  for (const auto& [bytes, text] : cases) {
    BOOST_TEST(format_bytes(bytes) == text);
  }
}

BOOST_AUTO_TEST_SUITE_END()
