#include "app/overview/plan_job.hh"

#include "app/config/selection.hh"
#include "tests/app/support.hh"
#include "tests/planner/zones.hh"

#include <simdjson.h>

#include <cstdlib>

using namespace bts3::app;
using namespace bts3::planner;
using bts3::testing::central_europe;
using bts3::testing::content_of;
using bts3::testing::write_file;

namespace {

timestamp at(const char* text) {
  return timestamp::parse(text).value();
}

std::vector<planned_subvolume> samples() {
  std::vector<planned_subvolume> all(5);
  all[0].name = "data";
  all[0].path = "/srv/data";
  all[0].destination = "s3://bucket/hosts/alpha/subvol/data/full/";
  all[0].estimate = bts3::btrfs::size_estimate{std::uint64_t{5} << 30, false};
  all[0].plan.what = action::full;
  all[0].plan.reason = "first_backup";
  all[0].plan.sentence = "there is no backup of data yet";
  all[0].plan.due = at("20260121T010003Z");
  all[1].name = "home";
  all[1].path = "/home";
  all[1].destination = "s3://bucket/hosts/alpha/subvol/home/incremental/";
  all[1].last_backup = at("20260114T010005Z");
  all[1].links = 3;
  all[1].plan.what = action::incremental;
  all[1].plan.reason = "incremental_due";
  all[1].plan.sentence = "the last backup is 7 days old or older";
  all[1].plan.parent_snapshot = "/srv/snapshots/home__20260114T010005Z__inc";
  all[1].plan.parent_manifest =
      "hosts/alpha/subvol/home/incremental/manifest-20260114T010005Z.json";
  all[1].plan.due = at("20260121T010003Z");
  all[1].plan.warnings = {{"clock_went_back", "the last run was later"}};
  all[1].unfinished = unfinished_verdict{unfinished_action::resume, "resumable", "all is here"};
  all[2].name = "mail";
  all[2].path = "/srv/mail";
  all[2].last_backup = at("20260720T010005Z");
  all[2].links = 1;
  all[2].plan.reason = "not_due";
  all[2].plan.sentence = "the last backup is not 7 days old yet";
  all[2].plan.due = at("20260727T000000Z");
  all[3].name = "root";
  all[3].path = "/";
  all[3].plan.what = action::stop;
  all[3].plan.reason = "foreign_host";
  all[3].plan.sentence = "it is another's";
  all[4].name = "gone";
  all[4].path = "/srv/gone";
  all[4].error = "/srv/gone: No such file or directory";
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(plan_job_suite)

// As tests/planner/plan_test.cc: BTS3_UPDATE_GOLDEN=1 writes the files anew.
BOOST_AUTO_TEST_CASE(the_table_and_the_json_are_the_golden_ones) {
  const std::string folder = BTS3_SOURCE_DIR "/tests/data/plans/";
  const std::pair<std::string, std::string> files[] = {
      {"table.txt", plan_as_text(samples(), central_europe(), 0)},
      {"table-80.txt", plan_as_text(samples(), central_europe(), 80)},
      {"plan.json", plan_as_json(samples())}};
  for (const auto& [name, text] : files) {
    if (std::getenv("BTS3_UPDATE_GOLDEN") != nullptr) {
      write_file(folder + name, text);
    }
    BOOST_TEST(text == content_of(folder + name));
  }
}

BOOST_AUTO_TEST_CASE(an_estimate_that_is_a_lower_bound_says_so) {
  std::vector<planned_subvolume> all = samples();
  all[1].estimate = bts3::btrfs::size_estimate{std::uint64_t{3} << 20, true};
  const std::string table = plan_as_text(all, central_europe(), 0);
  BOOST_TEST(table.find("  >=3.0 MiB  ") != std::string::npos);
  BOOST_TEST(table.find("  ~5.0 GiB  ") != std::string::npos);
  const std::string json = plan_as_json(all);
  BOOST_TEST(json.find("\"estimated_at_least\": true") != std::string::npos);
  BOOST_TEST(json.find("\"estimated_at_least\": false") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_json_is_json) {
  simdjson::dom::parser parser;
  simdjson::dom::array subvolumes;
  const std::string text = plan_as_json(samples());
  BOOST_REQUIRE(parser.parse(text)["subvolumes"].get_array().get(subvolumes) == simdjson::SUCCESS);
  BOOST_TEST(subvolumes.size() == 5U);
}

BOOST_AUTO_TEST_CASE(selected_subvolumes_must_be_configured) {
  config settings;
  settings.subvolumes = {{"a", "/a"}, {"b", "/b"}};
  BOOST_TEST(select_subvolumes(settings, {}).value().size() == 2U);
  BOOST_TEST(select_subvolumes(settings, {"b"}).value().front().path == "/b");
  auto unknown = select_subvolumes(settings, {"b", "c"});
  BOOST_REQUIRE(!unknown.has_value());
  BOOST_TEST((unknown.error().why == bts3::engine::reason::configuration));
  BOOST_TEST(unknown.error().text().find("a, b") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(local_time_is_the_processs) {
  const char* before = std::getenv("TZ");
  const std::string saved = before != nullptr ? before : "";
  ::setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
  ::tzset();
  const system_time_zone zone;
  const central_europe expected;
  for (const char* when : {"20260115T000000Z", "20260329T005959Z", "20260329T010000Z",
                           "20260701T120000Z", "20261025T005959Z", "20261025T010000Z"}) {
    BOOST_TEST((zone.offset_at(at(when).when()) == expected.offset_at(at(when).when())), when);
  }
  if (before != nullptr) {
    ::setenv("TZ", saved.c_str(), 1);
  } else {
    ::unsetenv("TZ");
  }
  ::tzset();
}

BOOST_AUTO_TEST_SUITE_END()
