// What verify makes of the index of a backup: a difference where it is not as recorded, never
// damage.
#include "app/indexes/index_check.hh"

#include "app/upkeep/subvolume_verifier.hh"
#include "tests/app/survey/bucket_of_backups.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <string>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::bucket_of_backups;
using bts3::testing::error_text;
using bts3::testing::memory_store;

namespace {

// A full with an index of more than two pieces.
struct scene : bucket_of_backups {
  scene() {
    auto value = planner::parse_manifest(store.find(full)->body);
    BOOST_REQUIRE(value.has_value());
    value->index.emplace();
    value->index->key = index;
    value->index->size = body.size();
    engine::sha256_hasher hasher;
    hasher.update(testing::bytes_of(body));
    value->index->sha256 = hasher.digest().hex();
    store.put(full, planner::write_manifest(*value));
    store.put(index, body);
  }

  verify_outcome verify(verify_depth depth) {
    verify_command command;
    command.depth = depth;
    store_abilities abilities;
    subvolume_verifier verifier(with, store, abilities, command, "data");
    const auto ran = loop->run(verifier.run());
    BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
    return std::move(verifier.outcome());
  }
  // What is found of the one backup, which is never damaged.
  std::string finding(verify_depth depth) {
    const verify_outcome found = verify(depth);
    BOOST_REQUIRE(found.backups.size() == 1U);
    const verified_backup& one = found.backups.front();
    BOOST_TEST(!one.damaged());
    BOOST_TEST(one.restorable);
    BOOST_REQUIRE(one.findings.size() < 2U);
    BOOST_TEST(found.differs() == !one.findings.empty());
    return one.findings.empty() ? ""
                                : one.findings.front().key + ": " + one.findings.front().problem;
  }

  std::string full = add_generation({20}).front();
  std::string index =
      planner::index_key(keys.root(), planner::backup_kind::full,
                         planner::timestamp(now.when() - std::chrono::days(20)), "0badcafe", false);
  std::string body = testing::stream_of((std::size_t{2} << 20) + 5, 9);
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(index_check_suite, scene)

BOOST_AUTO_TEST_CASE(an_index_as_recorded_is_right_and_read_by_deep_alone) {
  BOOST_TEST(finding(verify_depth::quick) == "");
  store.forget_calls();
  BOOST_TEST(verify(verify_depth::quick).bytes_read == 0U);
  for (const memory_store::recorded_call& call : store.calls()) {
    BOOST_TEST(call.key != index);
  }
  BOOST_TEST(finding(verify_depth::deep) == "");
  BOOST_TEST(verify(verify_depth::deep).bytes_read > body.size());
}

BOOST_AUTO_TEST_CASE(an_index_that_is_missing_cut_or_changed_is_told) {
  flip(index, body.size() - 1);
  BOOST_TEST(finding(verify_depth::quick) == "");
  BOOST_TEST(finding(verify_depth::deep) == index + ": the index is not what the manifest says");
  store.put(index, body.substr(1));
  for (const auto depth : {verify_depth::quick, verify_depth::deep}) {
    BOOST_TEST(finding(depth) == index + ": the index has " + std::to_string(body.size() - 1) +
                                     " bytes, and the manifest says " +
                                     std::to_string(body.size()));
  }
  store.erase(index);
  for (const auto depth : {verify_depth::quick, verify_depth::deep}) {
    BOOST_TEST(finding(depth) == index + ": the index is missing");
  }
}

BOOST_AUTO_TEST_CASE(in_a_copy_of_the_bucket_its_copy_is_looked_at) {
  copy_to("elsewhere");
  store.erase(index);
  settings.s3.prefix = "elsewhere";
  BOOST_TEST(finding(verify_depth::quick) == "");
  BOOST_TEST(finding(verify_depth::deep) == "");
}

BOOST_AUTO_TEST_CASE(a_store_that_does_not_give_it_is_no_difference_of_it) {
  store.judge_by([this](const memory_store::recorded_call& call) {
    return call.verb == "GetObject" && call.key == index
               ? std::optional(memory_store::denied(call.key))
               : std::nullopt;
  });
  const verify_outcome found = verify(verify_depth::deep);
  BOOST_REQUIRE(found.backups.size() == 1U);
  BOOST_TEST(found.backups.front().findings.empty());
  BOOST_REQUIRE(found.backups.front().unknown.has_value());
  BOOST_TEST(found.backups.front().unknown->message.find(index) != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
