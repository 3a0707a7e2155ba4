#include "app/cli/cli.hh"
#include "app/config/working_place.hh"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

using namespace bts3::app;

namespace {

std::variant<command_line, early_exit> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "btrfs_to_s3");
  return parse_command_line(static_cast<int>(words.size()), words.data());
}

command_line accepted(std::vector<const char*> words) {
  auto parsed = parse(std::move(words));
  if (const auto* end = std::get_if<early_exit>(&parsed)) {
    BOOST_FAIL(end->text);
  }
  return std::get<command_line>(parsed);
}

constexpr const char* commands[] = {"backup", "plan",  "list",   "status", "restore",
                                    "thaw",   "prune", "verify", "doctor", "init"};

// In a directory that is not there any more, until its end.
class removed_directory {
 public:
  removed_directory() : _before(std::filesystem::current_path()) {
    std::string name = (std::filesystem::temp_directory_path() / "bts3-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    std::filesystem::current_path(name);
    std::filesystem::remove(name);
  }
  ~removed_directory() { std::filesystem::current_path(_before); }
  removed_directory(const removed_directory&) = delete;
  removed_directory& operator=(const removed_directory&) = delete;

 private:
  std::filesystem::path _before;
};

// What a command needs besides.
std::vector<const char*> with_config(const char* command, const char* path) {
  std::vector<const char*> words = {command, "--config", path};
  if (command == std::string("restore") || command == std::string("thaw")) {
    words.push_back("--all");
  }
  return words;
}

early_exit ended(std::vector<const char*> words) {
  auto parsed = parse(std::move(words));
  BOOST_REQUIRE(std::holds_alternative<early_exit>(parsed));
  return std::get<early_exit>(parsed);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cli_suite)

BOOST_AUTO_TEST_CASE(quiet_and_verbose_may_stand_before_or_after_any_command) {
  for (const char* command : commands) {
    for (const char* option : {"-q", "--quiet"}) {
      std::vector<const char*> words = with_config(command, "/c");
      words.push_back(option);
      BOOST_TEST(accepted(words).common.quiet, command << " " << option);
      words.pop_back();
      words.insert(words.begin(), option);
      BOOST_TEST(accepted(words).common.quiet, option << " " << command);
    }
    std::vector<const char*> words = with_config(command, "/c");
    words.push_back("-v");
    BOOST_TEST(accepted(words).common.verbose, command);
    BOOST_TEST(!accepted(words).common.quiet, command);
  }
}

BOOST_AUTO_TEST_CASE(an_option_that_does_not_exist_is_told_with_the_nearest) {
  const early_exit end = ended({"backup", "--subvolum", "data"});
  BOOST_TEST(end.status == 2);
  BOOST_TEST(end.to_stderr);
  BOOST_TEST(end.text.starts_with("backup has no option --subvolum; did you mean --subvolume?\n"),
             end.text);
  BOOST_TEST(ended({"restore", "--all", "--targetbase=/x"})
                 .text.starts_with("restore has no option --targetbase=/x; did you mean "
                                   "--target-base?\n"));
  BOOST_TEST(ended({"status", "--maxage", "3d"}).status == 3);  // as all its errors of usage
  const std::string far = ended({"backup", "--frobnicate"}).text;
  BOOST_TEST(far.starts_with("backup has no option --frobnicate\n"), far);
}

BOOST_AUTO_TEST_CASE(global_options_stand_before_or_after_the_command) {
  for (const auto& line :
       {accepted({"--config", "/c", "backup"}), accepted({"backup", "--config", "/c"})}) {
    BOOST_TEST(line.common.config_path == "/c");
  }
  BOOST_TEST(accepted({"backup"}).common.config_path == "/etc/btrfs_to_s3/config.toml");
  BOOST_TEST(accepted({"backup", "--config", "c"}).common.config_path.front() == '/');
}

BOOST_AUTO_TEST_CASE(a_configuration_that_cannot_be_made_absolute_stays_as_it_was_written) {
  for (const char* command : commands) {
    BOOST_TEST(accepted(with_config(command, "")).common.config_path.empty());
    const removed_directory here;
    BOOST_TEST(accepted(with_config(command, "c.toml")).common.config_path == "c.toml");
    BOOST_TEST(accepted(with_config(command, "/c.toml")).common.config_path == "/c.toml");
  }
  const removed_directory here;
  BOOST_TEST(accepted({"list", "--from", "s3://b/p"}).common.config_path.front() == '/');
}

BOOST_AUTO_TEST_CASE(a_word_that_is_no_command_is_named_with_the_nearest_one) {
  const early_exit end = ended({"bakcup"});
  BOOST_TEST(end.text ==
             "there is no command \"bakcup\"; did you mean backup?\n"
             "Run with --help for more information.\n");
  BOOST_TEST((end.status == 2 && end.to_stderr));
  BOOST_TEST(ended({"--config", "/c", "stauts", "--json"}).text.find("did you mean status?") !=
             std::string::npos);
  BOOST_TEST(ended({"synchronise"}).text.starts_with("there is no command \"synchronise\"\n"));
  BOOST_TEST(ended({}).text.find("A subcommand is required") != std::string::npos);
  BOOST_TEST(ended({"bakcup", "--help"}).status == 0);
}

BOOST_AUTO_TEST_CASE(backup_takes_its_flags_and_several_subvolumes) {
  const auto line =
      accepted({"backup", "--once", "--no-s3", "--adopt", "--subvolume", "a", "--subvolume", "b"});
  BOOST_TEST(std::get<backup_command>(accepted({"backup", "--full"}).command).full);
  const auto& backup = std::get<backup_command>(line.command);
  BOOST_TEST((backup.adopt && backup.once && backup.no_s3 && !backup.full));
  const std::vector<std::string> names = {"a", "b"};
  BOOST_TEST(backup.subvolumes == names, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(init_takes_what_was_said_and_nothing_else) {
  const auto none = std::get<init_command>(accepted({"init"}).command);
  BOOST_TEST(
      (none.subvolumes.empty() && none.bucket.empty() && !none.prefix && !none.endpoint_url));
  BOOST_TEST((!none.yes && !none.force && !none.json && !none.write_credentials));
  const auto all =
      std::get<init_command>(accepted({"init", "--subvolume", "/a", "--subvolume", "b=/c",
                                       "--prefix", "", "--endpoint-url", "", "--output", "x.toml",
                                       "--full-every-days", "30", "--yes", "--force"})
                                 .command);
  const std::vector<std::string> paths = {"/a", "b=/c"};
  BOOST_TEST(all.subvolumes == paths, boost::test_tools::per_element());
  BOOST_TEST((all.prefix == "" && all.endpoint_url == "" && all.full_every_days == 30));
  BOOST_TEST((all.output.starts_with('/') && all.output.ends_with("/x.toml")));
  BOOST_TEST(ended({"init", "--full-every-days", "often"}).status == 2);
}

BOOST_AUTO_TEST_CASE(doctor_writes_unless_it_must_not) {
  const auto usual = std::get<doctor_command>(accepted({"doctor"}).command);
  BOOST_TEST((usual.write && !usual.json && usual.subvolumes.empty()));
  const auto line =
      accepted({"doctor", "--no-write", "--json", "--subvolume", "a", "--subvolume", "b"});
  const auto& doctor = std::get<doctor_command>(line.command);
  BOOST_TEST((!doctor.write && doctor.json));
  const std::vector<std::string> names = {"a", "b"};
  BOOST_TEST(doctor.subvolumes == names, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_dry_run_is_the_plan) {
  for (const auto& line : {accepted({"backup", "--dry-run", "--once", "--subvolume", "a"}),
                           accepted({"plan", "--once", "--subvolume", "a"})}) {
    const auto& plan = std::get<plan_command>(line.command);
    BOOST_TEST((plan.once && !plan.json && !plan.adopt));
    BOOST_TEST(plan.subvolumes.front() == "a");
  }
  BOOST_TEST(std::get<plan_command>(accepted({"plan", "--json", "--adopt"}).command).json);
  BOOST_TEST(std::get<plan_command>(accepted({"plan", "--full"}).command).full);
  BOOST_TEST(std::get<plan_command>(accepted({"backup", "--dry-run", "--full"}).command).full);
  BOOST_TEST(std::get<plan_command>(accepted({"backup", "--json", "--dry-run"}).command).json);
  BOOST_TEST(std::get<backup_command>(accepted({"backup", "--json"}).command).json);
}

BOOST_AUTO_TEST_CASE(restore_takes_a_manifest_or_the_current_one) {
  const auto line =
      accepted({"restore", "--subvolume", "d", "--target", "/t", "--manifest-key", "k"});
  BOOST_TEST(std::get<restore_command>(line.command).manifest_key == "k");
  BOOST_TEST(
      std::get<restore_command>(accepted({"restore", "--subvolume", "d", "--current"}).command)
          .manifest_key.empty());
  BOOST_TEST(ended({"restore", "--subvolume", "d", "--current", "--manifest-key", "k"}).status ==
             2);
  BOOST_TEST(ended({"restore"}).status == 2);
}

BOOST_AUTO_TEST_CASE(restore_needs_no_configuration_with_a_bucket) {
  const auto line = accepted({"restore", "--from", "s3://b/p", "--subvolume", "d", "--target", "/t",
                              "--region", "r", "--endpoint-url", "http://h", "--profile", "x"});
  const auto& restore = std::get<restore_command>(line.command);
  BOOST_TEST(restore.from == "s3://b/p");
  BOOST_TEST(restore.region == "r");
  BOOST_TEST(restore.endpoint_url == "http://h");
  BOOST_TEST(restore.profile == "x");
  BOOST_TEST(ended({"restore", "--subvolume", "d", "--region", "r"}).status == 2);
  BOOST_TEST(ended({"restore", "--from", "s3://b/p", "--subvolume", "d"}).status == 2);
  for (const auto& both : {ended({"--config", "/c", "restore", "--from", "s3://b/p", "--subvolume",
                                  "d", "--target", "/t"}),
                           ended({"restore", "--config", "/c", "--from", "s3://b/p", "--subvolume",
                                  "d", "--target", "/t"})}) {
    BOOST_TEST(both.status == 2);
    BOOST_TEST(both.to_stderr);
    BOOST_TEST(both.text.find("--config or --from") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(restore_names_one_backup_or_all_subvolumes) {
  const auto line = accepted({"restore", "--all", "--target-base", "/t", "--at", "2026-01-02 03:04",
                              "--verify", "sample", "--verify-first", "--discard"});
  const auto& restore = std::get<restore_command>(line.command);
  BOOST_TEST((restore.all && restore.verify_first && restore.discard));
  BOOST_TEST(restore.target_base == "/t");
  BOOST_TEST(restore.at == "2026-01-02 03:04");
  BOOST_TEST((restore.verify == verify_mode::sample));
  BOOST_TEST(ended({"restore", "--all", "--subvolume", "d"}).status == 2);
  BOOST_TEST(ended({"restore", "--all", "--target", "/t"}).status == 2);
  BOOST_TEST(ended({"restore", "--all", "--manifest-key", "k"}).status == 2);
  BOOST_TEST(
      ended({"restore", "--subvolume", "d", "--at", "20260102T030405Z", "--manifest-key", "k"})
          .status == 2);
  BOOST_TEST(ended({"restore", "--subvolume", "d", "--verify", "some"}).status == 2);
  BOOST_TEST(
      std::get<restore_command>(accepted({"restore", "--subvolume", "d", "--json"}).command).json);
  const auto thaw = std::get<thaw_command>(
      accepted({"thaw", "--subvolume", "d", "--json", "--download-rate", "50MB"}).command);
  BOOST_TEST(thaw.json);
  BOOST_TEST(thaw.download_rate.value() == 50'000'000u);
  BOOST_TEST(std::get<restore_command>(
                 accepted({"restore", "--subvolume", "d", "--download-rate", "1"}).command)
                 .download_rate.value() == 1u);
  BOOST_TEST(!thaw.tier);
  BOOST_TEST(
      (std::get<thaw_command>(accepted({"thaw", "--subvolume", "d", "--tier", "Bulk"}).command)
           .tier == bts3::s3::retrieval_tier::bulk));
  BOOST_TEST((std::get<restore_command>(
                  accepted({"restore", "--subvolume", "d", "--tier", "Expedited"}).command)
                  .tier == bts3::s3::retrieval_tier::expedited));
  BOOST_TEST(ended({"restore", "--subvolume", "d", "--tier", "Fast"}).status == 2);
  for (const char* rate : {"0", "fast", "-1", "999999999999999999"}) {
    const auto refused = ended({"restore", "--subvolume", "d", "--download-rate", rate});
    BOOST_TEST(refused.status == 2);
    BOOST_TEST(refused.text.find("is no rate like 50MB") != std::string::npos);
  }
  BOOST_TEST(accepted({"restore", "--subvolume", "d", "--json", "--dry-run"}).common.log_format ==
             "text");
}

BOOST_AUTO_TEST_CASE(restore_waits_for_archived_objects_as_it_is_told) {
  const auto restored = [](std::vector<const char*> words) {
    words.insert(words.begin(), {"restore", "--subvolume", "d"});
    return std::get<restore_command>(accepted(std::move(words)).command);
  };
  BOOST_TEST(!restored({}).wait_thaw.has_value());
  BOOST_TEST(!restored({}).thaw_timeout.has_value());
  // By the present and by the former names, which no help shows.
  const std::string help = ended({"restore", "--help"}).text;
  for (const std::string what : {"thaw", "restore"}) {
    const std::string wait = "--wait-" + what;
    const std::string no_wait = "--no-wait-" + what;
    const std::string timeout = "--" + what + "-timeout";
    BOOST_TEST(restored({wait.c_str()}).wait_thaw.value());
    BOOST_TEST(!restored({no_wait.c_str()}).wait_thaw.value());
    BOOST_TEST(restored({timeout.c_str(), "90"}).thaw_timeout->count() == 90);
    BOOST_TEST(restored({timeout.c_str(), "6h"}).thaw_timeout->count() == 21'600);
    for (const char* wrong : {"soon", "-1", "366d", ""}) {
      const early_exit end = ended({"restore", "--subvolume", "d", timeout.c_str(), wrong});
      BOOST_TEST(end.status == 2);
      BOOST_TEST(end.text.find(timeout) != std::string::npos, end.text);
    }
    for (const std::string& option : {wait, no_wait, timeout}) {
      BOOST_TEST((help.find(option) != std::string::npos) == (what == "thaw"), option);
    }
  }
  const std::vector<std::pair<const char*, const char*>> contradictions = {
      {"--wait-thaw", "--no-wait-thaw"},
      {"--wait-thaw", "--no-wait-restore"},
      {"--wait-restore", "--no-wait-thaw"},
      {"--thaw-timeout=5", "--restore-timeout=6"}};
  for (const auto& [one, other] : contradictions) {
    BOOST_TEST(ended({"restore", "--subvolume", "d", one, other}).status == 2, one << other);
  }
  // A slip of the pen leads to the present name.
  const std::string slip = ended({"restore", "--subvolume", "d", "--wait-restor"}).text;
  BOOST_TEST(slip.find("did you mean --wait-restore") == std::string::npos, slip);
}

// Whoever writes it always, out of habit, is right; whoever asks for the opposite as well is not.
BOOST_AUTO_TEST_CASE(a_dry_run_may_be_asked_for_where_nothing_else_is_done) {
  for (const char* command : {"plan", "list", "status", "prune", "doctor", "backup"}) {
    accepted({command, "--dry-run"});
  }
  accepted({"restore", "--subvolume", "d", "--dry-run"});
  accepted({"thaw", "--subvolume", "d", "--dry-run"});
  BOOST_TEST(!std::get<doctor_command>(accepted({"doctor", "--dry-run"}).command).write);
  BOOST_TEST(ended({"prune", "--dry-run", "--yes"})
                 .text.starts_with("prune takes --dry-run or --yes, not both: --yes deletes\n"));
  BOOST_TEST(ended({"prune", "--yes", "--dry-run"}).status == 2);
  BOOST_TEST(ended({"backup", "--dry-run", "--no-s3"})
                 .text.starts_with("backup takes --dry-run or --no-s3, not both: "));
}

BOOST_AUTO_TEST_CASE(every_command_that_reads_the_bucket_takes_it_in_place_of_a_configuration) {
  for (const char* command : {"list", "status", "verify", "prune", "restore", "thaw"}) {
    std::vector<const char*> words = {command,          "--from",   "s3://b/p",  "--region", "r",
                                      "--endpoint-url", "http://h", "--profile", "q"};
    if (command == std::string("restore") || command == std::string("thaw")) {
      words.insert(words.end(), {"--subvolume", "d"});
    }
    if (command == std::string("restore")) {
      words.insert(words.end(), {"--target", "/t"});
    }
    const command_line line = accepted(words);
    const bucket_place* const place = place_in(line);
    BOOST_REQUIRE(place != nullptr);
    BOOST_TEST((place->from == "s3://b/p" && place->region == "r"), command);
    BOOST_TEST((place->endpoint_url == "http://h" && place->profile == "q"), command);
    words.insert(words.end(), {"--config", "/c"});
    const early_exit both = ended(words);
    BOOST_TEST(
        both.text.starts_with(std::string(command) + " takes --config or --from, not both\n"),
        both.text);
    BOOST_TEST(both.status == (command == std::string("status") ? 3 : 2));
  }
  for (const char* command : {"backup", "plan", "doctor"}) {
    BOOST_TEST(place_in(accepted({command})) == nullptr);
    BOOST_TEST(ended({command, "--from", "s3://b/p"}).status == 2);
  }
  BOOST_TEST(ended({"prune", "--from", "s3://b/p", "--yes"})
                 .text.starts_with("prune --from shows what would be deleted, and deletes "
                                   "nothing: "));
}

BOOST_AUTO_TEST_CASE(prune_deletes_only_when_told_to) {
  const auto line = accepted({"prune", "--subvolume", "a", "--subvolume", "b", "--json"});
  const auto& looked = std::get<prune_command>(line.command);
  BOOST_TEST((looked.subvolumes == std::vector<std::string>{"a", "b"}));
  BOOST_TEST((looked.json && !looked.yes));
  BOOST_TEST(std::get<prune_command>(accepted({"prune", "--yes"}).command).yes);
}

BOOST_AUTO_TEST_CASE(verify_is_quick_deep_or_a_sample) {
  const auto verify = [](std::vector<const char*> words) {
    words.insert(words.begin(), "verify");
    return std::get<verify_command>(accepted(std::move(words)).command);
  };
  BOOST_TEST((verify({}).depth == verify_depth::quick));
  BOOST_TEST((verify({"--quick"}).depth == verify_depth::quick));
  BOOST_TEST((verify({"--deep", "--json"}).depth == verify_depth::deep));
  const verify_command sample = verify({"--sample", "12"});
  BOOST_TEST((sample.depth == verify_depth::sample && sample.sample_parts == 12));
  BOOST_TEST(verify({"--subvolume", "d", "--manifest-key", "k"}).manifest_key == "k");
  BOOST_TEST(ended({"verify", "--manifest-key", "k"}).status == 2);
  BOOST_TEST(ended({"verify", "--deep", "--quick"}).status == 2);
  BOOST_TEST(ended({"verify", "--deep", "--sample", "2"}).status == 2);
  BOOST_TEST(ended({"verify", "--sample", "0"}).status == 2);
  BOOST_TEST(!verify({}).prove);
  BOOST_TEST((verify({"--prove", "--sample", "2"}).depth == verify_depth::sample));
  BOOST_TEST((verify({"--identity", "i", "--prove"}).identities == std::vector<std::string>{"i"}));
  BOOST_TEST(verify({"--deep", "--identity", "i", "--cache-dir", "/c"}).cache_dir == "/c");
  BOOST_TEST(ended({"verify", "--identity", "i"}).text.find("--prove or --deep") !=
             std::string::npos);
  BOOST_TEST(ended({"verify", "--sample", "2", "--cache-dir", "c"}).status == 2);
}

BOOST_AUTO_TEST_CASE(thaw_chooses_a_backup_as_restore_does) {
  const auto line = accepted({"thaw", "--from", "s3://b/p", "--subvolume", "d", "--at",
                              "2026-01-02 03:04", "--region", "r", "--dry-run"});
  const auto& thaw = std::get<thaw_command>(line.command);
  BOOST_TEST((thaw.subvolume == "d" && thaw.from == "s3://b/p" && thaw.region == "r"));
  BOOST_TEST(thaw.at == "2026-01-02 03:04");
  BOOST_TEST(thaw.dry_run);
  BOOST_TEST(std::get<thaw_command>(accepted({"thaw", "--all"}).command).all);
  BOOST_TEST(ended({"thaw"}).text.find("thaw needs --subvolume") != std::string::npos);
  BOOST_TEST(ended({"thaw", "--all", "--manifest-key", "k"}).status == 2);
  BOOST_TEST(ended({"thaw", "--config", "/c", "--from", "s3://b/p", "--all"}).status == 2);
}

BOOST_AUTO_TEST_CASE(usage_errors_exit_2_and_help_exits_0_with_the_table) {
  BOOST_TEST(ended({}).status == 2);
  BOOST_TEST(ended({"bakup"}).status == 2);
  BOOST_TEST(ended({"backup", "--log-level", "loud"}).status == 2);
  BOOST_TEST(ended({"backup", "--no-such"}).to_stderr);
  const early_exit help = ended({"--help"});
  BOOST_TEST(help.status == 0);
  BOOST_TEST(help.text.find("Exit status: 0 done") != std::string::npos);
  BOOST_TEST(ended({"--version"}).text.starts_with("btrfs_to_s3 "));
}

BOOST_AUTO_TEST_CASE(list_takes_a_place_and_status_an_age) {
  const auto list = std::get<list_command>(
      accepted({"list", "--from", "s3://b/p", "--region", "r", "--subvolume", "a", "--json"})
          .command);
  BOOST_TEST((list.from == "s3://b/p" && list.region == "r" && list.subvolume == "a" && list.json));
  BOOST_TEST(std::get<list_command>(accepted({"list", "--config", "/c"}).command).from.empty());
  BOOST_TEST(ended({"list", "--config", "/c", "--from", "s3://b"}).text.find("not both") !=
             std::string::npos);
  BOOST_TEST(ended({"list", "--region", "r"}).status == 2);
  const auto status = std::get<status_command>(accepted({"status", "--max-age", "8d"}).command);
  BOOST_TEST((status.max_age == std::chrono::days(8)));
  BOOST_TEST(!std::get<status_command>(accepted({"status"}).command).max_age.has_value());
  // As monitoring plugins have it.
  BOOST_TEST(ended({"status", "--max-age", "soon"}).status == 3);
  BOOST_TEST(ended({"status", "--max-age", "0"}).status == 3);
  BOOST_TEST(ended({"status", "--what"}).status == 3);
  BOOST_TEST(ended({"status", "--help"}).status == 0);
  BOOST_TEST(ended({"backup", "--what"}).status == 2);
}

BOOST_AUTO_TEST_CASE(keys_has_commands_of_its_own) {
  const auto made = std::get<keys_generate_command>(accepted({"keys", "generate"}).command);
  BOOST_TEST(made.file ==
             (std::filesystem::current_path() / keys_generate_command::usual_file).string());
  BOOST_TEST((!made.passphrase && !made.json));
  const auto sealed = std::get<keys_generate_command>(
      accepted({"--quiet", "keys", "generate", "--passphrase", "--json", "/a/../b"}).command);
  BOOST_TEST((sealed.file == "/a/../b" && sealed.passphrase && sealed.json));
  const auto shown =
      std::get<keys_show_command>(accepted({"keys", "show", "age1x", "-", "--json", "/k"}).command);
  BOOST_TEST((shown.keys == std::vector<std::string>{"age1x", "-", "/k"} && shown.json));
  BOOST_TEST((accepted({"keys", "show", "--log-level", "debug", "k"}).common.log_level.value() ==
              bts3::engine::log_level::debug));
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_the_words_of_keys_is_said) {
  const auto says = [](const early_exit& end, std::string_view what) {
    BOOST_TEST(end.status == 2);
    BOOST_TEST(end.text.find(what) != std::string::npos, end.text);
  };
  says(ended({"keys"}), "subcommand");
  says(ended({"keys", "show"}), "key is required");
  says(ended({"keys", "generate", "a", "b"}), "b");
  says(ended({"keys", "genrate"}), "there is no command \"keys genrate\"; did you mean generate?");
  says(ended({"keys", "show", "--jsn", "k"}),
       "keys show has no option --jsn; did you mean --json?");
  says(ended({"kyes", "show"}), "did you mean keys?");
  BOOST_TEST(ended({"keys", "generate", "--help"}).status == 0);
}

BOOST_AUTO_TEST_SUITE_END()
