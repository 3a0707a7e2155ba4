#include "app/records/run_report.hh"

#include "app/host/run_figures.hh"

#include "app/backup/backup_run.hh"
#include "tests/app/records/sample_report.hh"
#include "tests/app/support.hh"
#include "tests/planner/zones.hh"

#include <simdjson.h>

#include <cstdlib>

using namespace bts3::app;
using namespace bts3::planner;
using bts3::testing::at;
using bts3::testing::central_europe;
using bts3::testing::content_of;
using bts3::testing::sample_run;
using bts3::testing::write_file;

namespace {

run_report sample() {
  run_report report = sample_run(4);
  report.totals.backups = 2;
  report.totals.seconds = 1500.5;
  subvolume_report& data = report.subvolumes[0];
  data.action = "incremental";
  data.reason = "incremental_due";
  data.because = "the last backup is 7 days old or older";
  finished_backup resumed;
  resumed.how = "resumed";
  resumed.kind = backup_kind::full;
  resumed.when = at("20260101T010004Z");
  resumed.manifest_key = "p/subvol/data/full/manifest-20260101T010004Z.json";
  resumed.bytes = 2'900'000'000;
  resumed.resumed_bytes = 1'000'000;
  resumed.chunks = 1;
  resumed.seconds = 1400;
  finished_backup made = resumed;
  made.how = "made";
  made.kind = backup_kind::incremental;
  made.when = at("20260121T010004Z");
  made.manifest_key = "p/subvol/data/incremental/manifest-20260121T010004Z.json";
  made.bytes = 100'000'000;
  made.resumed_bytes = 0;
  made.seconds = 100.5;
  made.proven = true;
  data.backups = {resumed, made};
  report.subvolumes[1].name = "ho\"me";
  report.subvolumes[1].status = subvolume_status::failed;
  report.subvolumes[1].error = "/home: No such file or directory";
  report.subvolumes[2].name = "mail";
  report.subvolumes[3].name = "root";
  report.subvolumes[3].status = subvolume_status::cancelled;
  report.hooks = {{"before", ""}, {"after", "/bin/false exited with status 1"}};
  return report;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(run_report_suite)

// As tests/planner/plan_test.cc: BTS3_UPDATE_GOLDEN=1 writes the file anew.
BOOST_AUTO_TEST_CASE(the_json_is_the_golden_one) {
  const std::string path = BTS3_SOURCE_DIR "/tests/data/surface/backup.json";
  const std::string text = report_as_json(sample());
  if (std::getenv("BTS3_UPDATE_GOLDEN") != nullptr) {
    write_file(path, text);
  }
  BOOST_TEST(text == content_of(path));
  simdjson::dom::parser parser;
  BOOST_TEST((parser.parse(text).error() == simdjson::SUCCESS));
}

BOOST_AUTO_TEST_CASE(a_run_that_could_not_begin_has_a_document_too) {
  bts3::engine::error failure;
  failure.why = bts3::engine::reason::configuration;
  failure.message = "no configuration";
  const std::string text = report_of_no_run(failure, bts3::engine::system_clock_source());
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  BOOST_REQUIRE((parser.parse(text).get(root) == simdjson::SUCCESS));
  BOOST_TEST(root["exit_status"].get_int64().value() == 2);
  BOOST_TEST(root["error"].get_string().value() == "no configuration");
  BOOST_TEST(root["subvolumes"].get_array().size() == 0u);
}

BOOST_AUTO_TEST_CASE(the_next_backup_is_due_in_slots_of_local_time) {
  const central_europe zone;
  schedule when;
  when.full_every_days = 30;
  when.incremental_every_days = 7;
  when.run_at = std::chrono::minutes(120);
  subvolume_standing standing;
  BOOST_TEST(!next_due(standing, when, zone).has_value());
  standing.last_backup = at("20260114T010005Z");  // 02:00:05 there
  BOOST_TEST(next_due(standing, when, zone)->rfc3339() == "2026-01-21T01:00:00Z");
  standing.last_full = at("20251220T010005Z");
  BOOST_TEST(next_due(standing, when, zone)->rfc3339() == "2026-01-19T01:00:00Z");
}

BOOST_AUTO_TEST_CASE(bytes_per_second_of_no_time_are_none) {
  run_totals totals;
  totals.bytes = 5;
  BOOST_TEST(totals.bytes_per_second() == 0.0);
  totals.seconds = 2;
  BOOST_TEST(totals.bytes_per_second() == 2.5);
  BOOST_TEST(figures_of_process().cpu_seconds > 0.0);
  BOOST_TEST(figures_of_process().peak_rss_bytes > 1'000'000u);
}

BOOST_AUTO_TEST_SUITE_END()
