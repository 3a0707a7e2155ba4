#include "app/store/dated_manifest.hh"

#include "planner/manifest.hh"
#include "tests/engine/support.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <string>

using namespace bts3::app;
using bts3::planner::timestamp;
using bts3::testing::error_text;
using bts3::testing::memory_store;

BOOST_AUTO_TEST_SUITE(dated_manifest_suite)

BOOST_AUTO_TEST_CASE(the_newest_backup_not_after_a_time_is_chosen_over_both_kinds) {
  auto loop = bts3::engine::testing::make_reactor();
  memory_store store(*loop);
  const std::string root = "p/subvol/data/";
  for (const char* key :
       {"full/manifest-20260101T000000Z.json", "incremental/manifest-20260103T000000Z.json",
        "incremental/manifest-20260105T000000Z.json", "full/manifest-20260104T000000Z.json",
        "full/manifest-garbage.json", "full/manifest-20260102T000000Z.json.bak", "current.json",
        "full/chunk-20260102T000000Z-0.bin"}) {
    store.put(root + key, "x");
  }
  store.put("p/subvol/data2/full/manifest-20260103T120000Z.json", "x");
  const auto at = [&](const char* text) {
    auto found =
        loop->run(manifest_at(store, "p/", "data", *timestamp::parse(text),
                              manifest_bound::of_host(config()), bts3::engine::stop_token()));
    return found ? found->key.substr(root.size()) : error_text(found);
  };
  BOOST_TEST(at("2026-01-03T00:00:00Z") == "incremental/manifest-20260103T000000Z.json");
  BOOST_TEST(at("2026-01-02T23:59:59Z") == "full/manifest-20260101T000000Z.json");
  BOOST_TEST(at("2026-01-04T12:00:00Z") == "full/manifest-20260104T000000Z.json");
  BOOST_TEST(at("2030-01-01T00:00:00Z") == "incremental/manifest-20260105T000000Z.json");
  BOOST_TEST(at("2025-12-31T23:59:59Z").find("the oldest is of 2026-01-01T00:00:00Z") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_backup_of_the_earlier_tool_is_found_by_the_time_of_its_snapshot) {
  auto loop = bts3::engine::testing::make_reactor();
  memory_store store(*loop);
  const auto put = [&](const char* written, const char* snapshot) {
    bts3::planner::manifest made;
    made.subvolume = "data";
    made.created_at = *timestamp::parse(written);
    made.snapshot.name = std::string("data__") + snapshot + "__full";
    made.snapshot.path = "/s/" + made.snapshot.name;
    bts3::planner::chunk_record chunk;
    chunk.key = "p/subvol/data/full/chunk-" + std::string(written) + "-0.bin";
    chunk.size = 4;
    chunk.sha256 = std::string(64, '0');
    made.chunks.push_back(chunk);
    made.total_bytes = chunk.size;
    store.put("p/subvol/data/full/manifest-" + std::string(written) + ".json",
              bts3::planner::write_manifest(made));
  };
  put("20260101T020000Z", "20260101T020000Z");
  put("20260108T020107Z", "20260108T020058Z");  // list prints 02:00
  put("20260108T020300Z", "20260108T020200Z");
  const auto at = [&](const char* text) {
    auto found =
        loop->run(manifest_at(store, "p", "data", *timestamp::parse(text),
                              manifest_bound::of_host(config()), bts3::engine::stop_token()));
    return found ? found->key.substr(std::string("p/subvol/data/full/manifest-").size(), 16)
                 : error_text(found);
  };
  BOOST_TEST(at("2026-01-08T02:00:59Z") == "20260108T020107Z");
  BOOST_TEST(at("2026-01-08T02:00:57Z") == "20260101T020000Z");
  BOOST_TEST(at("2026-01-08T02:02:59Z") == "20260108T020300Z");
}

BOOST_AUTO_TEST_SUITE_END()
