// Whole backup jobs under a prefix that the host's backups were copied to, beside the original.
#include "planner/keys.hh"
#include "planner/pointer.hh"
#include "tests/app/backup/backup_rig.hh"
#include "tests/support/memory_store.hh"

#include <optional>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::testing;

namespace {

const planner::key_layout original("host/", "data");
const planner::key_layout copied("copy/", "data");

// A full and an incremental below "host/", and their copy below "copy/", which is configured now.
struct scene {
  scene() {
    rig.shared_loop = std::move(*engine::reactor::create());
    store = std::make_unique<memory_store>(*rig.shared_loop);
    rig.tuning.store = store.get();
    for (int link = 0; link < 2; ++link) {
      chain.push_back(back_up(original).first);
    }
    for (const auto& [key, object] : std::map(store->objects())) {
      store->put("copy/" + key.substr(5), object.body);
    }
    rig.settings.s3.prefix = "copy/";
    rig.log.lines.clear();
  }

  // A week later. Its key and manifest.
  std::pair<std::string, planner::manifest> back_up(const planner::key_layout& keys) {
    rig.clock.time += std::chrono::days(8);
    rig.disk.stream = send_stream(3 * backup_rig::part_bytes, ++seed);
    BOOST_TEST(rig.run_text() == "done");
    BOOST_TEST(rig.left.empty());
    const auto pointer = planner::parse_pointer(store->find(keys.pointer())->body);
    BOOST_REQUIRE(pointer.has_value());
    const auto* object = store->find(pointer->manifest_key);
    BOOST_REQUIRE(object != nullptr);
    auto made = planner::parse_manifest(object->body);
    BOOST_REQUIRE(made.has_value());
    return {pointer->manifest_key, std::move(*made)};
  }

  backup_rig rig;
  std::unique_ptr<memory_store> store;
  std::vector<std::string> chain;  // keys of the manifests as they were made
  unsigned seed = 1;
};

std::string in_copy(const std::string& key) {
  return "copy/" + key.substr(5);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(copied_bucket_suite)

BOOST_AUTO_TEST_CASE(an_incremental_onto_a_copy_rests_on_the_copy) {
  scene made;
  made.store->judge_by([](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    return call.key.starts_with("copy/") ? std::nullopt
                                         : std::optional(memory_store::denied(call.key));
  });
  const auto [key, manifest] = made.back_up(copied);
  BOOST_TEST(key.starts_with(copied.root()));
  BOOST_TEST((manifest.kind == planner::backup_kind::incremental));
  BOOST_TEST(manifest.parent_manifest.value_or("") == in_copy(made.chain[1]));
  for (const planner::chunk_record& chunk : manifest.chunks) {
    BOOST_TEST(chunk.key.starts_with(copied.root()));
  }
}

// The original could be read: what is not in the copy is not rested upon all the same.
BOOST_AUTO_TEST_CASE(a_copy_that_is_not_whole_gets_a_full) {
  {
    scene parentless;
    parentless.store->erase(in_copy(parentless.chain[0]));
    BOOST_TEST((parentless.back_up(copied).second.kind == planner::backup_kind::full));
    BOOST_TEST(parentless.rig.log.contains("chain_broken"));
  }
  {
    scene pointer_alone;
    pointer_alone.store->erase(in_copy(pointer_alone.chain[1]));
    BOOST_TEST((pointer_alone.back_up(copied).second.kind == planner::backup_kind::full));
    BOOST_TEST(pointer_alone.rig.log.contains("chain_broken"));
  }
  scene cut;
  const auto full = planner::parse_manifest(cut.store->find(cut.chain[0])->body);
  BOOST_REQUIRE(full.has_value());
  cut.store->erase(in_copy(full->chunks[0].key));
  BOOST_TEST((cut.back_up(copied).second.kind == planner::backup_kind::full));
  BOOST_TEST(cut.rig.log.contains("chunk_missing"));
}

BOOST_AUTO_TEST_SUITE_END()
