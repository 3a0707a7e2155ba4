#include "app/survey/inventory.hh"

#include "planner/pointer.hh"
#include "tests/engine/support.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <optional>
#include <string>
#include <utility>

using namespace bts3;
using bts3::testing::error_text;
using bts3::testing::memory_store;

namespace {

const std::string root = "p/subvol/data/";
const std::string full_key = root + "full/manifest-20260101T020000Z.json";
const std::string child_key = root + "incremental/manifest-20260108T020000Z.json";

std::string manifest_text(planner::backup_kind kind, const std::string& parent,
                          const std::string& subvolume = "data") {
  planner::manifest made;
  made.subvolume = subvolume;
  made.kind = kind;
  made.created_at = *planner::timestamp::parse("2026-01-01T02:00:00Z");
  made.snapshot.name = "data__20260101T020000Z__full";
  made.snapshot.path = "/s";
  if (!parent.empty()) {
    made.parent_manifest = parent;
  }
  planner::chunk_record chunk;
  chunk.key = root + std::string(planner::to_string(kind)) + "/chunk-20260101T020000Z-0.bin";
  chunk.size = 192;
  chunk.sha256 = std::string(64, 'a');
  chunk.part_size = 64;
  chunk.part_crc32 = {1, 2, 3};
  chunk.part_states.resize(2);
  made.total_bytes = chunk.size;
  made.chunk_size = 1024;
  made.chunks.push_back(std::move(chunk));
  return planner::write_manifest(made);
}

const app::manifest_bound bound = app::manifest_bound::of_host(app::config());

struct bucket {
  std::unique_ptr<engine::reactor> loop = engine::testing::make_reactor();
  memory_store store{*loop};

  bucket() {
    store.put(root + "full/chunk-20260101T020000Z-0.bin", std::string(192, 'x'), "DEEP_ARCHIVE");
    store.put(full_key, manifest_text(planner::backup_kind::full, ""));
    store.put(child_key, manifest_text(planner::backup_kind::incremental, full_key));
    store.put(root + "current.json", "{}");
    store.put(root + "full/notes.json", "not a manifest by its name");
    store.put("p/subvol/data2/full/manifest-20260101T020000Z.json", "somebody else's");
  }

