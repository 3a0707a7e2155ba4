// The index of a backup beside its manifest: whole runs over a store in memory, and that nothing of
// it ever harms one.
#include "engine/age/random.hh"
#include "engine/age/x25519.hh"
#include "tests/app/backup/memory_scene.hh"
#include "tests/support/index_of.hh"

#include <functional>
#include <optional>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::testing;

namespace {

struct index_scene : memory_scene {
  [[nodiscard]] std::string newest_index() const {
    const auto chain = rig.chain_in(contents());
    BOOST_REQUIRE(!chain.empty());
    return chain[0].index ? chain[0].index->key : "";
  }
  [[nodiscard]] std::vector<std::string> indexes() const {
    std::vector<std::string> keys;
    for (const auto& [key, object] : objects->objects()) {
      if (key.find("/index-") != std::string::npos) {
        keys.push_back(key);
      }
    }
    return keys;
  }
  void a_week_passes() {
    rig.clock.time += std::chrono::days(8);
    rig.disk.stream = send_stream(4 * backup_rig::part_bytes + 100, 2);
  }
  // What the store answers to the PUT of an index.
  void judge_index(const std::function<engine::error(const std::string&)>& answer) {
    objects->judge_by([answer](
                          const memory_store::recorded_call& call) -> std::optional<engine::error> {
      const bool is_it = call.verb == "PutObject" && call.key.find("/index-") != std::string::npos;
      return is_it ? std::optional(answer(call.key)) : std::nullopt;
    });
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(index_suite, index_scene)

BOOST_AUTO_TEST_CASE(each_backup_of_a_chain_has_the_index_of_its_stream) {
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.published_problem(contents()) == "");
  a_week_passes();
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.published_problem(contents()) == "");
  const auto chain = rig.chain_in(contents());
  BOOST_REQUIRE(chain.size() == 2U);
  for (const planner::manifest& link : chain) {
    BOOST_REQUIRE(link.index.has_value());
    BOOST_TEST(!link.index->plain_size.has_value());
    const std::string sent = rig.disk.stream_of(link.snapshot.uuid.value());
    BOOST_TEST((objects->objects().at(link.index->key).body == index_of(sent)));
  }
  BOOST_TEST(indexes().size() == 2U);
}

BOOST_AUTO_TEST_CASE(it_is_stored_as_manifests_are_and_before_the_manifest) {
  rig.settings.s3.storage_class_manifest = s3::storage_class("STANDARD_IA");
  BOOST_TEST(rig.run_text() == "done");
  const auto& index = objects->objects().at(newest_index());
  BOOST_TEST(index.options.stored_as.str() == "STANDARD_IA");
  BOOST_TEST(index.options.content_type == "application/octet-stream");
  std::vector<std::string> puts;
  for (const memory_store::recorded_call& call : objects->calls()) {
    if (call.verb == "PutObject") {
      puts.push_back(call.key.substr(call.key.rfind('/') + 1).substr(0, 5));
    }
  }
  const std::vector<std::string> expected = {"chunk", "index", "manif", "curre"};
  BOOST_TEST(puts == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_sealed_backup_has_a_sealed_index) {
  const age::x25519_identity user =
      std::move(*age::x25519_identity::generate(age::system_random()));
  rig.identity = &user;
  rig.settings.encryption.recipients = {user.recipient().text()};
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.published_problem(contents()) == "");  // opened with the user's identity there
  BOOST_TEST(newest_index().ends_with(".zst.age"));
  BOOST_TEST(objects->objects().at(newest_index()).body.starts_with("age-encryption.org/v1\n"));
}

BOOST_AUTO_TEST_CASE(where_it_is_switched_off_or_nothing_is_uploaded_there_is_none) {
  rig.settings.index.enabled = false;
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.published_problem(contents()) == "");
  BOOST_TEST(newest_index() == "");
  BOOST_TEST(indexes().empty());
  BOOST_TEST(!rig.log.contains("index_failed"));
}

