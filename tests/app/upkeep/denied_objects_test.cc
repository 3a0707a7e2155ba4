// What a listing shows and a request denies, as verify and prune see it: one false answer is no
// difference, and a store that contradicts itself is told so.
#include "app/upkeep/prune_job.hh"
#include "app/upkeep/subvolume_verifier.hh"
#include "tests/app/survey/bucket_of_backups.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::bucket_of_backups;
using bts3::testing::error_text;
using bts3::testing::memory_store;
using bts3::testing::memory_store_options;
using bts3::testing::telling;

namespace {

const std::string words = "is listed, but the store says that it does not exist";

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct scene : bucket_of_backups {
  explicit scene(memory_store_options options = {}) : bucket_of_backups(options) {}
  std::vector<std::string> chain = add_generation({20, 13, 6});
  std::string chunk = keys.chunk(planner::backup_kind::incremental,
                                 planner::timestamp(now.when() - std::chrono::days(13)), 1);

  verify_outcome verify(verify_depth depth) {
    verify_command command;
    command.depth = depth;
    command.sample_parts = 1000;
    store_abilities abilities;
    subvolume_verifier verifier(with, store, abilities, command, "data");
    const auto ran = loop->run(verifier.run());
    BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
    return std::move(verifier.outcome());
  }

  // So many answers to `verb` at `key` are a 404.
  void deny(const std::string& verb, const std::string& key, int times) {
    store.judge_by([verb, key, left = times](const memory_store::recorded_call& call) mutable
                       -> std::optional<engine::error> {
      const bool denied = call.verb == verb && call.key == key && left > 0;
      left -= denied ? 1 : 0;
      return denied ? std::optional(memory_store::absent(call.key)) : std::nullopt;
    });
  }
};

std::string problems(const verify_outcome& found) {
  std::string text;
  for (const verified_backup& one : found.backups) {
    for (const verify_finding& finding : one.findings) {
      text += finding.key + ": " + finding.problem + "\n";
    }
  }
  return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(denied_objects_suite)

BOOST_AUTO_TEST_CASE(a_pointer_that_was_denied_once_is_no_difference) {
  scene made;
  made.deny("GetObject", made.keys.pointer(), 1);
  const verify_outcome found = made.verify(verify_depth::quick);
  BOOST_TEST(found.pointer_problem == "");
  BOOST_TEST(!found.differs());

  made.deny("GetObject", made.keys.pointer(), 100);
  BOOST_TEST(made.verify(verify_depth::quick).pointer_problem ==
             "pointer " + made.keys.pointer() + ": it " + words);
}

BOOST_AUTO_TEST_CASE(a_chunk_that_is_denied_is_not_called_missing_where_it_is_listed) {
  for (const auto depth : {verify_depth::deep, verify_depth::sample}) {
    scene made;
    made.deny("HeadObject", made.chunk, 100);
    const std::string found = problems(made.verify(depth));
    BOOST_TEST(has(found, "chunk " + made.chunk + " of manifest " + made.chain[1] + " " + words),
               found);
  }
  scene made(telling());
  made.deny("GetObjectAttributes", made.chunk, 100);
  const std::string found = problems(made.verify(verify_depth::quick));
  BOOST_TEST(has(found, made.chunk + ": " + words), found);
  BOOST_TEST(made.store.count("ListObjectsV2") == 2U);

  // One that is deleted meanwhile is.
  scene deleted(telling());
  deleted.store.judge_by(
      [&deleted](const memory_store::recorded_call& call) -> std::optional<engine::error> {
        if (call.verb == "GetObjectAttributes" && call.key == deleted.chunk) {
          deleted.store.erase(deleted.chunk);
        }
        return std::nullopt;
      });
  const std::string gone = problems(deleted.verify(verify_depth::quick));
  BOOST_TEST(has(gone, deleted.chunk + ": missing"), gone);
}

BOOST_AUTO_TEST_CASE(prune_holds_everything_while_its_pointer_is_denied) {
  scene made;
  made.settings.retention.keep_generations = 1;
  made.deny("GetObject", made.keys.pointer(), 100);
  const price_table prices = built_in_prices();
  subvolume_pruner pruner(made.with, made.store, {}, prices, "data");
  made.loop->run(pruner.look({}, verify_record()));
  BOOST_REQUIRE(pruner.report().judged);
  BOOST_TEST(has(pruner.report().plan.held_back, "current.json: it " + words),
             pruner.report().plan.held_back);
  BOOST_TEST(pruner.report().plan.removals.empty());
}

BOOST_AUTO_TEST_SUITE_END()
