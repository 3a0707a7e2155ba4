// Deleting old generations from a store that fails, refuses, is interrupted, or changes meanwhile.
#include "app/upkeep/prune_job.hh"

#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "app/records/run_lock.hh"
#include "app/records/state_store.hh"
#include "app/store/commands.hh"
#include "app/survey/inventory.hh"
#include "app/survey/unfinished.hh"
#include "app/upkeep/subvolume_verifier.hh"
#include "app/upkeep/verify_job.hh"
#include "engine/async_scope.hh"
#include "tests/app/survey/bucket_of_backups.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <set>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::bucket_of_backups;
using bts3::testing::error_text;
using bts3::testing::memory_store;

namespace {

const std::string place = "aws s3://b/p/subvol/data/";

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Three generations, of which one is kept unless told otherwise, an old orphan, a young one and an
// old upload.
struct scene : bucket_of_backups {
  std::vector<std::string> oldest = add_generation({400, 390, 380});
  std::vector<std::string> middle = add_generation({200, 190});
  std::vector<std::string> newest = add_generation({20, 13, 6});
  std::string old_orphan = keys.chunk(planner::backup_kind::full, ago(300), 7);
  std::string young_orphan = keys.chunk(planner::backup_kind::full, ago(3), 0);
  verify_record verified;
  subvolume_pruner::store_clock time;
  price_table prices = built_in_prices();

  scene() {
    settings.retention.keep_generations = 1;
    store.set_date(ago(300).rfc3339());
    store.put(old_orphan, "o");
    auto creating = store.create_multipart_upload(
        s3::object_key(keys.chunk(planner::backup_kind::full, ago(300), 8)), {}, {});
    BOOST_REQUIRE(loop->run(std::move(creating)).has_value());
    store.set_date(ago(3).rfc3339());
    store.put(young_orphan, "y");
    verify(verification_kind::quick, true);
    store.forget_calls();
  }

  [[nodiscard]] planner::timestamp ago(int days) const {
    return planner::timestamp(now.when() - std::chrono::days(days));
  }

  void verify(verification_kind kind, bool sound) {
    verified.subvolumes["data"].place = place;
    for (const std::string& full : {middle[0], newest[0]}) {
      verified.subvolumes["data"].links[full].by_kind[kind] = {now, sound, ""};
    }
  }

  // A whole run, as after a kill: nothing is left from the one before.
  pruned_subvolume run(bool acts = true) {
    auto in_the_making = backups_in_the_making(with);
    BOOST_REQUIRE_MESSAGE(in_the_making.has_value(), error_text(in_the_making));
    subvolume_pruner pruner(with, store, time, prices, "data");
    loop->run(pruner.look(*in_the_making, verified));
    outcome = engine::ok();
    if (acts && pruner.report().judged) {
      outcome = loop->run(pruner.act());
    }
    return std::move(pruner.report());
  }

  [[nodiscard]] std::set<std::string> restorable() {
    memory_store copy(*loop);
    inventory_request wanted("p", "data", manifest_bound::of_host({}), doubt::fails);
    auto found = loop->run(read_subvolume(*loop, store, std::move(wanted), {}));
    BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
    std::set<std::string> links;
    for (const planner::generation& one : planner::generations_of(take_judged_part(*found)).all) {
      for (const planner::chain_link& link : one.links) {
        if (link.restorable) {
          links.insert(link.key);
        }
      }
    }
    return links;
  }

  [[nodiscard]] bool there(const std::string& key) const { return store.find(key) != nullptr; }

  engine::result<void> outcome = engine::ok();
};

engine::error denied() {
  engine::error failure;
  failure.why = engine::reason::access;
  failure.status = 403;
  failure.code = "AccessDenied";
  failure.message = "DELETE: AccessDenied";
  return failure;
}

// Somebody else publishes once so many objects are deleted.
engine::task<void> publish_after(scene& made, std::size_t deletions) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (made.store.count("DeleteObject") < deletions &&
         std::chrono::steady_clock::now() < give_up) {
    auto yielding = made.loop->yield();
    co_await std::move(yielding);
  }
  made.point_at(made.newest[1]);
}

