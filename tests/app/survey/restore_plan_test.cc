#include "app/survey/restore_plan.hh"

#include "tests/app/support.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <nlohmann/json.hpp>

#include <string>

using namespace bts3::app;
using bts3::testing::error_text;
namespace planner = bts3::planner;
namespace s3 = bts3::s3;

namespace {

constexpr std::uint64_t gib = std::uint64_t{1} << 30;

located_chunk chunk_of(std::uint64_t size, const std::string& stored_as) {
  located_chunk chunk;
  chunk.key = s3::object_key("p/chunk-" + stored_as);
  chunk.record.size = chunk.info.size = size;
  chunk.info.stored_as = s3::storage_class(stored_as);
  return chunk;
}

restore_plan two_links() {
  restore_plan plan;
  plan.subvolume = "data";
  plan.target = "/mnt/data";
  plan.available_bytes = 100 * gib;
  plan.host.kernel = {6, 1};
  plan.host.tools = {6, 2};
  plan.verification = "full";
  for (const auto kind : {planner::backup_kind::full, planner::backup_kind::incremental}) {
    const bool full = kind == planner::backup_kind::full;
    planned_link one;
    one.link.key = full ? "p/full/manifest" : "p/incremental/manifest";
    one.link.value.kind = kind;
    one.link.value.created_at =
        *planner::timestamp::parse(full ? "20260101T000000Z" : "20260102T000000Z");
    one.link.value.total_bytes = full ? 4 * gib : gib;
    one.link.value.stream = planner::stream_record{full ? 1 : 2, !full, 5};
    one.chunks.push_back(chunk_of(one.link.value.total_bytes, full ? "" : "STANDARD_IA"));
    plan.links.push_back(std::move(one));
  }
  return plan;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(restore_plan_suite)

BOOST_AUTO_TEST_CASE(the_text_tells_chain_sizes_classes_space_and_protocol) {
  const std::string text = plan_text(two_links());
  BOOST_TEST(has(text,
                 "data: would restore the backup of 2026-01-02T00:00:00Z to /mnt/data: 2 links, 2 "
                 "objects, 5.0 GiB\n"));
  BOOST_TEST(
      has(text, "2026-01-01T00:00:00Z  full            4.0 GiB  1 object  p/full/manifest\n"));
  BOOST_TEST(has(text, "class     STANDARD: 1 object, 4.0 GiB\n"));
  BOOST_TEST(has(text, "class     STANDARD_IA: 1 object, 1.0 GiB\n"));
  BOOST_TEST(has(text, "nothing: every object can be read now"));
  BOOST_TEST(
      has(text, "5.1 GiB needed (5.0 GiB of streams, 96.0 MiB for metadata), 100.0 GiB free"));
  BOOST_TEST(has(text, "protocol 2; this host (Linux 6.1, btrfs-progs 6.2) receives 2\n"));
  BOOST_TEST(has(text, "the content cannot be compared"));
  restore_plan other = two_links();
  other.source = "/snap/data";
  other.interrupted = true;
  other.available_bytes = gib;
  other.host.tools = {5, 16};
  const std::string worse = plan_text(other);
  BOOST_TEST(has(worse, "the content against /snap/data"));
  BOOST_TEST(has(worse, "an interrupted restore"));
  BOOST_TEST(has(worse, "1.0 GiB free at the target: NOT ENOUGH"));
  BOOST_TEST(has(worse, "receives 1: TOO OLD"));
}

BOOST_AUTO_TEST_CASE(what_an_interruption_repeats_is_told_with_what_a_spool_keeps) {
  restore_plan plan = two_links();
  BOOST_TEST(has(plan_text(plan),
                 "again     at most 4.0 GiB after an interruption: links that "
                 "were received whole are kept, the one under way is downloaded "
                 "from its beginning ("));
  BOOST_TEST(!has(plan_text(plan), "in the spool"));
  plan.keep_limit_bytes = 200 * gib;
  plan.unkept_bytes_max = gib / 2;
  BOOST_TEST(has(plan_text(plan), "again     at most 512.0 MiB after"));
  BOOST_TEST(has(plan_text(plan), "but for what is kept of it in the spool, 200.0 GiB at most"));
  // A spool for less than a link, and parts in memory that are more than one.
  plan.keep_limit_bytes = gib;
  BOOST_TEST(has(plan_text(plan), "again     at most 3.5 GiB after"));
  plan.unkept_bytes_max = 9 * gib;
  BOOST_TEST(has(plan_text(plan), "again     at most 4.0 GiB after"));
  plan.kept_bytes = gib;
  BOOST_TEST(has(plan_text(plan), "kept      1.0 GiB of the backup that was being received"));
  const auto json = nlohmann::json::parse(plan_json(plan));
  BOOST_TEST(json["kept_bytes"] == gib);
  BOOST_TEST(json["repeated_at_most"]["bytes"] == 4 * gib);
  BOOST_TEST(json["repeated_at_most"]["keep_limit_bytes"] == gib);
}

BOOST_AUTO_TEST_CASE(the_json_has_the_same_as_numbers) {
  const auto json = nlohmann::json::parse(plan_json(two_links()));
  BOOST_TEST(json["bytes"] == 5 * gib);
  BOOST_TEST(json["chain"].size() == 2u);
  BOOST_TEST(json["chain"][1]["kind"] == "incremental");
  BOOST_TEST(json["chain"][1]["protocol"] == 2);
  BOOST_TEST(json["storage_classes"]["STANDARD_IA"]["bytes"] == gib);
  BOOST_TEST(json["space"]["needed_bytes"] == space_needed(5 * gib));
  BOOST_TEST(json["space"]["enough"] == true);
  BOOST_TEST(json["verify"]["source"].is_null());
  BOOST_TEST(json["manifest_key"] == "p/incremental/manifest");
}

BOOST_AUTO_TEST_CASE(hours_and_money_are_told_with_what_they_rest_on) {
  restore_plan plan = two_links();
  BOOST_TEST(nlohmann::json::parse(plan_json(plan))["money"].is_null());
  plan.time.bytes_per_sec = 10'000'000;
  plan.time.download = std::chrono::seconds(537);
  plan.cost = restore_cost();
  plan.cost->has_sum = true;
  plan.cost->transfer = 0.45;
  plan.cost->currency = "USD";
  std::string text = plan_text(plan);
  BOOST_TEST(has(text,
                 "  time      about 9 minutes: downloaded in 9 minutes at 10.0 MB/s (assumed; "
                 "--download-rate states another)\n"),
             text);
  BOOST_TEST(has(text, "  money     about 0.45 USD: "), text);
  plan.time.thaw = std::chrono::hours(12);
  plan.time.from = rate_source::limited;
  text = plan_text(plan);
  BOOST_TEST(has(text,
                 "about 13 hours: thawed typically within 12 hours, then downloaded in 9 minutes "
                 "at 10.0 MB/s (limited)\n"),
             text);
  bts3::testing::check_golden("restore_cost.json", plan_json(plan));
  const auto json = nlohmann::json::parse(plan_json(plan));
  BOOST_TEST(json["time"]["thaw_seconds_most"] == 43'200);
  BOOST_TEST(json["time"]["download_seconds"] == 537);
  BOOST_TEST(json["time"]["rate"] == "limited");
  BOOST_TEST(json["money"]["transfer"] == 0.45);
}

BOOST_AUTO_TEST_CASE(what_an_interruption_repeats_is_told_with_hours_and_money) {
  restore_plan plan = two_links();  // of 4 GiB and of 1
  plan.time.bytes_per_sec = 10'000'000;
  plan.cost = restore_cost();
  plan.cost->has_sum = true;
  plan.cost->transfer = 0.40;
  plan.cost->requests = 0.05;
  plan.cost->copies = 7;     // live on
  plan.cost->retrieval = 3;  // is not asked for again
  plan.cost->currency = "USD";
  std::string text = plan_text(plan);
  BOOST_TEST(
      has(text,
          "  again     at most 4.0 GiB after an interruption: links that were received whole "
          "are kept, the one under way is downloaded from its beginning (8 minutes, about "
          "0.36 USD of requests and transfer)\n"),
      text);
  const auto json = nlohmann::json::parse(plan_json(plan))["repeated_at_most"];
  BOOST_TEST(json["bytes"] == 4 * gib);
  BOOST_TEST(json["download_seconds"] == 429);
  BOOST_TEST(json["cost"] == 0.36);
  // Without prices there is no sum.
  plan.cost->has_sum = false;
  text = plan_text(plan);
  BOOST_TEST(has(text, "from its beginning (8 minutes)\n"), text);
  BOOST_TEST(nlohmann::json::parse(plan_json(plan))["repeated_at_most"]["cost"].is_null());
}

BOOST_AUTO_TEST_CASE(space_is_the_streams_and_a_64th_and_16_mib) {
  BOOST_TEST(space_needed(0) == 16u << 20);
  BOOST_TEST(space_needed(64 * gib) == 65 * gib + (16 << 20));
  restore_plan plan = two_links();
  plan.available_bytes = space_needed(5 * gib);
  BOOST_TEST(check_space(plan, 5 * gib).has_value());
  --plan.available_bytes;
  const auto refused = check_space(plan, 5 * gib);
  BOOST_REQUIRE(!refused);
  BOOST_TEST(has(refused.error().text(), "5.0 GiB of streams, and 96.0 MiB for metadata"));
  BOOST_TEST(has(refused.error().text(), "1 B are missing"));
}

BOOST_AUTO_TEST_CASE(what_fits_singly_and_not_together_is_refused_with_the_sum) {
  space_for_all space;
  space.where = "/mnt";
  space.available_bytes = 2 * space_needed(5 * gib);
  space.add(5 * gib);
  space.add(0);  // restored before
  BOOST_TEST(space.subvolumes == 1u);
  space.add(5 * gib);
  BOOST_TEST(space.needed_bytes == 2 * space_needed(5 * gib));
  BOOST_TEST(check_space(space).has_value());
  BOOST_TEST(has(space_text(space), "all: 2 subvolumes to restore, 10.0 GiB\n"));
  BOOST_TEST(!has(space_text(space), "NOT ENOUGH"));
  --space.available_bytes;
  const auto refused = check_space(space);
  BOOST_REQUIRE(!refused);
  BOOST_TEST(has(refused.error().text(),
                 "not enough space at /mnt for all: 10.0 GiB of streams of "
                 "2 subvolumes, and 192.0 MiB for metadata"));
  BOOST_TEST(has(refused.error().text(), "1 B are missing"));
  BOOST_TEST(has(refused.error().text(), "--no-space-check"));
  BOOST_TEST(has(space_text(space), "free at /mnt: NOT ENOUGH\n"));
  const auto json = nlohmann::json::parse(space_json(space));
  BOOST_TEST(json["all"]["subvolume_count"] == 2);
  BOOST_TEST(json["all"]["bytes"] == 10 * gib);
  BOOST_TEST(json["all"]["space"]["needed_bytes"] == space.needed_bytes);
  BOOST_TEST(json["all"]["space"]["available_bytes"] == space.available_bytes);
  BOOST_TEST(json["all"]["space"]["enough"] == false);
}

BOOST_AUTO_TEST_CASE(what_must_be_thawed_is_told_for_each_class_with_tier_and_hours) {
  restore_plan plan = two_links();
  plan.thaw.tier = s3::retrieval_tier::expedited;
  plan.thaw.days = 9;
  planned_thaw::row& glacier = plan.thaw.classes["GLACIER"];
  glacier.found.to_request = 2;
  glacier.found.bytes_to_request = 3 * gib;
  glacier.found.typical.least = std::chrono::minutes(1);
  glacier.found.typical.most = std::chrono::minutes(5);
  planned_thaw::row& deep = plan.thaw.classes["DEEP_ARCHIVE"];
  deep.found.to_request = 1;
  deep.found.thawing = 4;
  deep.found.to_extend = 1;
  deep.found.bytes_to_request = gib;
  deep.found.typical.most = std::chrono::hours(12);
  deep.offered = false;
  const std::string text = plan_text(plan);
  BOOST_TEST(has(text,
                 "GLACIER: 2 objects with 3.0 GiB must be thawed first: Expedited, typically in 1 "
                 "minute to 5 minutes; copies for 9 days\n"),
             text);
  BOOST_TEST(has(text,
                 "DEEP_ARCHIVE: 1 object with 1.0 GiB must be thawed first: Expedited is NOT "
                 "OFFERED for it"),
             text);
  BOOST_TEST(has(text, "DEEP_ARCHIVE: 4 objects being thawed already, typically within 12 hours"),
             text);
  BOOST_TEST(has(text, "DEEP_ARCHIVE: 1 object thawed, to be kept longer"), text);
  plan.thaw.days_auto = true;
  BOOST_TEST(
      has(plan_text(plan), "copies for 9 days (auto: by the times below, and a day; 7 at least)"));
  bts3::testing::check_golden("restore_plan.json", plan_json(plan));
  const auto json = nlohmann::json::parse(plan_json(plan))["thaw"];
  BOOST_TEST(json["objects"] == 3);
  BOOST_TEST(json["bytes"] == 4 * gib);
  BOOST_TEST(json["in_progress"] == 4);
  BOOST_TEST(json["tier"] == "Expedited");
  BOOST_TEST(json["days"] == 9);
  BOOST_TEST(json["typical_seconds"]["most"] == 12 * 3600);
  BOOST_TEST(json["storage_classes"]["DEEP_ARCHIVE"]["tier_offered"] == false);
  BOOST_TEST(json["storage_classes"]["GLACIER"]["objects"] == 2);
}

BOOST_AUTO_TEST_CASE(a_host_too_old_for_a_links_protocol_is_named_with_it) {
  restore_plan plan = two_links();
  BOOST_TEST(check_protocol(plan).has_value());
  plan.host.kernel = {5, 15};
  const auto refused = check_protocol(plan);
  BOOST_REQUIRE(!refused);
  BOOST_TEST(has(refused.error().text(), "p/incremental/manifest needs stream protocol 2"));
  BOOST_TEST(has(refused.error().text(), "Linux 5.15"));
  plan.links[1].link.value.stream.reset();  // as in manifests of the earlier tool
  BOOST_TEST(check_protocol(plan).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
