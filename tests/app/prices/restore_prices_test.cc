// What a restore costs: the table that is built in, tables of one's own, and what they lack.
#include "app/prices/restore_prices.hh"

#include "app/survey/restore_plan.hh"
#include "tests/app/support.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <nlohmann/json.hpp>

#include <string>

using namespace bts3::app;
using bts3::testing::error_text;
namespace s3 = bts3::s3;

namespace {

constexpr std::uint64_t gib = std::uint64_t{1} << 30;

restore_demand demand_for(const std::string& name, class_demand wanted,
                          const std::string& tier = "Standard") {
  restore_demand demand;
  demand.classes[name] = wanted;
  demand.tier = tier;
  demand.days = 9;
  demand.region = "us-east-1";
  return demand;
}

class_demand all_of(std::uint64_t gigabytes, std::uint64_t objects, bool archived) {
  class_demand wanted;
  wanted.requests = 1000;
  wanted.bytes = gigabytes * gib;
  wanted.to_thaw = archived ? objects : 0;
  wanted.bytes_to_thaw = archived ? wanted.bytes : 0;
  return wanted;
}

void close(double found, double expected) {
  BOOST_TEST(found == expected, boost::test_tools::tolerance(1e-9));
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

constexpr const char* own_table = R"toml(
name = "Store of our own"
as_of = "2026-01"
region = "here"
endpoint_url = "https://s3.example.org:9000"
currency = "EUR"
copy_per_gb_month = 0.3
transfer_per_gb = 0
[class.GLACIER]
get_per_1000 = 2
copies = true
tier.Bulk = { per_gb = 0.5, per_1000_requests = 3 }
)toml";

}  // namespace

BOOST_AUTO_TEST_SUITE(restore_prices_suite)

BOOST_AUTO_TEST_CASE(a_deep_archive_costs_retrieval_copies_requests_and_transfer) {
  const auto cost =
      estimate_cost(built_in_prices(), demand_for("DEEP_ARCHIVE", all_of(1000, 5, true)));
  BOOST_TEST(cost.has_sum);
  BOOST_TEST(!cost.other_region);
  BOOST_TEST(cost.unknown.empty());
  close(cost.retrieval, 1000 * 0.02 + 5 * 0.10 / 1000);
  close(cost.copies, 1000 * 0.023 * 9 / 30);
  close(cost.requests, 0.0004);
  close(cost.transfer, 90);
  close(cost.total(), cost.retrieval + cost.copies + cost.requests + cost.transfer);
  const std::string text = cost_text(cost);
  BOOST_TEST(has(text, "about 116.90 USD: retrieval 20.00, copies 6.90, requests 0.0004"), text);
  BOOST_TEST(has(text, "Amazon S3 in us-east-1, 2026-06"), text);
}

BOOST_AUTO_TEST_CASE(tiers_and_classes_have_their_own_prices) {
  const auto retrieval = [](const std::string& name, const std::string& tier, bool archived) {
    return estimate_cost(built_in_prices(), demand_for(name, all_of(100, 1000, archived), tier));
  };
  close(retrieval("DEEP_ARCHIVE", "Bulk", true).retrieval, 0.25 + 0.025);
  close(retrieval("GLACIER", "Standard", true).retrieval, 1 + 0.05);
  close(retrieval("GLACIER", "Bulk", true).retrieval, 0);
  close(retrieval("GLACIER", "Expedited", true).retrieval, 3 + 10);
  close(retrieval("GLACIER", "Expedited", false).total(), 9 + 0.0004);  // thawed already
  close(retrieval("GLACIER_IR", "Standard", false).retrieval, 3);
  close(retrieval("GLACIER_IR", "Standard", false).requests, 0.01);
  close(retrieval("STANDARD_IA", "Standard", false).retrieval, 1);
  close(retrieval("STANDARD", "Standard", false).retrieval, 0);
  // Moves back for good: no copy.
  close(retrieval("INTELLIGENT_TIERING (ARCHIVE_ACCESS)", "Standard", true).total(), 9 + 0.0004);
}

BOOST_AUTO_TEST_CASE(copies_that_are_to_live_longer_are_paid_for_as_well) {
  class_demand wanted;
  wanted.to_extend = 1000;
  wanted.bytes_to_extend = 30 * gib;
  const auto cost = estimate_cost(built_in_prices(), demand_for("GLACIER", wanted, "Bulk"));
  close(cost.copies, 30 * 0.023 * 9 / 30);
  close(cost.requests, 0.05);
  close(cost.retrieval, 0);
}

BOOST_AUTO_TEST_CASE(what_the_table_lacks_is_named_and_never_made_up) {
  restore_demand demand = demand_for("DEEP_ARCHIVE", all_of(10, 5, true), "Expedited");
  demand.classes["FROZEN"] = all_of(10, 5, false);
  const auto cost = estimate_cost(built_in_prices(), demand);
  BOOST_TEST((cost.unknown == std::vector<std::string>{
                                  "Expedited retrieval from class DEEP_ARCHIVE", "class FROZEN"}));
  close(cost.retrieval, 0);
  const std::string text = cost_text(cost);
  BOOST_TEST(has(text, "at least "), text);
  BOOST_TEST(has(text, "without Expedited retrieval from class DEEP_ARCHIVE, class FROZEN"), text);
}

