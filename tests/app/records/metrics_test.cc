#include "app/records/metrics.hh"

#include "tests/app/records/sample_report.hh"
#include "tests/app/support.hh"
#include "tests/support/outcome.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <regex>
#include <set>

using namespace bts3::app;
using namespace bts3::planner;
using bts3::testing::at;
using bts3::testing::content_of;
using bts3::testing::error_text;
using bts3::testing::sample_run;
using bts3::testing::scratch_directory;
using bts3::testing::write_file;

namespace {

run_report sample() {
  run_report report = sample_run(2);
  report.totals.backups = 1;
  report.totals.seconds = 1500;
  subvolume_report& data = report.subvolumes[0];
  data.standing.links = 4;
  data.standing.last_bytes = 3'000'000'000;
  data.standing.last_seconds = 1500;
  report.subvolumes[1].name = "a \"b\"\\c\nd";
  report.subvolumes[1].status = subvolume_status::failed;
  report.others.resize(1);
  report.others[0].name = "home";
  report.others[0].standing.last_backup = at("20260114T010004Z");
  return report;
}

std::map<std::string, std::optional<verification_summary>> verified_sample() {
  std::map<std::string, std::optional<verification_summary>> all;
  verification_summary& data = all["data"].emplace();
  data.runs = {{verification_kind::quick, at("20260121T010003Z")},
               {verification_kind::deep, at("20260101T010003Z")}};
  data.damaged = {{"a", verification_kind::deep, at("20260101T010003Z"), "part 2 differs"},
                  {"b", verification_kind::quick, at("20260121T010003Z"), "missing"}};
  verification_summary& home = all["home"].emplace();
  home.runs = {{verification_kind::sample, at("20260121T010003Z")}};
  home.sample_done = 30;
  home.sample_parts = 120;
  all["new"] = std::nullopt;
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(metrics_suite)

// BTS3_UPDATE_GOLDEN=1 writes the file anew. promtool checks it (tests/style).
BOOST_AUTO_TEST_CASE(the_text_is_the_golden_one) {
  const std::string path = BTS3_SOURCE_DIR "/tests/data/surface/metrics.prom";
  std::string text = metrics_of(sample());
  text = std::regex_replace(text, std::regex("version=\"[^\"]*\""), "version=\"0\"");
  if (std::getenv("BTS3_UPDATE_GOLDEN") != nullptr) {
    write_file(path, text);
  }
  BOOST_TEST(text == content_of(path));
}

BOOST_AUTO_TEST_CASE(what_was_verified_is_the_golden_text) {
  const std::string path = BTS3_SOURCE_DIR "/tests/data/surface/metrics_verify.prom";
  const std::string text = verify_metrics_of(verified_sample());
  if (std::getenv("BTS3_UPDATE_GOLDEN") != nullptr) {
    write_file(path, text);
  }
  BOOST_TEST(text == content_of(path));
  auto lost = verified_sample();
  lost["home"]->elsewhere = "a manifest leads nowhere";
  BOOST_TEST(verify_metrics_of(lost).find("verify_found_damage{subvolume=\"home\"} 1\n") !=
             std::string::npos);
}

// A collector reads both files: a family in two of them would be a series twice.
BOOST_AUTO_TEST_CASE(backup_and_verify_share_no_metric) {
  const std::string run = metrics_of(sample());
  const std::string verified = verify_metrics_of(verified_sample());
  const std::regex type("# TYPE [a-z_0-9]+ ");
  std::size_t count = 0;
  for (std::sregex_iterator found(verified.begin(), verified.end(), type), end; found != end;
       ++found, ++count) {
    BOOST_TEST(run.find(found->str()) == std::string::npos, found->str());
  }
  BOOST_TEST(count == 4u);
  BOOST_TEST(verify_metrics_path("/a.b/backup.prom") == "/a.b/backup_verify.prom");
}

BOOST_AUTO_TEST_CASE(labels_are_escaped_and_what_is_not_known_has_no_sample) {
  const std::string text = metrics_of(sample());
  BOOST_TEST(text.find("btrfs_to_s3_run_failed{subvolume=\"a \\\"b\\\"\\\\c\\nd\"} 1\n") !=
             std::string::npos);
  BOOST_TEST(text.find("btrfs_to_s3_run_failed{subvolume=\"data\"} 0\n") != std::string::npos);
  BOOST_TEST(text.find("run_failed{subvolume=\"home\"}") == std::string::npos);
  BOOST_TEST(text.find("btrfs_to_s3_last_success_timestamp_seconds{subvolume=\"home\"} ") !=
             std::string::npos);
  BOOST_TEST(text.find("chain_links{subvolume=\"home\"}") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(alerts_speak_of_metrics_that_exist) {
  const std::string metrics = metrics_of(sample()) + verify_metrics_of(verified_sample());
  const std::string alerts = content_of(BTS3_SOURCE_DIR "/systemd/prometheus-alerts.yml");
  const std::regex name("btrfs_to_s3_[a-z_]+");
  std::set<std::string> named;
  for (std::sregex_iterator found(alerts.begin(), alerts.end(), name), end; found != end; ++found) {
    named.insert(found->str());
  }
  BOOST_TEST(named.size() >= 5u);
  for (const std::string& one : named) {
    BOOST_TEST(metrics.find("# TYPE " + one + " gauge\n") != std::string::npos, one);
  }
}

BOOST_AUTO_TEST_CASE(the_file_is_replaced_in_one_step_and_readable_for_all) {
  const scratch_directory scratch;
  const std::string path = scratch / "backup.prom";
  const mode_t before = ::umask(0077);
  auto first = write_metrics(path, "one\n");
  ::umask(before);
  BOOST_REQUIRE_MESSAGE(first.has_value(), error_text(first));
  BOOST_TEST(content_of(path) == "one\n");
  struct stat entry{};
  BOOST_REQUIRE(::stat(path.c_str(), &entry) == 0);
  BOOST_TEST((entry.st_mode & 0777) == 0644u);
  const ino_t inode = entry.st_ino;
  const int reading = ::open(path.c_str(), O_RDONLY);  // a collector in its midst
  BOOST_REQUIRE(write_metrics(path, "two\n").has_value());
  BOOST_TEST(content_of(path) == "two\n");
  char old[8] = {};
  BOOST_TEST(::read(reading, old, sizeof old) == 4);
  BOOST_TEST(std::string(old) == "one\n");
  ::close(reading);
  BOOST_REQUIRE(::stat(path.c_str(), &entry) == 0);
  BOOST_TEST(entry.st_ino != inode);
  BOOST_TEST(!std::filesystem::exists(path + ".new"));
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_written_is_named_with_the_remedy) {
  const scratch_directory scratch;
  auto missing = write_metrics(scratch / "no/such/place.prom", "x\n");
  BOOST_REQUIRE(!missing.has_value());
  BOOST_TEST(missing.error().text().find("metrics.textfile: ") == 0u);
  BOOST_TEST(missing.error().text().find("name a file in a directory") != std::string::npos);
  std::filesystem::create_directory(scratch / "taken.prom");
  write_file(scratch / "taken.prom/x", "");
  BOOST_TEST(!write_metrics(scratch / "taken.prom", "x\n").has_value());
  BOOST_TEST(!std::filesystem::exists(scratch / "taken.prom.new"));
}

BOOST_AUTO_TEST_SUITE_END()
