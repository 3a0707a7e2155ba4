// What is missing, cut, changed or archived in a bucket; what is then still restorable.
#include "app/upkeep/verify_job.hh"

#include "tests/app/upkeep/verified_chain.hh"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::error_text;
using bts3::testing::has;
using bts3::testing::memory_store;
using bts3::testing::memory_store_options;
using bts3::testing::problems;
using bts3::testing::restorable;
using bts3::testing::telling;
using scene = bts3::testing::verified_chain;

BOOST_AUTO_TEST_SUITE(verify_job_suite)

BOOST_AUTO_TEST_CASE(a_sound_bucket_is_told_so_and_remembered) {
  scene made;
  for (const auto depth : {verify_depth::quick, verify_depth::sample, verify_depth::deep}) {
    made.store.forget_calls();
    const verify_outcome found = made.verify(depth, 1000);
    BOOST_TEST(!found.failure.has_value());
    BOOST_TEST(!found.differs());
    BOOST_TEST(problems(found).empty(), problems(found));
    BOOST_TEST((status_of({found}) == exit_status::done));
    BOOST_TEST(found.backups.size() == 3U);
    for (const std::string& key : made.chain) {
      const auto proof = made.proof(key);
      BOOST_REQUIRE(proof.has_value());
      BOOST_TEST(std::string(to_string(proof->kind)) ==
                 std::string(depth == verify_depth::quick    ? "quick"
                             : depth == verify_depth::sample ? "sample"
                                                             : "deep"));
    }
    BOOST_TEST(made.store.count("PutObject") == 0U);
  }
  // Nothing but the pointer, the listing and the manifests, and one question that is not answered.
  made.store.forget_calls();
  const verify_outcome quick = made.verify(verify_depth::quick);
  BOOST_TEST(made.store.count("ListObjectsV2") == 1U);
  BOOST_TEST(made.store.count("HeadObject") == 0U);
  BOOST_TEST(made.store.count("GetObjectAttributes") == 1U);
  BOOST_TEST(made.store.count("GetObject") == 5U);  // with the manifest of the question
  const std::string text = verify_as_text({quick}, {}, made.store.steps());
  BOOST_TEST(has(text, "data: 3 backups, 9 objects"), text);
  BOOST_TEST(has(text, "every object is there, with its size and storage class"), text);
  BOOST_TEST(has(text, "not compared"), text);
  BOOST_TEST(has(text, "7 requests"), text);
}

BOOST_AUTO_TEST_CASE(a_manifest_that_is_another_at_each_reading_is_told_and_aborts_nothing) {
  for (const auto depth : {verify_depth::sample, verify_depth::deep}) {
    for (const bool shorter : {true, false}) {
      scene made;
      unsigned readings = 0;
      made.store.judge_by([&](const memory_store::recorded_call& call) {
        if (call.verb == "GetObject" && call.key == made.chain[0] && ++readings == 2) {
          auto value = planner::parse_manifest(made.store.find(call.key)->body);
          BOOST_REQUIRE(value.has_value());
          planner::chunk_record& last = value->chunks.back();
          if (shorter) {
            value->total_bytes -= last.size;
            value->chunks.pop_back();
          } else {
            last.part_size.reset();
            last.drop_parts();
          }
          made.store.put(call.key, planner::write_manifest(*value));
        }
        return std::optional<engine::error>();
      });
      verify_command command;
      command.depth = depth;
      command.sample_parts = 1000;
      store_abilities abilities;
      subvolume_verifier verifier(made.with, made.store, abilities, command, "data");
      const auto ran = made.loop->run(verifier.run());
      BOOST_TEST(readings >= 2U);
      const std::string said =
          ran ? problems(verifier.outcome()) +
                    (verifier.outcome().failure ? verifier.outcome().failure->text() : "")
              : ran.error().text();
      BOOST_TEST(has(said, "changed while it was verified"), said);
    }
  }
}

