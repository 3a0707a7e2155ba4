// What extract says of what it would do, and of what it did.
#include "app/content/extract_text.hh"

#include "planner/json_text.hh"
#include "tests/app/support.hh"

#include <boost/test/unit_test.hpp>

#include <string>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::check_golden;

namespace {

struct scene {
  scene() {
    wanted.directories = {{"home", 1, true}, {"home/anna", 2, false}};
    wanted.files = {{"home/anna/letter", 3, false}, {"home/anna/film", 4, false}};
    wanted.specials = {{"home/anna/link", 5, false}};
    wanted.links = {{"home/anna/film", "home/anna/film once more"}};
    wanted.content_bytes = 3'000'000'000;
    plan.chunks.resize(1);
    plan.chunks[0].key = s3::object_key("p/subvol/data/full/chunk-20260102T030405Z-0123abcd-0.bin");
    plan.bytes = 3'000'100'000;
    plan.requests = 359;
    plan.thaw.tier = s3::retrieval_tier::bulk;
    plan.thaw.days = 2;
    plan.thaw.classes["DEEP_ARCHIVE"].found.to_request = 1;
    plan.thaw.classes["DEEP_ARCHIVE"].found.bytes_to_request = 5'000'000'000;
    plan.time.thaw = std::chrono::hours(48);
    plan.time.download = std::chrono::seconds(300);
    plan.time.bytes_per_sec = 10'000'000;
    plan.cost.has_sum = true;
    plan.cost.table = plan.cost.provider = "Amazon S3";
    plan.cost.as_of = "2026-01";
    plan.cost.table_region = plan.cost.region = "eu-central-1";
    plan.cost.currency = "USD";
    plan.cost.retrieval = 7.5;
    done.files = 1;
    done.directories = 1;
    done.specials = 1;
    done.content_bytes = 4096;
    done.damaged = {{"home/anna/film", "command 7 has another checksum"},
                    {"home/anna/film once more", "another name of home/anna/film"}};
    left["owner"] = {2, "home/anna\n", "not asked for"};
  }
  extract_selection wanted;
  reading_plan plan;
  extract_report done;
  std::map<std::string, left_out> left;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(extract_text_suite, scene)

BOOST_AUTO_TEST_CASE(a_plan) {
  check_golden("extract_plan.txt", plan_text("data: the backup", wanted, plan));
  nlohmann::ordered_json out = {{"version", 1}, {"dry_run", true}};
  put_plan(out, wanted, plan);
  check_golden("extract_plan.json", planner::json_document(out));
}

BOOST_AUTO_TEST_CASE(a_report) {
  check_golden("extract.txt", report_text("/srv/then", done, left));
  nlohmann::ordered_json out = {{"version", 1}, {"dry_run", false}};
  put_report(out, done, left);
  check_golden("extract.json", planner::json_document(out));
  for (int i = 0; i < 30; ++i) {
    done.damaged.push_back({"f" + std::to_string(i), "gone"});
  }
  const std::string text = report_text("/srv/then", done, left);
  BOOST_TEST(text.find("DAMAGED, and not there: 32 files") != std::string::npos, text);
  BOOST_TEST(text.find("and 12 more, which --json names") != std::string::npos, text);
}

BOOST_AUTO_TEST_SUITE_END()