engine::task<engine::result<void>> act_beside(scene& made, subvolume_pruner& pruner,
                                              std::size_t deletions) {
  engine::async_scope scope(*made.loop);
  scope.spawn(publish_after(made, deletions));
  auto acting = pruner.act();
  auto acted = co_await std::move(acting);
  auto joining = scope.join();
  co_await std::move(joining);
  co_return acted;
}

// Of the pointer, the manifests and chunks of the last generation, and the young orphan.
std::size_t kept_objects(const scene& made) {
  return 1 + made.newest.size() * 3 + 1;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(prune_job_suite)

BOOST_AUTO_TEST_CASE(old_generations_orphans_and_uploads_go_and_the_rest_stays) {
  scene made;
  const pruned_subvolume looked = made.run(false);
  BOOST_REQUIRE(looked.judged);
  BOOST_TEST(made.store.count("DeleteObject") == 0U);
  BOOST_TEST(made.store.count("AbortMultipartUpload") == 0U);
  BOOST_TEST(looked.plan.removals.size() == 16U);

  const pruned_subvolume done = made.run();
  BOOST_REQUIRE_MESSAGE(made.outcome.has_value(), error_text(made.outcome));
  BOOST_TEST(done.deleted_objects == 16U);
  BOOST_TEST(done.deleted_bytes == done.plan.bytes());
  BOOST_TEST(done.aborted_uploads == 1U);
  BOOST_TEST(made.store.objects().size() == kept_objects(made));
  BOOST_TEST(made.store.uploads().empty());
  BOOST_TEST(made.there(made.young_orphan));
  BOOST_TEST((made.restorable() == std::set(made.newest.begin(), made.newest.end())));
  // The oldest first; children before parents; chunks, several at a time, after all manifests.
  std::vector<std::string> deleted;
  for (const auto& call : made.store.calls()) {
    if (call.verb == "DeleteObject") {
      deleted.push_back(call.key);
    }
  }
  BOOST_REQUIRE(deleted.size() == 16U);
  BOOST_TEST(deleted[0] == made.oldest[2]);
  BOOST_TEST(deleted[1] == made.oldest[1]);
  BOOST_TEST(deleted[2] == made.oldest[0]);
  BOOST_TEST(has(deleted[3], "/chunk-"));
  BOOST_TEST(deleted[9] == made.middle[1]);
  BOOST_TEST(deleted[15] == made.old_orphan);
  BOOST_TEST(made.store.in_flight_max() >= 6U);
  BOOST_TEST(made.store.in_flight_max() <= 8U);
  // And again: nothing.
  made.store.forget_calls();
  BOOST_TEST(made.run().plan.removals.empty());
  BOOST_TEST(made.store.count("DeleteObject") == 0U);
}

// A kill leaves the store as a failure at that step does.
BOOST_AUTO_TEST_CASE(whatever_step_fails_what_is_kept_is_restorable_and_a_rerun_ends_the_same) {
  scene whole;
  whole.settings.retention.keep_generations = 2;
  whole.run();
  const std::size_t steps = whole.store.steps();
  const auto end = whole.keys_in_store();
  BOOST_TEST(steps > 20U);
  for (const auto performed : {memory_store::performed::no, memory_store::performed::yes}) {
    for (std::size_t step = 1; step <= steps; ++step) {
      scene made;
      made.settings.retention.keep_generations = 2;
      const std::set<std::string> before = made.restorable();
      made.store.forget_calls();
      if (performed == memory_store::performed::no) {
        made.store.fail_from(step, memory_store::lost_connection());
      } else {
        made.store.fail_at(step, memory_store::lost_connection(), performed);
      }
      const pruned_subvolume failed = made.run();
      made.store.never_fail();
      BOOST_TEST_CONTEXT("step " << step) {
        BOOST_TEST(failed.failure.has_value());
        const std::set<std::string> left = made.restorable();
        for (const std::string& key : before) {
          // Nothing is half there: what has its manifest can be restored.
          BOOST_TEST((!made.there(key) || left.contains(key)), key);
        }
        for (const auto& kept : {made.middle, made.newest}) {
          for (const std::string& key : kept) {
            BOOST_TEST(left.contains(key), key);
          }
        }
        const pruned_subvolume again = made.run();
        BOOST_TEST(!again.failure.has_value());
        BOOST_TEST((made.keys_in_store() == end));
        BOOST_TEST(made.store.uploads().empty());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_manifest_that_may_not_be_deleted_keeps_what_it_needs) {
  // The second manifest of the oldest generation: its parent and all of their chunks stay.
  scene made;
  made.run(false);
  const std::size_t looking = made.store.steps();
  made.store.forget_calls();
  made.store.fail_at(looking + 3, denied());  // pointer, first manifest, second
  const std::size_t before = made.store.objects().size();
  const pruned_subvolume done = made.run();
  BOOST_REQUIRE_MESSAGE(made.outcome.has_value(), error_text(made.outcome));
  BOOST_REQUIRE(done.refused.size() == 1U);
  BOOST_TEST(done.refused[0].key == made.oldest[1]);
  BOOST_TEST(done.left == 7U);  // a manifest and six chunks
  BOOST_TEST(!made.there(made.oldest[2]));
  BOOST_TEST(
      (made.restorable() == std::set<std::string>{made.oldest[0], made.oldest[1], made.newest[0],
                                                  made.newest[1], made.newest[2]}));
  // The other generation and the orphan went all the same.
  BOOST_TEST(before - made.store.objects().size() == 1U + 6U + 1U);
  const std::string text = prune_as_text({done}, prune_mode::acted);
  BOOST_TEST(has(text, "refused: " + made.oldest[1]), text);
  BOOST_TEST(has(text, "stay with what was refused: 7 objects"), text);
}

BOOST_AUTO_TEST_CASE(a_chunk_that_may_not_be_deleted_stops_nothing_else) {
  scene made;
  made.run(false);
  const std::size_t looking = made.store.steps();
  made.store.forget_calls();
  made.store.fail_at(looking + 6, denied());  // pointer, three manifests, pointer, chunk
  const pruned_subvolume done = made.run();
  BOOST_REQUIRE(done.refused.size() == 1U);
  BOOST_TEST(has(done.refused[0].key, "/chunk-"));
  BOOST_TEST(done.deleted_objects == 15U);
  BOOST_TEST(done.left == 0U);
  // Credentials that are wrong altogether are another matter.
  scene wrong;
  engine::error unknown = denied();
  unknown.code = "InvalidAccessKeyId";
  wrong.store.fail_at(looking + 6, unknown);
  BOOST_TEST(wrong.run().failure.has_value());
}

BOOST_AUTO_TEST_CASE(a_pointer_that_moves_meanwhile_ends_it) {
  // Looked at, and then somebody else publishes.
  scene made;
  subvolume_pruner pruner(made.with, made.store, {}, made.prices, "data");
  made.loop->run(pruner.look({}, made.verified));
  made.point_at(made.newest[1]);
  const auto before = made.keys_in_store();
  BOOST_TEST(!made.loop->run(pruner.act()).has_value());
  BOOST_TEST(has(pruner.report().failure->text(), "has changed since it was looked at"));
  BOOST_TEST((made.keys_in_store() == before));
  // In the middle of the first generation: the second stays. Between its manifests and its chunks,
  // or so: those stay too.
  for (const std::size_t deletions : {5U, 2U}) {
    scene later;
    subvolume_pruner interrupted(later.with, later.store, {}, made.prices, "data");
    later.loop->run(interrupted.look({}, later.verified));
    BOOST_TEST(!later.loop->run(act_beside(later, interrupted, deletions)).has_value());
    BOOST_TEST(interrupted.report().deleted_objects == (deletions == 5 ? 9U : 3U));
    BOOST_TEST(later.there(later.middle[1]));
    BOOST_TEST(later.there(later.old_orphan));
    BOOST_TEST(later.store.uploads().size() == 1U);
  }
  // One that is gone is no better.
  scene lost;
  subvolume_pruner second(lost.with, lost.store, {}, made.prices, "data");
  lost.loop->run(second.look({}, lost.verified));
  lost.store.erase(lost.keys.pointer());
  BOOST_TEST(!lost.loop->run(second.act()).has_value());
  BOOST_TEST(second.report().deleted_objects == 0U);
}

BOOST_AUTO_TEST_CASE(nothing_goes_before_the_current_full_is_verified) {
  scene made;
  made.verified = {};
  const pruned_subvolume unknown = made.run();
  BOOST_TEST(has(unknown.plan.held_back, "has not been verified"), unknown.plan.held_back);
  BOOST_TEST(unknown.deleted_objects == 0U);
  BOOST_TEST(unknown.surplus(1) == 2U);
  made.verify(verification_kind::quick, false);
  BOOST_TEST(made.run().deleted_objects == 0U);
  // What was verified in another bucket says nothing of this one.
  made.verify(verification_kind::quick, true);
  made.verified.subvolumes["data"].place = "aws s3://other/p/subvol/data/";
  BOOST_TEST(made.run().deleted_objects == 0U);
  made.verify(verification_kind::deep, true);
  const pruned_subvolume done = made.run();
  BOOST_TEST(done.deleted_objects == 16U);
  BOOST_TEST(has(prune_as_text({done}, prune_mode::acted),
                 "full verified (deep on 2026-11-21T02:00:00Z)"));
}

BOOST_AUTO_TEST_CASE(backups_in_the_making_are_left_alone) {
  scene made;
  // Its chunk is the old orphan, its upload the old one; set aside, it counts as well.
  backup_intent intent;
  intent.subvolume = "data";
  intent.when = made.ago(300);
  intent.part_size = std::uint64_t{5} << 20;
  intent.chunk_size = std::uint64_t{50} << 20;
  const std::string path = journal_path(made.settings.global.state_path, "data", false);
  BOOST_REQUIRE(journal_file::begin(*made.loop, made.log, path, intent).has_value());
  pruned_subvolume done = made.run();
  BOOST_TEST(made.there(made.old_orphan));
  BOOST_TEST(made.store.uploads().size() == 1U);
  BOOST_TEST(done.plan.orphans_kept == 2U);
  BOOST_REQUIRE(set_journal_aside(path, made.now).has_value());
  made.run();
  BOOST_TEST(made.there(made.old_orphan));
  // One that cannot be read may protect anything.
  bucket_of_backups damaged;
  bts3::testing::write_file(journal_path(damaged.settings.global.state_path, "data", false),
                            "{\n{\n");
  const auto times = backups_in_the_making(damaged.with);
  BOOST_REQUIRE(!times.has_value());
  BOOST_TEST(has(times.error().text(), "run `btrfs_to_s3 backup`"), times.error().text());
}

BOOST_AUTO_TEST_CASE(what_prune_deletes_is_not_missed_afterwards) {
  scene made;
  const auto verify = [&made] {
    store_abilities abilities;
    subvolume_verifier verifier(made.with, made.store, abilities, {}, "data");
    BOOST_REQUIRE(made.loop->run(verifier.run()).has_value());
    return status_of({verifier.outcome()});
  };
  BOOST_TEST((verify() == exit_status::done));
  made.run();
  BOOST_TEST(!made.there(made.oldest[0]));
  BOOST_TEST((verify() == exit_status::done));
  const auto record = *read_verify_record(made.settings.global.state_path)->find("data", place);
  BOOST_TEST(!record.links.contains(made.oldest[0]));
  BOOST_TEST(record.pruned.size() == 5U);
  // Nor when it is interrupted before, or after, any deletion.
  scene killed;
  killed.run(false);
  const std::size_t looking = killed.store.steps();
  killed.store.forget_calls();
  killed.store.fail_from(looking + 4, memory_store::lost_connection());
  killed.run();
  killed.store.never_fail();
  BOOST_TEST(!killed.there(killed.oldest[2]));
  BOOST_TEST(!read_verify_record(killed.settings.global.state_path)
                  ->find("data", place)
                  ->missing_from(killed.store.objects())
                  .size());
}

BOOST_AUTO_TEST_CASE(snapshots_of_what_prune_deletes_are_known_for_published_ones) {
  scene made;
  made.run();
  const auto state = state_store(made.settings.global.state_path, made.clock, made.log).peek();
  BOOST_REQUIRE(state.has_value());
  const auto& known = state->subvolumes.at("data").pruned_snapshots;
  BOOST_TEST(known.size() == 5U);
  BOOST_TEST(
      (std::find(known.begin(), known.end(), "data__" + made.ago(400).compact()) != known.end()));
  made.run();
  BOOST_TEST(state_store(made.settings.global.state_path, made.clock, made.log)
                 .peek()
                 ->subvolumes.at("data")
                 .pruned_snapshots.size() == 5U);
}

// A manifest may be damaged, or planted: what it names is not its own for that.
BOOST_AUTO_TEST_CASE(a_planted_manifest_makes_nothing_go_but_its_own_chunks) {
  scene made;
  const std::string notes = made.keys.root() + "full/notes.txt";
  made.store.put(notes, "mine");
  planner::manifest planted = *planner::parse_manifest(made.store.find(made.oldest[0])->body);
  for (const std::string& key : {notes, made.keys.pointer(), made.middle[1], made.newest[0]}) {
    planner::chunk_record chunk;
    chunk.sha256 = planted.chunks.front().sha256;
    chunk.key = key;
    chunk.size = made.store.find(key)->body.size();
    planted.total_bytes += chunk.size;
    planted.chunks.push_back(std::move(chunk));
  }
  made.store.put(made.oldest[0], planner::write_manifest(planted));
  const pruned_subvolume done = made.run();
  BOOST_REQUIRE_MESSAGE(made.outcome.has_value(), error_text(made.outcome));
  BOOST_TEST(done.deleted_objects == 16U);
  BOOST_TEST(made.there(notes));
  BOOST_TEST(made.there(made.keys.pointer()));
  BOOST_TEST((made.restorable() == std::set(made.newest.begin(), made.newest.end())));
}

// The store lost sight of a manifest, and may find it again: its chunks are no orphans.
BOOST_AUTO_TEST_CASE(chunks_of_a_manifest_that_is_listed_and_cannot_be_got_stay) {
  scene made;
  made.settings.retention.keep_generations = 3;
  made.store.judge_by([&](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    return call.key == made.oldest[2] && call.verb == "GetObject"
               ? std::optional(memory_store::absent(call.key))
               : std::nullopt;
  });
  const auto before = made.keys_in_store();
  const pruned_subvolume done = made.run();
  BOOST_REQUIRE_MESSAGE(made.outcome.has_value(), error_text(made.outcome));
  BOOST_TEST(done.deleted_objects == 0U);
  BOOST_TEST((made.keys_in_store() == before));
  BOOST_REQUIRE(done.plan.lost.size() == 1U);
  BOOST_TEST(done.plan.lost[0].key == made.oldest[2]);
}

BOOST_AUTO_TEST_CASE(the_earlier_clock_counts) {
  // Ours is a year ahead: by the store's, the young orphan is young.
  scene made;
  made.clock.time += std::chrono::days(365);
  made.time = [&] { return std::optional(std::chrono::system_clock::time_point(made.now.when())); };
  made.run();
  BOOST_TEST(made.there(made.young_orphan));
  // The store's Date is a year ahead, a proxy's perhaps: ours counts.
  scene ahead;
  ahead.time = [&] { return std::optional(ahead.clock.now() + std::chrono::days(365)); };
  ahead.run();
  BOOST_TEST(ahead.there(ahead.young_orphan));
  BOOST_TEST(!ahead.there(ahead.old_orphan));
}

BOOST_AUTO_TEST_CASE(a_stop_ends_it_between_two_deletions) {
  scene made;
  subvolume_pruner pruner(made.with, made.store, {}, made.prices, "data");
  made.loop->run(pruner.look({}, made.verified));
  made.stop.request_stop();
  const auto before = made.keys_in_store();
  const auto stopped = made.loop->run(pruner.act());
  BOOST_REQUIRE(!stopped.has_value());
  BOOST_TEST((stopped.error().what_now == engine::disposition::cancelled));
  BOOST_TEST(!pruner.report().failure.has_value());
  BOOST_TEST((made.keys_in_store() == before));
}

BOOST_AUTO_TEST_CASE(uploads_that_may_not_be_listed_are_left_alone) {
  scene made;
  made.store.fail_at(2, denied());
  const pruned_subvolume done = made.run();
  BOOST_TEST(done.deleted_objects == 16U);
  BOOST_TEST(made.store.uploads().size() == 1U);
  BOOST_TEST(has(prune_as_text({done}, prune_mode::acted), "unfinished uploads are not known: "));
}

BOOST_AUTO_TEST_CASE(only_prune_yes_takes_the_lock) {
  scene made;
  auto held = run_lock::acquire(made.settings.global.lock_path);
  BOOST_REQUIRE(held.has_value());
  prune_command command;
  command.yes = true;
  const auto status = made.loop->run(run_command(made.with, command));
  BOOST_REQUIRE(!status.has_value());
  BOOST_TEST((status_of(status.error()) == exit_status::lock_held));
  // A dry run gets as far as the store, which is nowhere.
  made.settings.s3.endpoint_url = "nowhere";
  command.yes = false;
  const auto looked = made.loop->run(run_command(made.with, command));
  BOOST_REQUIRE(!looked.has_value());
  BOOST_TEST((status_of(looked.error()) == exit_status::usage));
}

// As if the oldest chunks had been moved into other classes: they keep the dates of the store.
BOOST_AUTO_TEST_CASE(deleting_before_the_minimum_time_is_shown_as_money) {
  scene made;
  made.settings.s3.region = "us-east-1";
  const auto spoil = [&made](int days_ago, std::uint32_t index, const std::string& stored_as) {
    const std::string key = made.keys.chunk(
        days_ago == 400 ? planner::backup_kind::full : planner::backup_kind::incremental,
        made.ago(days_ago), index);
    const auto before = *made.store.find(key);
    made.store.set_date(made.ago(10).rfc3339());
    made.store.put(key, before.body, stored_as);
  };
  spoil(400, 0, "DEEP_ARCHIVE");
  spoil(390, 0, "GLACIER");
  made.prices.classes["DEEP_ARCHIVE"].store_per_gb_month = 1e6;
  made.prices.classes["GLACIER"].store_per_gb_month = 2e6;
  const pruned_subvolume priced = made.run(false);
  const double deep = priced.plan.early.at("DEEP_ARCHIVE").byte_days / (1024.0 * 1024 * 1024);
  const double glacier = priced.plan.early.at("GLACIER").byte_days / (1024.0 * 1024 * 1024);
  const std::string each = money_text(deep / 30 * 1e6, "USD");
  const std::string sum = money_text(deep / 30 * 1e6 + glacier / 30 * 2e6, "USD");
  const std::string text = prune_as_text({priced}, prune_mode::shown);
  BOOST_TEST(has(text, "before the minimum storage time: DEEP_ARCHIVE: 1 object, "), text);
  BOOST_TEST(has(text, "GB-days remain to be paid, about " + each + "\n"), text);
  BOOST_TEST(has(text, "    about " + sum + " in all, an estimate by the prices of Amazon S3 in " +
                           "us-east-1, 2026-06"),
             text);
  bts3::testing::check_golden("prune_early.json", prune_as_json({priced}, false));
  const auto json = nlohmann::json::parse(prune_as_json({priced}, false)).at("subvolumes").at(0);
  BOOST_TEST(json.at("early_deletions").size() == 2u);
  BOOST_TEST(json.at("money").at("complete").get<bool>());
  BOOST_TEST(json.at("money").at("prices").at("as_of") == "2026-06");

  // A table of another region, which lacks one class and says of another that it is free to go.
  made.settings.s3.region = "eu-central-1";
  made.prices.classes["DEEP_ARCHIVE"].store_per_gb_month.reset();
  const std::string lacking = prune_as_text({made.run(false)}, prune_mode::shown);
  BOOST_TEST(has(lacking, "remain to be paid; the price table has no price for storing this class"),
             lacking);
  BOOST_TEST(has(lacking, "    not known for eu-central-1; in us-east-1 at least "), lacking);
  made.prices.classes["GLACIER"].minimum_days = std::chrono::days(5);
  const pruned_subvolume unpriced = made.run(false);
  const std::string none = prune_as_text({unpriced}, prune_mode::shown);
  BOOST_TEST(!has(none, "GLACIER: "), none);
  BOOST_TEST(!has(none, "0.00"), none);
  BOOST_TEST(has(none, "    by the prices of Amazon S3 in us-east-1, 2026-06\n"), none);
  const auto null = nlohmann::json::parse(prune_as_json({unpriced}, false)).at("subvolumes").at(0);
  BOOST_TEST(null.at("early_deletions").at(0).at("cost").is_null());
  BOOST_TEST(null.at("money").is_null());

  made.settings.s3.endpoint_url = "http://127.0.0.1:9000";
  made.verified.subvolumes["data"].place = "http://127.0.0.1:9000 s3://b/p/subvol/data/";
  const std::string elsewhere = prune_as_text({made.run(false)}, prune_mode::shown);
  BOOST_TEST(has(elsewhere,
                 "in money not known: the price table is of Amazon S3 in us-east-1, "
                 "2026-06, and not of 127.0.0.1"),
             elsewhere);
}

BOOST_AUTO_TEST_CASE(a_price_table_that_makes_no_sense_ends_prune_before_anything) {
  scene made;
  made.settings.restore.price_table = made.directory / "absent.toml";
  made.settings.subvolumes.resize(1);
  made.settings.subvolumes[0].name = "data";
  const auto pruned = made.loop->run(run_command(made.with, prune_command()));
  BOOST_REQUIRE(!pruned.has_value());
  BOOST_TEST((status_of(pruned.error()) == exit_status::usage));
  BOOST_TEST(has(pruned.error().text(), "restore.price_table = "));
}

BOOST_AUTO_TEST_CASE(the_report_is_json_too) {
  scene made;
  pruned_subvolume broken;
  broken.name = "home";
  broken.failure = denied();
  const pruned_subvolume looked = made.run(false);
  const auto json = nlohmann::json::parse(prune_as_json({looked, broken}, false));
  pruned_subvolume done = looked;
  done.acted = true;
  done.deleted_objects = 2;
  done.refused = {{"p/k", "AccessDenied"}};
  done.uploads_problem = "not allowed";
  done.plan.lost = {{"p/lost", "its parent is gone"}};
  bts3::testing::check_golden(
      "prune.json",
      prune_as_json({done, broken}, true,
                    {{"old", "/srv/snapshots/old__20250101T000000Z__full", false, "busy"}}));
  BOOST_TEST(json.at("version") == 1);
  BOOST_TEST(!json.at("acted").get<bool>());
  const auto& one = json.at("subvolumes").at(0);
  BOOST_TEST(one.at("generations").size() == 3U);
  BOOST_TEST(one.at("generations").at(0).at("reason") == "current");
  BOOST_TEST(one.at("generations").at(2).at("full_manifest_key") == made.oldest[0]);
  BOOST_TEST(one.at("removals").at(0).at("key") == made.oldest[2]);
  BOOST_TEST(one.at("removals").at(15).at("full_manifest_key").is_null());
  BOOST_TEST(one.at("uploads").size() == 1U);
  BOOST_TEST(one.at("held_back").is_null());
  BOOST_TEST(one.at("full_verified").at("kind") == "quick");
  BOOST_TEST(has(json.at("subvolumes").at(1).at("error").get<std::string>(), "AccessDenied"));
}

BOOST_AUTO_TEST_SUITE_END()