  engine::result<app::subvolume_inventory> look(
      app::doubt doubtful = app::doubt::fails,
      std::optional<app::pointer_finding> pointer = app::pointer_finding()) {
    app::inventory_request wanted("p/", "data", bound, doubtful);
    wanted.pointer = std::move(pointer);
    return loop->run(app::read_subvolume(*loop, store, std::move(wanted), {}));
  }
  // With a pointer that makes no sense, read before: what prune and verify look at.
  engine::result<planner::inventory> read() {
    app::pointer_finding pointer;
    pointer.problem = "{}";
    auto found = look(app::doubt::fails, std::move(pointer));
    if (!found) {
      return std::move(found.error());
    }
    return app::take_judged_part(*found);
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(inventory_suite)

BOOST_AUTO_TEST_CASE(objects_and_manifests_of_the_subvolume_are_read) {
  bucket made;
  const auto all = made.read();
  BOOST_REQUIRE_MESSAGE(all.has_value(), error_text(all));
  BOOST_TEST(all->root == root);
  BOOST_TEST(all->objects.size() == 5U);
  const planner::listed_object& chunk = all->objects.at(root + "full/chunk-20260101T020000Z-0.bin");
  BOOST_TEST(chunk.size == 192U);
  BOOST_TEST(chunk.storage_class == "DEEP_ARCHIVE");
  BOOST_TEST(chunk.modified.rfc3339() == "2026-01-02T03:04:05Z");
  BOOST_TEST(all->objects.at(full_key).storage_class == "STANDARD");
  BOOST_REQUIRE(all->manifests.size() == 2U);
  BOOST_TEST(all->manifests.at(child_key).parent_manifest.value() == full_key);
  // Their memory is given back.
  BOOST_TEST(all->manifests.at(full_key).chunks[0].part_states.capacity() == 0U);
  BOOST_TEST(all->manifests.at(full_key).chunks[0].part_crc32.capacity() == 0U);
  BOOST_TEST(all->unreadable.empty());
  // One listing, one read for each manifest.
  BOOST_TEST(made.store.count("ListObjectsV2") == 1U);
  BOOST_TEST(made.store.steps() == 3U);
}

BOOST_AUTO_TEST_CASE(what_is_no_manifest_of_this_subvolume_is_named) {
  bucket made;
  const std::string cut = root + "full/manifest-20260102T020000Z.json";
  const std::string foreign = root + "full/manifest-20260103T020000Z.json";
  made.store.put(cut, "{\"version\": 1, ");
  made.store.put(foreign, manifest_text(planner::backup_kind::full, "", "other"));
  const auto all = made.read();
  BOOST_REQUIRE_MESSAGE(all.has_value(), error_text(all));
  BOOST_TEST(all->manifests.size() == 2U);
  BOOST_REQUIRE(all->unreadable.size() == 2U);
  BOOST_TEST(all->unreadable.at(cut).find("manifest") != std::string::npos);
  BOOST_TEST(all->unreadable.at(foreign) == "it belongs to subvolume other");
}

BOOST_AUTO_TEST_CASE(a_manifest_that_is_listed_and_cannot_be_got_is_named) {
  bucket made;
  made.store.judge_by([](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    return call.verb == "GetObject" && call.key == child_key
               ? std::optional(memory_store::absent(call.key))
               : std::nullopt;
  });
  const auto all = made.read();
  BOOST_REQUIRE_MESSAGE(all.has_value(), error_text(all));
  BOOST_TEST(all->objects.contains(child_key));
  BOOST_TEST(!all->manifests.contains(child_key));
  BOOST_REQUIRE(all->unreadable.contains(child_key));
  BOOST_TEST(all->unreadable.at(child_key) ==
             "it is listed, but the store says that it does not exist");
  BOOST_TEST(made.store.count("ListObjectsV2") == 2U);
}

BOOST_AUTO_TEST_CASE(a_manifest_that_is_deleted_meanwhile_is_left_out) {
  bucket made;
  // Another key begins with its name.
  made.store.put(child_key + ".bak", "x");
  made.store.judge_by([&](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    if (call.verb == "GetObject" && call.key == child_key) {
      made.store.erase(child_key);
    }
    return std::nullopt;
  });
  const auto all = made.read();
  BOOST_REQUIRE_MESSAGE(all.has_value(), error_text(all));
  BOOST_TEST(!all->objects.contains(child_key));
  BOOST_TEST(all->unreadable.empty());
  BOOST_TEST(all->manifests.size() == 1U);

  // Without an answer to the second look, nothing is known.
  bucket silent;
  silent.store.judge_by(
      [](const memory_store::recorded_call& call) -> std::optional<engine::error> {
        if (call.key != child_key) {
          return std::nullopt;
        }
        return call.verb == "GetObject" ? memory_store::absent(call.key)
                                        : memory_store::lost_connection();
      });
  BOOST_TEST(!silent.read().has_value());
}

// As with one that is deleted between the listing and the reading, and one that a store denies.
BOOST_AUTO_TEST_CASE(a_pointer_that_was_absent_and_is_listed_is_read_once_more) {
  bucket made;
  planner::pointer value;
  value.manifest_key = full_key;
  made.store.put(root + "current.json", planner::write_pointer(value));
  const auto found = made.look();
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  BOOST_REQUIRE(found->pointer.there.has_value());
  BOOST_TEST(found->pointer.there->value.manifest_key == full_key);
  BOOST_TEST(made.store.count("GetObject") == 3U);
  BOOST_TEST(made.store.count("ListObjectsV2") == 1U);

  bucket lying;
  lying.store.judge_by([](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    return call.verb == "GetObject" && call.key == root + "current.json"
               ? std::optional(memory_store::absent(call.key))
               : std::nullopt;
  });
  const auto denied = lying.look();
  BOOST_REQUIRE_MESSAGE(denied.has_value(), error_text(denied));
  BOOST_TEST(!denied->pointer.there.has_value());
  BOOST_TEST(denied->pointer.problem ==
             "pointer " + root +
                 "current.json: it is listed, but the store says that it does not exist");
  BOOST_TEST(lying.store.count("ListObjectsV2") == 2U);

  // One that was read before is not read again.
  bucket known;
  app::pointer_finding before;
  before.there.emplace();
  before.there->text = "as it was";
  const auto kept = known.look(app::doubt::fails, std::move(before));
  BOOST_REQUIRE_MESSAGE(kept.has_value(), error_text(kept));
  BOOST_TEST(kept->pointer.there->text == "as it was");
  BOOST_TEST(known.store.count("GetObject") == 2U);
}

BOOST_AUTO_TEST_CASE(each_manifest_has_its_state) {
  bucket made;
  const auto key = [](const char* day) {
    return root + "full/manifest-202601" + day + "T020000Z.json";
  };
  made.store.put(key("02"), "{\"version\": 1, ");
  made.store.put(key("03"), manifest_text(planner::backup_kind::full, "", "other"));
  made.store.put(key("04"), std::string(2'000'000, ' '));
  made.store.put(key("05"), manifest_text(planner::backup_kind::full, ""));
  made.store.put(key("06"), manifest_text(planner::backup_kind::full, ""));
  made.store.judge_by([&](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    if (call.verb != "GetObject") {
      return std::nullopt;
    }
    return call.key == key("05")   ? std::optional(memory_store::denied(call.key))
           : call.key == key("06") ? std::optional(memory_store::absent(call.key))
                                   : std::nullopt;
  });
  app::inventory_request wanted("p/", "data", bound, app::doubt::is_told);
  wanted.bound.bytes_max = 1'000'000;
  const auto found =
      made.loop->run(app::read_subvolume(*made.loop, made.store, std::move(wanted), {}));
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  using state = app::manifest_state;
  BOOST_TEST((found->manifests.at(full_key).state == state::readable));
  BOOST_TEST(found->manifests.at(full_key).problem == "");
  BOOST_TEST((found->manifests.at(key("02")).state == state::damaged));
  BOOST_TEST((found->manifests.at(key("03")).state == state::foreign));
  BOOST_TEST(found->manifests.at(key("03")).value.has_value());
  BOOST_TEST((found->manifests.at(key("04")).state == state::too_large));
  BOOST_TEST((found->manifests.at(key("05")).state == state::refused));
  BOOST_TEST((found->manifests.at(key("05")).failure->why == engine::reason::access));
  BOOST_TEST((found->manifests.at(key("06")).state == state::contradicted));
  BOOST_TEST(made.store.count("GetObject") == 7U);  // with the pointer; the large one is not asked

  // What deletes or proves knows all or nothing.
  const auto strict = made.look();
  BOOST_REQUIRE(!strict.has_value());
  BOOST_TEST((strict.error().why == engine::reason::access));
}

BOOST_AUTO_TEST_CASE(a_subvolume_that_has_nothing_is_an_empty_one) {
  bucket made;
  app::inventory_request wanted("p/", "mail", bound, app::doubt::is_told);
  const auto found =
      made.loop->run(app::read_subvolume(*made.loop, made.store, std::move(wanted), {}));
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  BOOST_TEST(found->name == "mail");
  BOOST_TEST(found->root == "p/subvol/mail/");
  BOOST_TEST(found->objects.empty());
  BOOST_TEST(found->manifests.empty());
}

BOOST_AUTO_TEST_CASE(many_manifests_are_read_a_few_at_a_time) {
  bucket made;
  for (int day = 10; day < 31; ++day) {
    made.store.put(root + "full/manifest-202601" + std::to_string(day) + "T020000Z.json",
                   manifest_text(planner::backup_kind::full, ""));
  }
  const auto all = made.read();
  BOOST_REQUIRE_MESSAGE(all.has_value(), error_text(all));
  BOOST_TEST(all->manifests.size() == 23U);
  BOOST_TEST(made.store.in_flight_max() == 12U);  // 12 MiB, of 1 MiB or less each
}

BOOST_AUTO_TEST_CASE(a_store_that_fails_fails_the_reading) {
  bucket made;
  made.store.fail_at(2, memory_store::lost_connection());
  const auto all = made.read();
  BOOST_REQUIRE(!all.has_value());
  BOOST_TEST(all.error().message.find("the connection is gone") != std::string::npos);

  bucket unlisted;
  unlisted.store.fail_at(1, memory_store::lost_connection());
  BOOST_TEST(!unlisted.read().has_value());
}

BOOST_AUTO_TEST_SUITE_END()