BOOST_AUTO_TEST_CASE(quick_finds_what_is_missing_cut_or_in_another_class) {
  scene missing;
  missing.store.erase(missing.chunk(13, 1));
  const verify_outcome without = missing.verify(verify_depth::quick);
  BOOST_TEST(problems(without) == missing.chunk(13, 1) + ": missing\n");
  BOOST_TEST((restorable(without) == std::vector<bool>{true, false, false}));
  BOOST_TEST((status_of({without}) == exit_status::verification));
  BOOST_TEST(missing.proof(missing.chain[0]).has_value());
  BOOST_TEST(!missing.proof(missing.chain[1]).has_value());
  BOOST_TEST(missing.proof(missing.chain[2]).has_value());  // its own objects are right
  const std::string text = verify_as_text({without}, {}, 1);
  BOOST_TEST(has(text, missing.chain[1] + ": damaged"), text);
  BOOST_TEST(has(text, missing.chain[2] + ": is sound, and rests on a damaged backup"), text);
  BOOST_TEST(has(text, "can still be restored: 1 of 3 backups"), text);
  BOOST_TEST(has(text, "--manifest-key " + missing.chain[0]), text);

  scene cut;
  const std::string body = cut.store.find(cut.chunk(6, 0))->body;
  cut.store.put(cut.chunk(6, 0), body.substr(1), "STANDARD");
  BOOST_TEST(has(problems(cut.verify(verify_depth::quick)), "bytes instead of"));

  // Moved by a lifecycle rule: told, and no damage.
  scene moved;
  moved.store.put(moved.chunk(20, 0), moved.store.find(moved.chunk(20, 0))->body, "GLACIER");
  const verify_outcome other = moved.verify(verify_depth::quick);
  BOOST_TEST(has(problems(other), "is stored as GLACIER instead of STANDARD"));
  BOOST_TEST((restorable(other) == std::vector<bool>{true, true, true}));
  BOOST_TEST((status_of({other}) == exit_status::verification));
  BOOST_TEST(moved.proof(moved.chain[0]).has_value());
}

BOOST_AUTO_TEST_CASE(the_stores_checksums_are_compared_where_it_tells_them) {
  scene made(telling());
  const verify_outcome sound = made.verify(verify_depth::quick);
  BOOST_TEST(problems(sound).empty(), problems(sound));
  BOOST_TEST(sound.checksums == 6U);
  BOOST_TEST(sound.no_checksums.empty());
  made.store.set_part_crc32(made.chunk(13, 0), {1, 2, 3});
  const verify_outcome found = made.verify(verify_depth::quick);
  BOOST_TEST(problems(found) ==
             made.chunk(13, 0) + ": the store's checksum of it is not the recorded one\n");
  // A copy made in other parts has another checksum, and tells nothing.
  made.store.set_part_crc32(made.chunk(13, 0), {1, 2});
  const verify_outcome copied = made.verify(verify_depth::quick);
  BOOST_TEST(problems(copied).empty());
  BOOST_TEST(copied.checksums == 5U);
}

BOOST_AUTO_TEST_CASE(deep_finds_one_flipped_byte_in_every_part_of_every_link) {
  std::size_t flips = 0;
  for (const int age : {20, 13, 6}) {
    for (std::uint32_t index = 0; index < 2; ++index) {
      const std::size_t size = scene().store.find(scene().chunk(age, index))->body.size();
      std::set<std::size_t> places;
      for (std::size_t at = 0; at < size; at += scene::part_bytes) {
        places.insert(at);
        places.insert(std::min(at + scene::part_bytes, size) - 1);
      }
      for (const std::size_t at : places) {
        scene made;
        made.flip(made.chunk(age, index), at);
        const verify_outcome found = made.verify(verify_depth::deep);
        const std::size_t link = age == 20 ? 0 : age == 13 ? 1 : 2;
        BOOST_TEST_CONTEXT(made.chunk(age, index) << " byte " << at) {
          BOOST_TEST(has(problems(found), made.chunk(age, index)), problems(found));
          BOOST_TEST(
              has(problems(found), "part " + std::to_string(at / scene::part_bytes + 1) + " "));
          for (std::size_t i = 0; i < 3; ++i) {
            BOOST_TEST(found.backups[i].restorable == (i < link));
            BOOST_TEST(made.proof(made.chain[i]).has_value() == (i != link));
          }
          BOOST_TEST((status_of({found}) == exit_status::verification));
        }
        ++flips;
      }
    }
  }
  BOOST_TEST(flips > 30U);
}