// Killed at every request: what a later run does with what was there, and that its index is that
// of the stream which it sent again, published_problem() sees.
BOOST_AUTO_TEST_CASE(a_run_that_goes_on_has_the_same_index) {
  std::size_t steps = 0;
  std::string undisturbed;
  {
    index_scene one;
    BOOST_TEST(one.rig.run_text() == "done");
    steps = one.objects->steps();
    undisturbed = one.objects->objects().at(one.newest_index()).body;
  }
  std::size_t resumed = 0;
  for (std::size_t step = 1; step <= steps; ++step) {
    BOOST_TEST_CONTEXT("interrupted at " << step) {
      index_scene here;
      here.interrupt_at(step);
      BOOST_TEST(here.rig.run_text() == "done");
      resumed += here.rig.log.contains("action=resume") ? 1 : 0;
      BOOST_TEST(here.rig.published_problem(here.contents()) == "");
      BOOST_TEST(here.indexes().size() == 1U);
      BOOST_TEST(
          (here.objects->objects().at(here.newest_index()).body.size() == undisturbed.size()));
      BOOST_TEST(here.rig.left.empty());
    }
  }
  BOOST_TEST(resumed > 3U);
}

BOOST_AUTO_TEST_CASE(an_index_that_the_store_refuses_is_a_warning) {
  judge_index([](const std::string& key) { return memory_store::denied(key); });
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.log.contains("index_failed"));
  BOOST_TEST(rig.log.contains("the backup goes on without an index"));
  BOOST_TEST(rig.published_problem(contents()) == "");
  BOOST_TEST(newest_index() == "");
  BOOST_TEST(objects->count("DeleteObject") == 0U);  // the store has said that it is not there
  rig.log.lines.clear();
  objects->judge_by({});
  a_week_passes();
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.published_problem(contents()) == "");
  BOOST_TEST(!newest_index().empty());
}

// Whether it was done is not known: no manifest names it, so it must not stay.
BOOST_AUTO_TEST_CASE(an_index_whose_answer_is_lost_does_not_stay) {
  judge_index([this](const std::string& key) {
    objects->put(key, "perhaps all of it, perhaps not");
    return memory_store::lost_connection();
  });
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.log.contains("index_failed"));
  BOOST_TEST(rig.published_problem(contents()) == "");
  BOOST_TEST(indexes().empty());
}

// Nor does one of an earlier attempt, where the next one has none.
BOOST_AUTO_TEST_CASE(an_index_of_an_earlier_attempt_does_not_stay_where_the_backup_gets_none) {
  std::size_t before_manifest = 0;
  {
    index_scene one;
    BOOST_TEST(one.rig.run_text() == "done");
    const auto& calls = one.objects->calls();
    while (before_manifest < calls.size() &&
           (calls[before_manifest].verb != "PutObject" ||
            calls[before_manifest].key.find("/manifest-") == std::string::npos)) {
      ++before_manifest;
    }
  }
  interrupt_at(before_manifest + 1);
  BOOST_TEST(indexes().size() == 1U);
  BOOST_REQUIRE(journalled().index.has_value());
  BOOST_TEST(journalled().index->key == indexes().front());
  rig.settings.index.enabled = false;
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.log.contains("action=resume"));
  BOOST_TEST(rig.published_problem(contents()) == "");
  BOOST_TEST(indexes().empty());
}

BOOST_AUTO_TEST_CASE(an_abandoned_backup_takes_its_index_along) {
  std::size_t before_manifest = 0;
  {
    index_scene one;
    BOOST_TEST(one.rig.run_text() == "done");
    before_manifest = one.objects->steps() - 2;  // manifest, pointer
  }
  interrupt_at(before_manifest + 1);
  BOOST_TEST(indexes().size() == 1U);
  rig.clock.time += std::chrono::days(30);
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.log.contains("action=abandon"));
  BOOST_TEST(rig.published_problem(contents()) == "");
  BOOST_TEST(indexes().size() == 1U);
}

BOOST_AUTO_TEST_SUITE_END()
