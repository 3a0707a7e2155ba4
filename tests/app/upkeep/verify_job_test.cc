// What is missing, cut, changed or archived in a bucket; what is then still restorable.
#include "app/upkeep/verify_job.hh"

#include "app/records/state_store.hh"
#include "app/store/commands.hh"
#include "app/upkeep/subvolume_verifier.hh"
#include "engine/async_scope.hh"
#include "tests/app/survey/bucket_of_backups.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::bucket_of_backups;
using bts3::testing::error_text;
using bts3::testing::memory_store;
using bts3::testing::memory_store_options;
using bts3::testing::telling;

namespace {

const std::string place = "aws s3://b/p/subvol/data/";

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A chain of three links, of two chunks with three parts each.
struct scene : bucket_of_backups {
  explicit scene(memory_store_options options = {}) : bucket_of_backups(options) {}
  std::vector<std::string> chain = add_generation({20, 13, 6});

  [[nodiscard]] std::string chunk(int days_ago, std::uint32_t index) const {
    return keys.chunk(
        days_ago == 20 ? planner::backup_kind::full : planner::backup_kind::incremental,
        planner::timestamp(now.when() - std::chrono::days(days_ago)), index);
  }

  verify_outcome verify(verify_depth depth, std::uint64_t parts = 0,
                        const std::string& manifest_key = {}) {
    verify_command command;
    command.depth = depth;
    command.sample_parts = parts;
    command.manifest_key = manifest_key;
    store_abilities abilities;
    subvolume_verifier verifier(with, store, abilities, command, "data");
    const auto ran = loop->run(verifier.run());
    BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
    return std::move(verifier.outcome());
  }