BOOST_AUTO_TEST_CASE(of_a_copy_beside_its_original_the_copy_is_read) {
  for (const auto depth : {verify_depth::sample, verify_depth::deep}) {
    scene made;
    const std::string original = made.chunk(13, 1);
    const std::string copy = "copied" + original.substr(1);
    made.copy_to("copied");
    made.settings.s3.prefix = "copied";
    made.flip(copy, 5);
    made.store.forget_calls();
    const verify_outcome found = made.verify(depth, 1000);
    BOOST_TEST(has(problems(found), copy), problems(found));
    BOOST_TEST((restorable(found) == std::vector<bool>{true, false, false}));
    for (const auto& call : made.store.calls()) {
      BOOST_TEST(call.key.starts_with("copied/"), call.key);
    }
    // And the other way round: what is wrong with the original is not the copy's.
    made.settings.s3.prefix = "p";
    BOOST_TEST(!made.verify(depth, 1000).differs());
    made.flip(copy, 5);
    made.flip(original, 5);
    BOOST_TEST(made.verify(depth, 1000).differs());
    made.settings.s3.prefix = "copied";
    BOOST_TEST(!made.verify(depth, 1000).differs());
    // A chunk that the copy lacks is not taken from there.
    made.flip(original, 5);
    made.store.erase(copy);
    BOOST_TEST(problems(made.verify(depth, 1000)) == copy + ": missing\n");
  }
}

BOOST_AUTO_TEST_CASE(chunks_without_part_states_are_verified_whole) {
  scene made;
  const std::string old =
      made.add(planner::backup_kind::full, 100, {}, 2, false);  // larger than a slot
  made.settings.s3.part_size_bytes = 64;
  BOOST_TEST(!made.verify(verify_depth::deep).differs());
  BOOST_TEST(!made.verify(verify_depth::sample, 100).differs());
  const std::string chunk = made.keys.chunk(
      planner::backup_kind::full, planner::timestamp(made.now.when() - std::chrono::days(100)), 1);
  made.flip(chunk, 20);
  BOOST_TEST(has(problems(made.verify(verify_depth::sample, 100)), chunk));
  BOOST_TEST(has(problems(made.verify(verify_depth::deep)), chunk));
  made.settings.s3.part_size_bytes = 4096;  // fits
  const verify_outcome found = made.verify(verify_depth::sample, 100);
  BOOST_TEST(has(problems(found), chunk), problems(found));
}

// Each run reads other parts, until all have been read; then from the beginning.
BOOST_AUTO_TEST_CASE(samples_cover_everything_in_time) {
  scene made;
  const std::uint64_t parts = made.verify(verify_depth::sample, 4).parts;
  BOOST_TEST(parts == 18U);
  BOOST_TEST(!made.proof(made.chain[0]).has_value());
  BOOST_TEST(made.verify(verify_depth::sample, 4).parts_read == 4U);
  // Six parts of the full have been read.
  const auto full = made.proof(made.chain[0]);
  BOOST_REQUIRE(full.has_value());
  BOOST_TEST((full->kind == verification_kind::sample));
  BOOST_TEST(!made.proof(made.chain[1]).has_value());
  for (int run = 0; run < 3; ++run) {
    made.verify(verify_depth::sample, 4);
  }
  BOOST_TEST(made.proof(made.chain[2]).has_value());
  // Wherever a byte is flipped, five runs of four find it.
  for (const int age : {20, 13, 6}) {
    scene spoiled;
    spoiled.verify(verify_depth::sample, 7);
    spoiled.flip(spoiled.chunk(age, 1), 200);
    bool found = false;
    for (int run = 0; run < 5 && !found; ++run) {
      found = spoiled.verify(verify_depth::sample, 4).differs();
    }
    BOOST_TEST(found);
  }
  // More than there is: everything, once.
  BOOST_TEST(scene().verify(verify_depth::sample, 1000).parts_read == 18U);
}