BOOST_AUTO_TEST_CASE(another_region_is_told_and_another_provider_has_no_sum) {
  restore_demand demand = demand_for("STANDARD", all_of(10, 5, false));
  demand.region = "eu-central-1";
  const auto elsewhere = estimate_cost(built_in_prices(), demand);
  BOOST_TEST(elsewhere.other_region);
  BOOST_TEST(has(cost_text(elsewhere), "not known for eu-central-1; in us-east-1 about 0.90 USD"));
  demand.endpoint = "https://s3.eu-central-1.amazonaws.com";
  BOOST_TEST(estimate_cost(built_in_prices(), demand).has_sum);
  demand.endpoint = "http://127.0.0.1:9000";
  const auto other = estimate_cost(built_in_prices(), demand);
  BOOST_TEST(!other.has_sum);
  close(other.total(), 0);
  BOOST_TEST(has(cost_text(other), "not known: the price table is of Amazon S3 in us-east-1"));
  BOOST_TEST(has(cost_text(other), "endpoint 127.0.0.1"));
}

BOOST_AUTO_TEST_CASE(a_table_of_ones_own_is_read_from_a_file) {
  const bts3::testing::scratch_directory scratch;
  const std::string path = scratch / "prices.toml";
  bts3::testing::write_file(path, own_table);
  const auto own = load_prices(path);
  BOOST_REQUIRE_MESSAGE(own.has_value(), error_text(own));
  restore_demand demand = demand_for("GLACIER", all_of(10, 1000, true), "Bulk");
  demand.region = "here";
  demand.endpoint = "https://s3.example.org";
  const auto cost = estimate_cost(*own, demand);
  close(cost.retrieval, 5 + 3);
  close(cost.copies, 10 * 0.3 * 9 / 30);
  close(cost.requests, 2);
  BOOST_TEST(has(cost_text(cost), "EUR"));
  demand.endpoint = "";
  BOOST_TEST(!estimate_cost(*own, demand).has_sum);
  BOOST_TEST(load_prices("")->name == "Amazon S3");
  const auto missing = load_prices(scratch / "absent");
  BOOST_REQUIRE(!missing);
  BOOST_TEST(has(missing.error().text(), "restore.price_table = "));
  bts3::testing::write_file(path, std::string(70'000, '#'));
  BOOST_TEST(has(load_prices(path).error().text(), "larger than 64 KiB"));
}

BOOST_AUTO_TEST_CASE(a_table_that_makes_no_sense_names_each_problem) {
  const std::string good = own_table;
  const auto with = [&good](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    BOOST_REQUIRE(at != std::string::npos);
    const auto parsed = parse_prices(text.replace(at, from.size(), to), "prices.toml");
    BOOST_REQUIRE(!parsed);
    BOOST_TEST((parsed.error().why == bts3::engine::reason::configuration));
    return parsed.error().text();
  };
  BOOST_TEST(has(with("name = \"Store of our own\"", "nam = 1"), "prices.toml: unknown key nam"));
  BOOST_TEST(has(with("as_of = \"2026-01\"", ""), "as_of must be a string"));
  BOOST_TEST(has(with("0.3", "-1"), "copy_per_gb_month must be a price"));
  BOOST_TEST(has(with("0.3", "nan"), "copy_per_gb_month must be a price"));
  BOOST_TEST(has(with("= 2\n", "= \"2\"\n"), "class.GLACIER.get_per_1000 must be a price"));
  BOOST_TEST(
      has(with("copies = true", "copies = 1"), "class.GLACIER.copies must be true or false"));
  BOOST_TEST(has(with("tier.Bulk", "tier.Fast"), "class.GLACIER.tier.Fast must be one of"));
  BOOST_TEST(has(with("per_gb = 0.5, ", ""), "class.GLACIER.tier.Bulk.per_gb must be a price"));
  BOOST_TEST(has(with("transfer_per_gb = 0", "transfer_per_gb ="), "prices.toml (line "));
  const auto no_classes = parse_prices(good.substr(0, good.find("[class")), "p");
  BOOST_REQUIRE(!no_classes);
  BOOST_TEST(has(no_classes.error().text(), "[class.NAME] is missing"));
}

BOOST_AUTO_TEST_CASE(deleting_early_costs_the_days_that_remain_at_the_price_of_the_class) {
  constexpr double gb = 1024.0 * 1024 * 1024;
  std::map<std::string, bts3::planner::early_deletion> early;
  early["DEEP_ARCHIVE"] = {5, 1000 * gb * 60};  // 1000 GB for two months
  early["GLACIER"] = {1, 100 * gb * 30};
  const auto cost = estimate_early(built_in_prices(), early, "us-east-1", "");
  BOOST_TEST(cost.has_sum);
  BOOST_TEST(!cost.other_region);
  close(cost.classes.at("DEEP_ARCHIVE").value(), 1.98);
  close(cost.classes.at("GLACIER").value(), 0.36);
  close(cost.total().value(), 2.34);
  BOOST_TEST(cost.complete());
  BOOST_TEST(source_text(cost) == "Amazon S3 in us-east-1, 2026-06");
  // What has no price has none, not that of nothing.
  early["FROZEN"] = {1, gb};
  const auto lacking = estimate_early(built_in_prices(), early, "eu-central-1", "");
  BOOST_TEST(lacking.other_region);
  BOOST_TEST(!lacking.complete());
  BOOST_TEST(!lacking.classes.at("FROZEN").has_value());
  close(lacking.total().value(), 2.34);
  const auto elsewhere = estimate_early(built_in_prices(), early, "r", "http://127.0.0.1:9000");
  BOOST_TEST(!elsewhere.has_sum);
  BOOST_TEST(!elsewhere.total().has_value());
  BOOST_TEST(elsewhere.provider == "127.0.0.1");
}

BOOST_AUTO_TEST_CASE(the_minimum_times_are_the_ones_that_the_planner_has) {
  const auto days = minimum_days_of(built_in_prices(), "");
  BOOST_TEST(days.size() >= 6u);
  for (const auto& [name, time] : days) {
    BOOST_TEST(time.count() == bts3::planner::minimum_storage(name).count(), name);
  }
  BOOST_TEST(days.at("DEEP_ARCHIVE").count() == 180);
  // Of another provider nothing is known by this table.
  BOOST_TEST(minimum_days_of(built_in_prices(), "http://127.0.0.1:9000").empty());
}

BOOST_AUTO_TEST_CASE(a_table_may_have_prices_and_times_of_storing_or_not) {
  const auto without = parse_prices(own_table, "p");
  BOOST_REQUIRE_MESSAGE(without.has_value(), error_text(without));
  BOOST_TEST(!without->classes.at("GLACIER").store_per_gb_month.has_value());
  BOOST_TEST(minimum_days_of(*without, "https://s3.example.org").empty());
  const auto with =
      parse_prices(std::string(own_table) + "store_per_gb_month = 3\nminimum_days = 7\n", "p");
  BOOST_REQUIRE_MESSAGE(with.has_value(), error_text(with));
  close(with->classes.at("GLACIER").store_per_gb_month.value(), 3);
  BOOST_TEST(minimum_days_of(*with, "https://s3.example.org").at("GLACIER").count() == 7);
  for (const char* wrong : {"minimum_days = -1", "minimum_days = 0.5", "minimum_days = 3651",
                            "minimum_days = \"7d\""}) {
    const auto parsed = parse_prices(std::string(own_table) + wrong + "\n", "p");
    BOOST_REQUIRE(!parsed);
    BOOST_TEST(has(parsed.error().text(),
                   "class.GLACIER.minimum_days must be a number of days from 0 to 3650"));
  }
  const auto negative = parse_prices(std::string(own_table) + "store_per_gb_month = -1\n", "p");
  BOOST_REQUIRE(!negative);
  BOOST_TEST(has(negative.error().text(), "class.GLACIER.store_per_gb_month must be a price"));
}

BOOST_AUTO_TEST_CASE(demand_is_counted_from_chunks_and_what_must_be_thawed) {
  std::vector<located_chunk> chunks(2);
  for (located_chunk& chunk : chunks) {
    chunk.info.size = 10 * gib;
    chunk.info.stored_as = s3::storage_class("GLACIER");
  }
  chunks[0].record.part_size = gib;
  planned_thaw thaw;
  thaw.days = 7;
  thaw.tier = s3::retrieval_tier::bulk;
  thaw.classes["GLACIER"].found.to_request = 1;
  thaw.classes["GLACIER"].found.bytes_to_request = 10 * gib;
  const restore_demand demand = demand_of(chunks, thaw, 2 * gib);
  const class_demand& one = demand.classes.at("GLACIER");
  BOOST_TEST(one.requests == 2 + 10 + 5u);
  BOOST_TEST(one.bytes == 20 * gib);
  BOOST_TEST(one.to_thaw == 1u);
  BOOST_TEST(one.bytes_to_thaw == 10 * gib);
  BOOST_TEST(demand.tier == "Bulk");
  BOOST_TEST(demand.days == 7u);
}

BOOST_AUTO_TEST_CASE(json_has_the_numbers_and_says_what_is_not_known) {
  restore_demand demand = demand_for("STANDARD", all_of(10, 5, false));
  auto known = nlohmann::json::parse(cost_json_text(estimate_cost(built_in_prices(), demand)));
  BOOST_TEST(known["known"].get<bool>());
  close(known["total"].get<double>(), 0.9004);
  BOOST_TEST(known["prices"]["as_of"].get<std::string>() == "2026-06");
  demand.endpoint = "http://127.0.0.1:9000";
  auto unknown = nlohmann::json::parse(cost_json_text(estimate_cost(built_in_prices(), demand)));
  BOOST_TEST(!unknown["known"].get<bool>());
  BOOST_TEST(!unknown.contains("total"));
  BOOST_TEST(unknown["unknown"][0].get<std::string>() == "endpoint 127.0.0.1");
}

BOOST_AUTO_TEST_SUITE_END()
