// Whole backup jobs that go on where the earlier tool stopped: what becomes of its snapshots.
#include "planner/keys.hh"
#include "planner/pointer.hh"
#include "planner/timestamp.hh"
#include "tests/app/backup/memory_scene.hh"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::testing;

namespace {

// One backup in the bucket, as the earlier tool would have left it, its snapshot, and those of two
// runs of that tool that failed, one before it and one after it.
struct scene : memory_scene {
  scene() : memory_scene(3 * backup_rig::part_bytes) {
    rig.settings.snapshots.retain = 2;
    rig.settings.schedule.full_every_days = std::chrono::days(30);
    failed_run(-1);
    BOOST_TEST(rig.run_text() == "done");
    as_the_earlier_tool_left_it();
    failed_run(1);
    rig.log.lines.clear();
  }

  static std::string name_of(const std::string& path) {
    return std::filesystem::path(path).filename().string();
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const std::string& path : rig.disk.snapshot_paths()) {
      all.push_back(name_of(path));
    }
    std::sort(all.begin(), all.end());
    return all;
  }
  // A week later, or so many days.
  void back_up(int days = 8) {
    rig.clock.time += std::chrono::days(days);
    BOOST_TEST(rig.run_text() == "done");
    BOOST_TEST(rig.left.empty());
  }

 private:
  // The kernel's time is the name's.
  void made_when_its_name_says(const std::string& path) {
    const std::string name = name_of(path);
    const auto when = planner::timestamp::parse(name.substr(name.find("__") + 2, 16));
    BOOST_REQUIRE(when.has_value());
    rig.disk.known[path].made_at = when->when().time_since_epoch().count();
  }
  void failed_run(int hours) {
    const auto when =
        std::chrono::floor<std::chrono::seconds>(rig.clock.time) + std::chrono::hours(hours);
    const std::string name = btrfs::snapshot_name("data", planner::timestamp(when).compact(), true);
    const std::string path = rig.settings.snapshots.base_dir + "/" + name;
    rig.disk.add_subvolume(path);
    rig.disk.known[path].read_only = true;
    rig.disk.known[path].parent_uuid =
        rig.disk.known.at(rig.settings.subvolumes.front().path).own_uuid;
    made_when_its_name_says(path);
  }
  void as_the_earlier_tool_left_it() {
    const planner::key_layout keys(rig.settings.s3.prefix, "data");
    const auto pointer = planner::parse_pointer(objects->find(keys.pointer())->body);
    BOOST_REQUIRE(pointer.has_value());
    auto manifest = nlohmann::ordered_json::parse(objects->find(pointer->manifest_key)->body);
    for (const char* field : {"tool", "host", "stream"}) {
      manifest.erase(field);
    }
    for (auto& chunk : manifest["chunks"]) {
      for (const char* field : {"part_size", "part_crc32", "part_sha256_states"}) {
        chunk.erase(field);
      }
    }
    made_when_its_name_says(manifest["snapshot"]["path"]);
    manifest["snapshot"] = {{"name", manifest["snapshot"]["name"]},
                            {"path", manifest["snapshot"]["path"]},
                            {"uuid", nullptr},
                            {"parent_uuid", nullptr}};
    objects->put(pointer->manifest_key, manifest.dump());
    std::filesystem::remove(rig.settings.global.state_path);
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(earlier_tool_suite)

BOOST_AUTO_TEST_CASE(its_snapshots_have_their_day_with_an_incremental_onto_its_chain) {
  scene here;
  BOOST_TEST(here.names().size() == 3U);
  const std::string its_last = here.names().back();
  here.back_up();
  BOOST_TEST(here.rig.log.contains("parent_matched_by_name"));
  BOOST_TEST(here.names().size() == 2U);
  BOOST_TEST(here.names().front() == its_last);
  here.back_up();
  BOOST_TEST(here.names().size() == 2U);
  BOOST_TEST((here.names().front() > its_last));
  BOOST_TEST(!here.rig.log.contains("snapshot_without_backup"));
}

// Nothing in the bucket leads to its chain any more: they were recognised while something did.
BOOST_AUTO_TEST_CASE(its_snapshots_have_their_day_also_after_a_full_of_this_program) {
  scene here;
  const std::string its_last = here.names().back();
  here.back_up(40);
  BOOST_TEST(here.names().size() == 2U);
  BOOST_TEST(here.names().front() == its_last);
  BOOST_TEST(here.names().back().ends_with("__full"));
  here.back_up();
  BOOST_TEST(here.names().size() == 2U);
  BOOST_TEST(here.names().front().ends_with("__full"));
  BOOST_TEST((here.names().front() > its_last));
  BOOST_TEST(here.names().back().ends_with("__inc"));
  BOOST_TEST(!here.rig.log.contains("snapshot_without_backup"));
}

// Without that memory they are nobody's, and stay.
BOOST_AUTO_TEST_CASE(a_lost_state_deletes_nothing) {
  scene here;
  here.back_up(40);
  const std::string its_last = here.names().front();
  std::filesystem::remove(here.rig.settings.global.state_path);
  here.back_up();
  here.back_up();
  BOOST_TEST(here.names().size() == 3U);
  BOOST_TEST(here.names().front() == its_last);
  BOOST_TEST(here.rig.log.contains("snapshot_without_backup"));
}

BOOST_AUTO_TEST_SUITE_END()
