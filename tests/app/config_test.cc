#include "app/config.hh"
#include "app/human_units.hh"

#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <fstream>
#include <map>
#include <sstream>

using namespace bts3::app;
using bts3::testing::error_text;

namespace {

const std::string minimal = R"([subvolumes]
paths = ["/srv/data"]
[s3]
bucket = "b"
region = "r"
prefix = "p"
)";

environment_lookup variables(std::map<std::string, std::string, std::less<>> values) {
  return [values = std::move(values)](std::string_view name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

const environment_lookup home = variables({{"HOME", "/home/u"}});

config parsed(const std::string& text, const environment_lookup& environment = home) {
  auto settings = parse_config(text, "file", environment);
  BOOST_REQUIRE_MESSAGE(settings.has_value(), error_text(settings));
  return *settings;
}

std::string problem(const std::string& text, const environment_lookup& environment = home) {
  auto settings = parse_config(text, "file", environment);
  if (settings) {
    return "accepted";
  }
  BOOST_TEST((settings.error().why == bts3::engine::reason::configuration));
  return settings.error().text();
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(config_suite)

BOOST_AUTO_TEST_CASE(defaults_are_the_documented_ones) {
  const config settings = parsed(minimal);
  BOOST_TEST(settings.part_size_bytes == 134'217'728u);
  BOOST_TEST(settings.chunk_size_bytes == 214'748'364'800u);
  BOOST_TEST(settings.concurrency == 4);
  BOOST_TEST(settings.storage_class_chunks == "DEEP_ARCHIVE");
  BOOST_TEST(settings.retain == 2);
  BOOST_TEST(settings.state_path == "/home/u/.local/state/btrfs_to_s3/state.json");
  BOOST_TEST(settings.subvolumes.at(0).name == "data");
  BOOST_TEST((settings.retry_for == std::chrono::hours(1)));
}

BOOST_AUTO_TEST_CASE(the_example_names_every_key_and_is_valid) {
  std::ifstream file(BTS3_SOURCE_DIR "/config.example.toml");
  std::stringstream text;
  text << file.rdbuf();
  for (const std::string& key : config_keys()) {
    const std::string name = key.substr(key.find('.') + 1);
    BOOST_TEST(has(text.str(), name + " ="), key);
  }
  BOOST_TEST(problem(text.str()) == "accepted");
}

BOOST_AUTO_TEST_CASE(an_unknown_key_names_the_nearest_known_one_and_its_line) {
  const std::string text = problem(minimal + "concurency = 3\n");
  BOOST_TEST(has(text, "s3.concurency"));
  BOOST_TEST(has(text, "s3.concurrency?"));
  BOOST_TEST(has(text, "line 7"));
  BOOST_TEST(has(problem(minimal + "[snapshot]\n"), "[snapshots]?"));
}

BOOST_AUTO_TEST_CASE(several_problems_are_told_at_once) {
  const std::string text = problem("[s3]\nbucket = \"b\"\npart_size_bytes = \"1MiB\"\n");
  BOOST_TEST(has(text, "s3.part_size_bytes"));
  BOOST_TEST(has(text, "s3.region is missing"));
  BOOST_TEST(has(text, "subvolumes.paths is missing"));
}

BOOST_AUTO_TEST_CASE(values_out_of_bounds_name_key_and_expectation) {
  const std::pair<std::string, std::string> cases[] = {
      {"concurrency = 0", "from 1 to"},
      {"concurrency = \"many\"", "whole number"},
      {"part_size_bytes = \"6GiB\"", "at most 5.0 GiB"},
      {"part_size_bytes = 10000001", "multiple of 64"},
      {"chunk_size_bytes = \"5MiB\"", "at least s3.part_size_bytes"},
      {"storage_class_manifest = \"DEEP_ARCHIVE\"", "use STANDARD"},
      {"storage_class_chunks = \"COLD\"", "one of STANDARD"},
      {"retry_for = \"soon\"", "no duration"},
      {"payload_signing = \"maybe\"", "auto, unsigned, sha256"},
      {"sse_kms_key_id = \"k\"", "aws:kms"},
      {"ca_bundle = \"ca.pem\"", "absolute path"},
      {"bucket = 7.5", "must be a string"},
      {"spool_enabled = true", "not supported"},
      {"max_bandwidth_bytes_per_sec = \"1MB\"", "not supported"},
  };
  for (const auto& [line, expected] : cases) {
    std::string text = minimal;
    if (line.starts_with("bucket")) {
      text.erase(text.find("bucket"), text.find('\n', text.find("bucket")) - text.find("bucket"));
    }
    BOOST_TEST(has(problem(text + line + "\n"), expected), line << ": " << problem(text + line));
  }
  BOOST_TEST(has(problem(minimal + "[restore]\nrestore_tier = \"Expedited\"\n"), "DEEP_ARCHIVE"));
  BOOST_TEST(has(problem(minimal + "[schedule]\nrun_at = \"24:00\"\n"), "02:00"));
  BOOST_TEST(has(problem("not toml"), "line 1"));
}

BOOST_AUTO_TEST_CASE(keys_that_only_tune_a_missing_feature_are_listed_when_set) {
  BOOST_TEST(parsed(minimal).without_effect.empty());
  const config settings = parsed(minimal + "[restore]\nsample_max_files = 30\n");
  const std::vector<std::string> expected = {"restore.sample_max_files"};
  BOOST_TEST(settings.without_effect == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(subvolumes_have_distinct_names) {
  std::string text = minimal;
  text.replace(text.find("[\"/srv/data\"]"), 13,
               "[\"/srv/data/\", {name = \"root\", path = \"/\"}, \"/mnt/data\"]");
  BOOST_TEST(has(problem(text), "both called \"data\""));
  text.replace(text.find("\"/mnt/data\""), 11, "{name = \"more\", path = \"/mnt/data\"}");
  const config settings = parsed(text);
  BOOST_TEST(settings.subvolumes.at(0).path == "/srv/data");
  BOOST_TEST(settings.subvolumes.at(1).name == "root");
  BOOST_TEST(settings.subvolumes.at(2).name == "more");
}

BOOST_AUTO_TEST_CASE(the_environment_overrides_by_exact_name) {
  const config settings =
      parsed(minimal, variables({{"HOME", "/h"},
                                 {"BTRFS_TO_S3_S3_CONCURRENCY", "9"},
                                 {"BTRFS_TO_S3_GLOBAL_STATE_PATH", "/elsewhere/s.json"},
                                 {"BTRFS_TO_S3_HARNESS_RUN_DIR", "/run"}}));
  BOOST_TEST(settings.concurrency == 9);
  BOOST_TEST(settings.state_path == "/elsewhere/s.json");
  BOOST_TEST(has(problem(minimal, variables({{"HOME", "/h"}, {"BTRFS_TO_S3_S3_CONCURRENCY", "x"}})),
                 "BTRFS_TO_S3_S3_CONCURRENCY"));
}

BOOST_AUTO_TEST_CASE(a_chunk_never_has_more_than_ten_thousand_parts) {
  config settings;
  settings.part_size_bytes = 5 << 20;
  BOOST_TEST(settings.chunk_limit_bytes() == std::uint64_t{10'000} * (5 << 20));
}

BOOST_AUTO_TEST_CASE(sizes_and_durations_take_human_forms) {
  BOOST_TEST(*parse_bytes("4096") == 4096u);
  BOOST_TEST(*parse_bytes("128MiB") == 134'217'728u);
  BOOST_TEST(*parse_bytes("1.5 GB") == 1'500'000'000u);
  for (const char* wrong : {"", "MiB", "-1", "1 furlong", "1e3", "99999999999999999999"}) {
    BOOST_TEST(!parse_bytes(wrong).has_value(), wrong);
  }
  BOOST_TEST((*parse_duration("6h") == std::chrono::hours(6)));
  BOOST_TEST((*parse_duration("90") == std::chrono::seconds(90)));
  BOOST_TEST((*parse_duration("250ms") == std::chrono::milliseconds(250)));
  BOOST_TEST(!parse_duration("1 week").has_value());
  BOOST_TEST(format_bytes(512) == "512 B");
  BOOST_TEST(format_bytes(1'610'612'736) == "1.5 GiB");
}

BOOST_AUTO_TEST_SUITE_END()