BOOST_AUTO_TEST_CASE(archived_backups_are_named_and_not_read) {
  bts3::testing::fixed_clock clock(bts3::testing::reference_time);
  memory_store_options options;
  options.clock = &clock;
  scene made(options);
  made.store.put(made.chunk(13, 0), made.store.find(made.chunk(13, 0))->body, "DEEP_ARCHIVE");
  const verify_outcome found = made.verify(verify_depth::deep);
  BOOST_TEST(has(found.backups[1].archived, "1 of 2 objects are archived (DEEP_ARCHIVE)"));
  BOOST_TEST(found.backups[0].archived.empty());
  BOOST_TEST(made.proof(made.chain[0]).has_value());
  BOOST_TEST(!made.proof(made.chain[1]).has_value());
  BOOST_TEST(made.proof(made.chain[2]).has_value());
  const std::string text = verify_as_text({found}, {}, 1);
  BOOST_TEST(has(text, "btrfs_to_s3 thaw --subvolume data --manifest-key " + made.chain[1]), text);
  // The other class is told; where that is what was recorded, it is only not ready.
  BOOST_TEST((status_of({found}) == exit_status::verification));
  verify_outcome only = found;
  only.backups[1].findings.clear();
  BOOST_TEST((status_of({only}) == exit_status::not_thawed));
  BOOST_TEST(
      (made.verify(verify_depth::sample, 100).backups[1].archived == found.backups[1].archived));
}

BOOST_AUTO_TEST_CASE(one_chain_can_be_verified_alone) {
  scene made;
  made.store.erase(made.chunk(6, 0));
  const verify_outcome found = made.verify(verify_depth::quick, 0, made.chain[1]);
  BOOST_TEST(found.backups.size() == 2U);
  BOOST_TEST(!found.differs());
  const verify_outcome unknown = made.verify(verify_depth::quick, 0, "p/none");
  BOOST_REQUIRE(unknown.failure.has_value());
  BOOST_TEST(has(unknown.failure->text(), "correct --manifest-key"));
}

BOOST_AUTO_TEST_CASE(a_store_that_does_not_answer_proves_nothing) {
  for (const auto depth : {verify_depth::quick, verify_depth::sample, verify_depth::deep}) {
    scene sound(telling());
    sound.verify(depth, 1000);
    const std::size_t steps = sound.store.steps();
    for (std::size_t step = 1; step <= steps; ++step) {
      scene made(telling());
      made.store.fail_from(step, memory_store::lost_connection());
      const verify_outcome found = made.verify(depth, 1000);
      BOOST_TEST_CONTEXT("depth " << static_cast<int>(depth) << " step " << step) {
        const exit_status status = status_of({found});
        BOOST_TEST((status == exit_status::failed || status == exit_status::verification));
        BOOST_TEST(!found.differs(), problems(found));
        if (!found.failure) {
          BOOST_TEST(!made.proof(made.chain[2]).has_value());
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_stop_is_no_finding) {
  scene made;
  made.stop.request_stop();
  store_abilities abilities;
  subvolume_verifier verifier(made.with, made.store, abilities, {}, "data");
  const auto stopped = made.loop->run(verifier.run());
  BOOST_REQUIRE(!stopped.has_value());
  BOOST_TEST((stopped.error().what_now == engine::disposition::cancelled));
}

BOOST_AUTO_TEST_CASE(the_outcome_is_json_too) {
  scene made;
  made.store.erase(made.chunk(13, 1));
  verify_command command;
  verify_outcome found = made.verify(verify_depth::quick);
  const auto json = nlohmann::json::parse(verify_as_json({found}, command, made.store.steps()));
  // What else there may be.
  found.forgotten = {made.chunk(11, 0)};
  found.lost = {{"p/lost", "it is gone"}};
  found.parts_read = 3;
  found.parts = 9;
  found.backups[0].archived = "1 of 1 object is archived (GLACIER)";
  found.backups[0].receivable.is = receivability::verdict::received;
  found.backups[1].receivable.is = receivability::verdict::no_index;
  found.backups[1].receivable.problem = "it has no index";
  command.depth = verify_depth::sample;
  verify_outcome none;
  none.name = "home";
  none.failure = bts3::engine::error();
  none.failure->message = "there are no backups";
  bts3::testing::check_golden("verify.json", verify_as_json({found, none}, command, 12));
  BOOST_TEST(json.at("mode") == "quick");
  const auto& one = json.at("subvolumes").at(0);
  BOOST_TEST(one.at("differs").get<bool>());
  BOOST_TEST(one.at("backups").at(1).at("findings").at(0).at("problem") == "missing");
  BOOST_TEST(!one.at("backups").at(2).at("restorable").get<bool>());
  BOOST_TEST(one.at("pointer_problem").is_null());
}

BOOST_AUTO_TEST_SUITE_END()