  [[nodiscard]] std::optional<verified_link::proof> proof(const std::string& key) const {
    const auto record = read_verify_record(settings.global.state_path);
    BOOST_REQUIRE_MESSAGE(record.has_value(), error_text(record));
    const verified_subvolume* known = record->find("data", place);
    BOOST_REQUIRE(known != nullptr);
    const auto link = known->links.find(key);
    return link == known->links.end() ? std::nullopt : link->second.proven();
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

std::vector<bool> restorable(const verify_outcome& found) {
  std::vector<bool> all;
  for (const verified_backup& one : found.backups) {
    all.push_back(one.restorable);
  }
  return all;
}

}  // namespace

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

BOOST_AUTO_TEST_CASE(a_manifest_that_is_listed_and_cannot_be_got_is_a_difference) {
  scene made;
  made.point_at(made.chain[1]);
  BOOST_TEST(!made.verify(verify_depth::quick).differs());
  made.store.judge_by([&](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    return call.key == made.chain[2] && call.verb == "GetObject"
               ? std::optional(memory_store::absent(call.key))
               : std::nullopt;
  });
  const verify_outcome found = made.verify(verify_depth::quick);
  BOOST_REQUIRE(found.lost.size() == 1U);
  BOOST_TEST(found.lost[0].key == made.chain[2]);
  BOOST_TEST((status_of({found}) == exit_status::verification));
}

BOOST_AUTO_TEST_CASE(quick_does_not_clear_what_deep_has_found) {
  scene made;
  made.flip(made.chunk(20, 0), 5);
  BOOST_TEST(!made.verify(verify_depth::quick).differs());  // which does not look inside
  BOOST_TEST(made.verify(verify_depth::deep).differs());
  made.clock.time += std::chrono::hours(1);
  const verify_outcome quick = made.verify(verify_depth::quick);
  BOOST_TEST(has(problems(quick), "known to be damaged since 2026-11-21T02:00:00Z"),
             problems(quick));
  BOOST_TEST((restorable(quick) == std::vector<bool>{false, false, false}));
  BOOST_TEST(!made.proof(made.chain[0]).has_value());
  // A sample of other parts does not clear it either, and does not take it for its own finding.
  BOOST_TEST(made.verify(verify_depth::sample, 1000).differs());
  BOOST_TEST(!made.proof(made.chain[0]).has_value());
  made.flip(made.chunk(20, 0), 5);
  made.clock.time += std::chrono::hours(1);
  BOOST_TEST(!made.verify(verify_depth::deep).differs());
  BOOST_TEST(!made.verify(verify_depth::quick).differs());
  BOOST_TEST(made.proof(made.chain[0]).has_value());
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

BOOST_AUTO_TEST_CASE(a_pointer_or_parent_that_is_gone_is_a_difference) {
  scene unpointed;
  unpointed.store.erase(unpointed.keys.pointer());
  BOOST_TEST(has(unpointed.verify(verify_depth::quick).pointer_problem, "there is no "));
  scene lost;
  lost.store.erase(lost.chain[1]);
  const verify_outcome found = lost.verify(verify_depth::quick);
  BOOST_TEST(found.lost.size() == 1U);
  BOOST_TEST(has(found.pointer_problem, "does not resolve"));
  BOOST_TEST((status_of({found}) == exit_status::verification));
  // Where there is nothing, nothing was verified.
  bucket_of_backups empty;
  store_abilities abilities;
  subvolume_verifier verifier(empty.with, empty.store, abilities, {}, "data");
  BOOST_TEST(empty.loop->run(verifier.run()).has_value());
  BOOST_TEST(!verifier.outcome().differs());
  BOOST_TEST(has(verify_as_text({verifier.outcome()}, {}, 2), "nothing was verified"));
  BOOST_TEST((status_of({verifier.outcome()}) == exit_status::failed));
}

BOOST_AUTO_TEST_CASE(what_was_there_and_is_gone_is_a_difference) {
  for (const auto depth : {verify_depth::quick, verify_depth::sample, verify_depth::deep}) {
    // All of it.
    scene made;
    made.verify(depth, 1000);
    const auto runs =
        read_verify_record(made.settings.global.state_path)->find("data", place)->runs;
    for (const std::string& key : made.keys_in_store()) {
      made.store.erase(key);
    }
    made.clock.time += std::chrono::days(1);
    const verify_outcome found = made.verify(depth, 1000);
    BOOST_TEST(found.lost.size() == 3U);
    BOOST_TEST((status_of({found}) == exit_status::verification));
    const std::string text = verify_as_text({found}, {}, 2);
    BOOST_TEST(has(text, "lost: " + made.chain[0] + ": it is gone, and prune did not delete it"),
               text);
    const auto after = *read_verify_record(made.settings.global.state_path)->find("data", place);
    BOOST_TEST((after.runs == runs));  // nothing was read, and nothing is said to have been
    BOOST_TEST(has(after.elsewhere, "it is gone"));
    BOOST_TEST((status_of({made.verify(depth, 1000)}) == exit_status::verification));
    // A generation beside another.
    scene two;
    const auto newer = two.add_generation({4, 3});
    two.verify(depth, 1000);
    for (const std::string& key : two.keys_in_store()) {
      if (has(key, "202610") || has(key, "202611")) {
        const bool old =
            key != two.keys.pointer() && !has(key, "20261117") && !has(key, "20261118");
        if (old) {
          two.store.erase(key);
        }
      }
    }
    const verify_outcome half = two.verify(depth, 1000);
    BOOST_TEST(half.backups.size() == 2U);
    BOOST_TEST(half.lost.size() == 3U);
    BOOST_TEST((status_of({half}) == exit_status::verification));
  }
}

BOOST_AUTO_TEST_CASE(the_last_backup_of_the_state_is_missed_when_the_pointer_went_back) {
  scene made;
  state_store states(made.settings.global.state_path, made.clock, made.log);
  run_state state;
  state.subvolumes["data"].last_manifest = made.chain[2];
  BOOST_REQUIRE(states.save(state).has_value());
  BOOST_TEST(!made.verify(verify_depth::quick, 0, made.chain[1]).differs());
  scene never;  // no verification before
  BOOST_REQUIRE(state_store(never.settings.global.state_path, never.clock, never.log).save(state));
  for (const std::string& key : {never.chain[2], never.chunk(6, 0), never.chunk(6, 1)}) {
    never.store.erase(key);
  }
  never.point_at(never.chain[1]);
  const verify_outcome found = never.verify(verify_depth::quick);
  BOOST_REQUIRE(found.lost.size() == 1U);
  BOOST_TEST(found.lost[0].key == never.chain[2]);
  BOOST_TEST(has(found.lost[0].problem, "by the state file"), found.lost[0].problem);
  BOOST_TEST((status_of({found}) == exit_status::verification));
  // Asked for itself, too; and not missed where the state is of another prefix.
  const verify_outcome asked = never.verify(verify_depth::quick, 0, never.chain[2]);
  BOOST_TEST((status_of({asked}) == exit_status::verification));
  state.subvolumes["data"].last_manifest = "elsewhere/subvol/data/full/manifest-1.json";
  BOOST_REQUIRE(state_store(never.settings.global.state_path, never.clock, never.log).save(state));
  BOOST_TEST((status_of({never.verify(verify_depth::quick)}) == exit_status::done));
}

BOOST_AUTO_TEST_CASE(what_is_gone_can_be_forgotten_on_purpose) {
  scene made;
  made.verify(verify_depth::quick);
  for (const std::string& key : {made.chain[2], made.chunk(6, 0), made.chunk(6, 1)}) {
    made.store.erase(key);
  }
  made.point_at(made.chain[1]);
  BOOST_TEST((status_of({made.verify(verify_depth::quick)}) == exit_status::verification));
  verify_command command;
  command.forget_missing = true;
  store_abilities abilities;
  subvolume_verifier verifier(made.with, made.store, abilities, command, "data");
  BOOST_REQUIRE(made.loop->run(verifier.run()).has_value());
  BOOST_TEST((status_of({verifier.outcome()}) == exit_status::done));
  BOOST_TEST(
      has(verify_as_text({verifier.outcome()}, {}, 2), "missed no longer: " + made.chain[2]));
  BOOST_TEST((status_of({made.verify(verify_depth::quick)}) == exit_status::done));
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

BOOST_AUTO_TEST_CASE(the_record_outlives_damage_and_other_places) {
  scene made;
  made.verify(verify_depth::quick);
  const std::string path = verify_record_path(made.settings.global.state_path);
  BOOST_TEST(path == made.directory / "state.verified.json");
  BOOST_TEST(read_verify_record(made.settings.global.state_path)->find("data", "elsewhere") ==
             nullptr);
  BOOST_TEST(read_verify_record(made.settings.global.state_path)->find("home", place) == nullptr);
  for (const char* damage : {"{", "[]", "{\"version\":1}", "{\"version\":2,\"subvolumes\":{}}",
                             "{\"version\":1,\"subvolumes\":{\"data\":{\"place\":\"\",\"links\":"
                             "{\"k\":{\"quick\":{\"at\":\"noon\",\"sound\":true}}}}}}"}) {
    bts3::testing::write_file(path, damage);
    const auto read = read_verify_record(made.settings.global.state_path);
    BOOST_REQUIRE_MESSAGE(!read.has_value(), damage);
    BOOST_TEST(has(read.error().text(), "run `btrfs_to_s3 verify`"), read.error().text());
  }
  made.verify(verify_depth::quick);
  BOOST_TEST(made.proof(made.chain[0]).has_value());
  // What is gone from the bucket is remembered; sampling goes on behind it.
  made.verify(verify_depth::sample, 7);
  made.store.erase(made.chain[0]);
  made.verify(verify_depth::quick);
  BOOST_TEST(read_verify_record(made.settings.global.state_path)
                 ->find("data", place)
                 ->links.contains(made.chain[0]));
}

namespace {

engine::task<void> verify_into(subvolume_verifier& verifier, engine::result<void>& ended) {
  auto running = verifier.run();
  ended = co_await std::move(running);
}

engine::task<void> verify_both(engine::reactor& loop, subvolume_verifier& one,
                               subvolume_verifier& other) {
  engine::result<void> first = engine::ok();
  engine::result<void> second = engine::ok();
  engine::async_scope scope(loop);
  scope.spawn(verify_into(one, first));
  scope.spawn(verify_into(other, second));
  auto joining = scope.join();
  co_await std::move(joining);
  BOOST_TEST(first.has_value());
  BOOST_TEST(second.has_value());
}

}  // namespace

BOOST_AUTO_TEST_CASE(two_runs_at_once_keep_what_each_has_found) {
  scene made;
  made.store.erase(made.chunk(6, 0));
  made.flip(made.chunk(13, 1), 5);
  store_abilities abilities;
  verify_command deep;
  deep.depth = verify_depth::deep;
  subvolume_verifier slow(made.with, made.store, abilities, deep, "data");
  subvolume_verifier quick(made.with, made.store, abilities, {}, "data");
  made.loop->run(verify_both(*made.loop, slow, quick));
  const auto record = read_verify_record(made.settings.global.state_path);
  BOOST_REQUIRE_MESSAGE(record.has_value(), error_text(record));
  const verified_subvolume* known = record->find("data", place);
  BOOST_REQUIRE(known != nullptr);
  using kind = verification_kind;
  BOOST_TEST(known->runs.contains(kind::quick));
  BOOST_TEST(known->runs.contains(kind::deep));
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& found = known->links.at(made.chain[i]).by_kind;
    BOOST_REQUIRE((found.contains(kind::quick) && found.contains(kind::deep)));
    BOOST_TEST(found.at(kind::quick).sound == (i != 2));
    BOOST_TEST(found.at(kind::deep).sound == (i == 0));
  }
}

BOOST_AUTO_TEST_CASE(records_are_merged_by_what_each_run_has_changed) {
  using kind = verification_kind;
  const auto at = [](int hour) {
    return planner::timestamp(std::chrono::sys_days(std::chrono::year(2026) / 11 / 21) +
                              std::chrono::hours(hour));
  };
  verified_subvolume before;
  before.links["a"].by_kind[kind::quick] = {at(1), true, ""};
  before.links["gone"].by_kind[kind::quick] = {at(1), true, ""};
  before.links["gone and found again"].by_kind[kind::quick] = {at(1), true, ""};
  before.runs = {{kind::quick, at(9)}, {kind::deep, at(1)}};
  before.elsewhere = "lost";
  before.cursor.manifest = "a";
  verified_subvolume mine = before;
  mine.links.erase("gone");
  mine.links.erase("gone and found again");
  mine.links["a"].by_kind[kind::deep] = {at(3), false, "flipped"};
  mine.links["both"].by_kind[kind::quick] = {at(3), true, ""};
  mine.runs[kind::quick] = at(3);  // the clock was wrong before
  mine.runs[kind::deep] = at(3);
  mine.elsewhere.clear();
  verified_subvolume theirs = before;
  theirs.links["gone and found again"].by_kind[kind::quick] = {at(4), true, ""};
  theirs.links["a"].by_kind[kind::quick] = {at(2), false, "missing"};
  theirs.links["both"].by_kind[kind::quick] = {at(4), false, "missing"};
  theirs.links["new"].by_kind[kind::quick] = {at(2), true, ""};
  theirs.runs[kind::deep] = at(4);
  theirs.runs[kind::sample] = at(2);
  theirs.cursor.manifest = "new";
  theirs.at = at(4);
  const verified_subvolume all = merged(before, mine, theirs);
  BOOST_TEST(all.links.size() == 4U);
  BOOST_TEST(!all.links.contains("gone"));
  BOOST_TEST(all.links.contains("gone and found again"));
  BOOST_TEST(all.links.contains("new"));
  BOOST_TEST(all.links.at("a").by_kind.at(kind::quick).problem == "missing");
  BOOST_TEST(all.links.at("a").by_kind.at(kind::deep).problem == "flipped");
  BOOST_TEST(all.links.at("both").by_kind.at(kind::quick).problem == "missing");
  BOOST_TEST((all.runs == std::map<kind, planner::timestamp>{
                              {kind::quick, at(3)}, {kind::sample, at(2)}, {kind::deep, at(4)}}));
  BOOST_TEST(all.elsewhere.empty());
  BOOST_TEST(all.cursor.manifest == "new");
  BOOST_TEST((all.at == at(4)));
}

BOOST_AUTO_TEST_CASE(what_is_told_is_when_all_was_looked_at_how_far_sampling_is_and_what_stands) {
  scene made;
  const auto told = [&made] {
    const auto record = read_verify_record(made.settings.global.state_path);
    BOOST_REQUIRE_MESSAGE(record.has_value(), error_text(record));
    return summary_of(*record->find("data", place));
  };
  using kind = verification_kind;
  // One chain is not all.
  made.verify(verify_depth::quick, 0, made.chain[1]);
  BOOST_TEST(told().runs.empty());
  made.verify(verify_depth::quick);
  BOOST_TEST((told().runs == std::map<kind, planner::timestamp>{{kind::quick, made.now}}));
  BOOST_TEST(told().sample_parts == 0u);
  const std::uint64_t parts = made.verify(verify_depth::sample, 4).parts;
  BOOST_TEST(told().runs.contains(kind::sample));
  BOOST_TEST(told().sample_done == 4u);
  BOOST_TEST(told().sample_parts == parts);
  made.verify(verify_depth::sample, parts - 2);  // on to the end, and around
  BOOST_TEST(told().sample_done == 2u);
  BOOST_TEST(told().sound());

  made.flip(made.chunk(13, 1), 5);
  made.verify(verify_depth::deep);
  const verification_summary damaged = told();
  BOOST_TEST(!damaged.sound());
  BOOST_REQUIRE(damaged.damaged.size() == 1u);
  BOOST_TEST(damaged.damaged[0].key == made.chain[1]);
  BOOST_TEST((damaged.damaged[0].kind == kind::deep));
  BOOST_TEST(!damaged.damaged[0].problem.empty());
  BOOST_TEST(damaged.runs.contains(kind::deep));  // it had its verdict
  made.flip(made.chunk(13, 1), 5);
  made.verify(verify_depth::quick);
  BOOST_TEST(told().damaged.size() == 1u);  // which a listing does not refute
  made.verify(verify_depth::deep);
  BOOST_TEST(told().sound());

  made.store.erase(made.chain[1]);
  made.verify(verify_depth::quick);
  BOOST_TEST(told().damaged.empty());
  BOOST_TEST(!told().elsewhere.empty());
  BOOST_TEST(!told().sound());
}

BOOST_AUTO_TEST_CASE(a_run_that_left_something_out_is_no_run_of_its_kind) {
  scene made;
  const std::string key = made.chunk(13, 0);
  const auto before = *made.store.find(key);
  made.store.put(key, before.body, "DEEP_ARCHIVE");
  made.verify(verify_depth::deep);
  const auto record = read_verify_record(made.settings.global.state_path);
  BOOST_REQUIRE_MESSAGE(record.has_value(), error_text(record));
  const verified_subvolume* known = record->find("data", place);
  BOOST_REQUIRE(known != nullptr);
  BOOST_TEST(known->at.has_value());
  BOOST_TEST(known->runs.empty());
}

// The whole command, on a store that is given.
BOOST_AUTO_TEST_CASE(the_command_writes_metrics_of_its_own_beside_those_of_backups) {
  scene made;
  store_tuning tuning;
  tuning.store = &made.store;
  made.with.tuning = &tuning;
  made.settings.subvolumes.resize(2);
  made.settings.subvolumes[0].name = "data";
  made.settings.subvolumes[1].name = "home";
  made.settings.metrics.textfile = made.directory / "backup.prom";
  bts3::testing::write_file(made.settings.metrics.textfile, "of the last backup\n");
  verify_command command;
  command.subvolumes = {"data"};
  auto ran = made.loop->run(run_command(made.with, command));
  BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
  BOOST_TEST((*ran == exit_status::done));
  const std::string path = made.directory / "backup_verify.prom";
  const std::string text = bts3::testing::content_of(path);
  BOOST_TEST(has(text, "last_verify_timestamp_seconds{subvolume=\"data\",kind=\"quick\"} "), text);
  BOOST_TEST(has(text, "verify_found_damage{subvolume=\"data\"} 0\n"), text);
  BOOST_TEST(!has(text, "home"), text);
  BOOST_TEST(bts3::testing::content_of(made.settings.metrics.textfile) == "of the last backup\n");
  // A later run about another subvolume keeps what is known of this one.
  command.subvolumes = {"home"};
  ran = made.loop->run(run_command(made.with, command));
  BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
  BOOST_TEST(has(bts3::testing::content_of(path), "verify_found_damage{subvolume=\"data\"} 0\n"));
  BOOST_TEST(has(bts3::testing::content_of(path), "verify_found_damage{subvolume=\"home\"} 0\n"));
  // Damage is told, and a file that cannot be written is a warning.
  made.store.erase(made.chunk(13, 1));
  command.subvolumes.clear();
  ran = made.loop->run(run_command(made.with, command));
  BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
  BOOST_TEST((*ran == exit_status::verification));
  BOOST_TEST(has(bts3::testing::content_of(path), "verify_found_damage{subvolume=\"data\"} 1\n"));
  made.settings.metrics.textfile = made.directory / "absent/backup.prom";
  ran = made.loop->run(run_command(made.with, command));
  BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
  BOOST_TEST((*ran == exit_status::verification));
  BOOST_TEST(std::count(made.log.events.begin(), made.log.events.end(), "metrics_not_written") ==
             1);
}

// A sample leaves out what the listing shows to be damaged: that is told all the same.
BOOST_AUTO_TEST_CASE(what_a_sample_sees_in_the_listing_is_told_until_a_listing_is_clean) {
  scene made(telling());
  store_tuning tuning;
  tuning.store = &made.store;
  made.with.tuning = &tuning;
  made.settings.subvolumes.resize(1);
  made.settings.subvolumes[0].name = "data";
  made.settings.metrics.textfile = made.directory / "backup.prom";
  const auto metric_after = [&made](verify_depth depth) {
    made.clock.time += std::chrono::hours(1);
    verify_command command;
    command.depth = depth;
    command.sample_parts = 1;
    const auto ran = made.loop->run(run_command(made.with, command));
    BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
    const std::string text = bts3::testing::content_of(made.directory / "backup_verify.prom");
    const std::string name = "verify_found_damage{subvolume=\"data\"} ";
    BOOST_REQUIRE_MESSAGE(has(text, name), text);
    return text.substr(text.find(name) + name.size(), 2);
  };
  BOOST_TEST(metric_after(verify_depth::sample) == "0\n");
  const std::string key = made.chunk(13, 1);
  const auto before = *made.store.find(key);
  const auto lose = [&] { made.store.erase(key); };
  const auto bring_back = [&] {
    made.store.put(key, before.body, before.options.stored_as.str());
    made.store.set_part_crc32(key, before.part_crc32);
  };
  lose();
  BOOST_TEST(metric_after(verify_depth::sample) == "1\n");
  BOOST_TEST(metric_after(verify_depth::sample) == "1\n");
  BOOST_TEST(!made.proof(made.chain[1]).has_value());
  bring_back();
  BOOST_TEST(metric_after(verify_depth::sample) == "0\n");
  // The same for what quick has seen there ...
  lose();
  BOOST_TEST(metric_after(verify_depth::quick) == "1\n");
  bring_back();
  BOOST_TEST(metric_after(verify_depth::sample) == "0\n");
  // ... and not for a checksum, which no listing shows, whatever a listing shows beside it.
  made.store.set_part_crc32(key, {1, 2, 3});
  BOOST_TEST(metric_after(verify_depth::quick) == "1\n");
  BOOST_TEST(metric_after(verify_depth::sample) == "1\n");
  lose();
  BOOST_TEST(metric_after(verify_depth::sample) == "1\n");
  bring_back();
  BOOST_TEST(metric_after(verify_depth::sample) == "1\n");
  BOOST_TEST(metric_after(verify_depth::quick) == "0\n");
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
