// What a bucket holds, over a memory store; and how `list` shows it.
#include "app/survey/catalogue.hh"

#include "app/overview/list_command.hh"
#include "planner/keys.hh"
#include "planner/pointer.hh"
#include "tests/app/support.hh"
#include "tests/engine/support.hh"
#include "tests/planner/zones.hh"
#include "tests/support/memory_store.hh"

#include <simdjson.h>

#include <cstdlib>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::central_europe;
using bts3::testing::content_of;
using bts3::testing::memory_store;
using bts3::testing::write_file;
using planner::backup_kind;
using planner::timestamp;

namespace {

const manifest_bound bound = manifest_bound::of_host(config());

timestamp at(const std::string& text) {
  return timestamp::parse(text).value();
}

class scene {
 public:
  scene() : loop(engine::testing::make_reactor()), store(*loop) {}

  // A backup of `name` with `chunks` chunks of 4 bytes; returns the manifest's key.
  std::string add(const std::string& name, const std::string& time, const std::string& parent = {},
                  std::size_t chunks = 1, const std::string& stored_as = "STANDARD") {
    const planner::key_layout keys("p", name);
    planner::manifest value;
    value.subvolume = name;
    value.kind = parent.empty() ? backup_kind::full : backup_kind::incremental;
    value.created_at = at(time);
    value.snapshot.name = name + "__" + time + (parent.empty() ? "__full" : "__inc");
    value.snapshot.path = "/srv/snapshots/" + value.snapshot.name;
    if (!parent.empty()) {
      value.parent_manifest = parent;
    }
    for (std::size_t i = 0; i < chunks; ++i) {
      planner::chunk_record chunk;
      chunk.key = keys.chunk(value.kind, value.created_at, static_cast<std::uint32_t>(i));
      chunk.size = 4;
      chunk.sha256 = std::string(64, 'a');
      store.put(chunk.key, "body", stored_as);
      value.chunks.push_back(std::move(chunk));
    }
    value.total_bytes = chunks * 4;
    value.chunk_size = 4;
    value.host_name = "alpha";
    const std::string key = keys.manifest(value.kind, value.created_at);
    store.put(key, planner::write_manifest(value));
    return key;
  }
  void point(const std::string& name, const std::string& manifest) {
    planner::pointer value;
    value.manifest_key = manifest;
    store.put("p/subvol/" + name + "/current.json", planner::write_pointer(value));
  }
  engine::result<catalogue> read(const std::string& name = {}, const std::string& prefix = "p") {
    return loop->run(read_catalogue(*loop, store, catalogue_request(prefix, name, bound), {}));
  }
  catalogue seen(const std::string& name = {}) {
    auto all = read(name);
    BOOST_REQUIRE_MESSAGE(all.has_value(), bts3::testing::error_text(all));
    return std::move(*all);
  }
  // A full, two incrementals; the pointer names the last.
  void add_chain() {
    full = add("data", "20260101T010000Z", {}, 2);
    first = add("data", "20260108T010000Z", full);
    second = add("data", "20260115T010000Z", first);
    point("data", second);
  }

  std::unique_ptr<engine::reactor> loop;
  memory_store store;
  std::string full;
  std::string first;
  std::string second;
};

const catalogued_backup& backup_at(const catalogue& all, std::size_t generation,
                                   std::size_t number) {
  return all.subvolumes.at(0).generations.at(generation).backups.at(number);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(catalogue_suite)

BOOST_AUTO_TEST_CASE(generations_are_fulls_with_what_builds_on_them) {
  scene s;
  s.add_chain();
  const std::string next = s.add("data", "20260201T010000Z");
  s.point("data", next);
  const catalogue all = s.seen();
  BOOST_REQUIRE(all.subvolumes.size() == 1u);
  const catalogued_subvolume& data = all.subvolumes.front();
  BOOST_REQUIRE(data.generations.size() == 2u);
  BOOST_TEST(data.generations[0].full == s.full);
  BOOST_TEST(data.generations[1].full == next);
  BOOST_TEST(data.backups() == 4u);
  BOOST_TEST(data.newest()->key == next);
  BOOST_TEST(data.current == next);
  const catalogued_backup& last = backup_at(all, 0, 2);
  BOOST_TEST(last.key == s.second);
  BOOST_TEST(last.links == 3u);
  BOOST_TEST(last.bytes == 4u);
  BOOST_TEST(last.chain_bytes == 16u);
  BOOST_TEST((last.state == restorable::yes));
  BOOST_TEST((!last.current && backup_at(all, 1, 0).current));
  BOOST_TEST(data.classes.at("STANDARD").objects == 5u + 5u);  // chunks; manifests and the pointer
  BOOST_TEST(data.strays.empty());
  BOOST_TEST(all.strays.empty());
}

BOOST_AUTO_TEST_CASE(what_needs_a_damaged_link_cannot_be_restored_and_says_why) {
  scene s;
  s.add_chain();
  s.store.erase("p/subvol/data/incremental/chunk-20260108T010000Z-0.bin");
  const catalogue all = s.seen();
  BOOST_TEST((backup_at(all, 0, 0).state == restorable::yes));
  BOOST_TEST((backup_at(all, 0, 1).state == restorable::no));
  BOOST_TEST(backup_at(all, 0, 1).because ==
             "chunk p/subvol/data/incremental/chunk-20260108T010000Z-0.bin is missing from the "
             "bucket");
  BOOST_TEST((backup_at(all, 0, 2).state == restorable::no));
  BOOST_TEST(backup_at(all, 0, 2).because.find(
                 "it needs the backup of 2026-01-08T01:00:00Z: chunk") == 0u);
  BOOST_TEST(backup_at(all, 0, 2).problem.empty());
}

BOOST_AUTO_TEST_CASE(chunks_of_another_size_and_several_missing_ones_are_told) {
  scene s;
  s.add("data", "20260101T010000Z", {}, 3);
  const std::string stem = "p/subvol/data/full/chunk-20260101T010000Z-";
  s.store.put(stem + "1.bin", "longer");
  BOOST_TEST(backup_at(s.seen(), 0, 0).because ==
             "chunk " + stem + "1.bin has 6 bytes in the bucket, and 4 were recorded");
  s.store.erase(stem + "0.bin");
  s.store.erase(stem + "2.bin");
  BOOST_TEST(backup_at(s.seen(), 0, 0).because ==
             "chunk " + stem + "0.bin is missing from the bucket, and so are 1 more");
}

BOOST_AUTO_TEST_CASE(chains_that_lead_to_no_full_come_last) {
  scene s;
  s.add_chain();
  s.store.erase(s.full);
  const std::string orphan =
      s.add("data", "20250101T010000Z", "p/subvol/data/full/manifest-x.json");
  const std::string later = s.add("data", "20260201T010000Z");
  const catalogue all = s.seen();
  BOOST_REQUIRE(all.subvolumes.front().generations.size() == 2u);
  BOOST_TEST(all.subvolumes.front().generations[0].full == later);
  BOOST_TEST(all.subvolumes.front().generations[1].full.empty());
  BOOST_TEST(backup_at(all, 1, 0).key == orphan);
  BOOST_TEST(backup_at(all, 1, 1).because ==
             "its parent " + s.full + " is missing from the bucket");
  // The full's chunks are left over.
  BOOST_TEST(all.subvolumes.front().strays.size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_loop_of_parents_ends) {
  scene s;
  const std::string a = "p/subvol/data/incremental/manifest-20260101T010000Z.json";
  const std::string b = s.add("data", "20260108T010000Z", a);
  s.add("data", "20260101T010000Z", b);
  s.add("data", "20260115T010000Z", "p/subvol/data/incremental/manifest-20260115T010000Z.json");
  const catalogue all = s.seen();
  BOOST_TEST(all.subvolumes.front().backups() == 3u);
  for (const catalogued_backup& one : all.subvolumes.front().generations.at(0).backups) {
    BOOST_TEST((one.state == restorable::no));
    BOOST_TEST(one.because.find("leads back to itself") != std::string::npos, one.because);
  }
}

BOOST_AUTO_TEST_CASE(what_cannot_be_understood_is_reported_and_no_error) {
  scene s;
  s.add_chain();
  s.store.put(s.first, "{\"version\": 99}");
  s.store.put("p/subvol/data/full/manifest-20250101T010000Z.json", "not JSON");
  s.store.put("p/subvol/data/full/chunk-20250101T010000Z-0.bin", "body");
  s.store.put("p/subvol/data/full/chunk-20250202T010000Z-0.bin", "body");
  s.store.put("p/subvol/data/full/notes.txt", "notes");
  s.store.put("p/subvol/data/full/manifest-yesterday.json", "{}");
  // Not as this program writes it, byte for byte: what prune calls foreign, list does.
  s.store.put("p/subvol/data/full/manifest-2026-01-01T01:00:00Z.json", "{}");
  s.store.put("p/subvol/data/full/chunk-20250101T010000Z-01.bin", "body");
  s.store.put("p/subvol/data/", "");
  s.store.put("p/subvol/loose", "x");
  s.store.put("p/readme", "x");
  s.store.put("p/other/a", "x");
  s.store.put("p/other/b", "x");
  s.store.put("q/not/looked/at", "x");
  s.add("mail", "20260101T010000Z");
  const catalogue all = s.seen();
  BOOST_TEST(backup_at(all, 0, 0).key == s.full);
  BOOST_TEST(backup_at(all, 1, 0).because == "its parent " + s.first + " cannot be read");
  std::map<std::string, std::string> strays;
  for (const stray_object& one : all.subvolumes.front().strays) {
    strays[one.key.substr(std::string("p/subvol/data/").size())] = one.what + one.detail;
  }
  BOOST_TEST(strays.size() == 9u);  // the unreadable link's chunk, too
  BOOST_TEST(strays["full/manifest-2026-01-01T01:00:00Z.json"] == "nothing of this program's");
  BOOST_TEST(strays["full/chunk-20250101T010000Z-01.bin"] == "nothing of this program's");
  BOOST_TEST(strays["incremental/manifest-20260108T010000Z.json"].find("newer version") !=
             std::string::npos);
  BOOST_TEST(strays["incremental/chunk-20260108T010000Z-0.bin"] ==
             "chunk of a manifest that cannot be used");
  BOOST_TEST(strays["full/manifest-20250101T010000Z.json"].find("manifest that cannot be used") ==
             0u);
  BOOST_TEST(strays["full/chunk-20250202T010000Z-0.bin"].find("chunk of no backup") == 0u);
  BOOST_TEST(strays["full/notes.txt"] == "nothing of this program's");
  std::vector<std::string> beside;
  for (const stray_object& one : all.strays) {
    beside.push_back(one.key);
  }
  const std::vector<std::string> expected = {"p/readme", "p/other/", "p/subvol/loose"};
  BOOST_TEST(beside == expected, boost::test_tools::per_element());
  BOOST_TEST((all.strays[1].folder && !all.strays[0].folder));
  BOOST_TEST(all.subvolumes.size() == 2u);
}

BOOST_AUTO_TEST_CASE(pointers_that_lead_nowhere_are_told) {
  scene s;
  s.add_chain();
  s.point("data", "p/subvol/data/full/manifest-gone.json");
  BOOST_TEST(s.seen().subvolumes.front().pointer_problem ==
             "it names p/subvol/data/full/manifest-gone.json, which is missing");
  s.store.put("p/subvol/data/current.json", "{");
  BOOST_TEST(!s.seen().subvolumes.front().pointer_problem.empty());
  BOOST_TEST(s.seen().subvolumes.front().current.empty());
  s.store.erase("p/subvol/data/current.json");
  BOOST_TEST(s.seen().subvolumes.front().pointer_problem.empty());
}

BOOST_AUTO_TEST_CASE(a_bucket_copied_under_another_prefix_is_understood) {
  scene s;
  s.add_chain();
  for (const auto& [key, object] : std::map(s.store.objects())) {
    s.store.put("copy/" + key, object.body);
    s.store.erase(key);
  }
  auto all = s.read({}, "copy/p");
  BOOST_REQUIRE(all.has_value());
  BOOST_TEST((backup_at(*all, 0, 2).state == restorable::yes));
  BOOST_TEST(backup_at(*all, 0, 2).links == 3u);
  BOOST_TEST(all->subvolumes.front().current == "copy/" + s.second);
}

BOOST_AUTO_TEST_CASE(archived_links_make_all_that_need_them_wait) {
  scene s;
  const std::string full = s.add("data", "20260101T010000Z");
  const std::string archived = s.add("data", "20260108T010000Z", full, 2, "DEEP_ARCHIVE");
  s.add("data", "20260115T010000Z", archived, 1, "GLACIER_IR");
  const catalogue all = s.seen();
  BOOST_TEST((backup_at(all, 0, 0).state == restorable::yes));
  BOOST_TEST((backup_at(all, 0, 1).state == restorable::after_thawing));
  BOOST_TEST((backup_at(all, 0, 2).state == restorable::after_thawing));
  BOOST_TEST(backup_at(all, 0, 1).classes.at("DEEP_ARCHIVE").bytes == 8u);
}

BOOST_AUTO_TEST_CASE(another_subvolumes_manifest_is_no_backup_of_this_one) {
  scene s;
  s.add("data", "20260101T010000Z");
  const std::string key = "p/subvol/data/full/manifest-20260101T010000Z.json";
  s.store.put("p/subvol/mail/full/manifest-20260101T010000Z.json", s.store.find(key)->body);
  const catalogue all = s.seen("mail");
  BOOST_REQUIRE(all.subvolumes.size() == 1u);
  BOOST_TEST(backup_at(all, 0, 0).because == "its manifest is that of subvolume data");
}

// A prune that runs at the same time, and a store that denies what it lists.
BOOST_AUTO_TEST_CASE(what_is_listed_and_denied_is_looked_at_again) {
  scene deleted;
  deleted.add_chain();
  deleted.store.judge_by(
      [&](const memory_store::recorded_call& call) -> std::optional<engine::error> {
        if (call.verb == "GetObject" && call.key == deleted.second) {
          deleted.store.erase(deleted.second);
        }
        return std::nullopt;
      });
  const catalogue without = deleted.seen();
  BOOST_TEST(without.subvolumes.front().backups() == 2u);
  BOOST_TEST(without.subvolumes.front().pointer_problem ==
             "it names " + deleted.second + ", which is missing");
  BOOST_REQUIRE(without.subvolumes.front().strays.size() == 1u);
  BOOST_TEST(without.subvolumes.front().strays[0].what.find("chunk of no backup") == 0u);

  scene denied;
  denied.add_chain();
  denied.store.judge_by(
      [&](const memory_store::recorded_call& call) -> std::optional<engine::error> {
        return call.verb == "GetObject" && call.key == denied.first
                   ? std::optional(memory_store::absent(call.key))
                   : std::nullopt;
      });
  const catalogue with = denied.seen();
  BOOST_REQUIRE(!with.subvolumes.front().strays.empty());
  std::string detail;
  for (const stray_object& one : with.subvolumes.front().strays) {
    detail += one.key == denied.first ? one.detail : "";
  }
  BOOST_TEST(detail == "it is listed, but the store says that it does not exist");
  BOOST_TEST(denied.store.count("ListObjectsV2") == 3u);

  scene pointless;
  pointless.add_chain();
  pointless.store.judge_by(
      [](const memory_store::recorded_call& call) -> std::optional<engine::error> {
        return call.verb == "GetObject" && call.key.ends_with("current.json")
                   ? std::optional(memory_store::absent(call.key))
                   : std::nullopt;
      });
  BOOST_TEST(pointless.seen().subvolumes.front().pointer_problem ==
             "pointer p/subvol/data/current.json: it is listed, but the store says that it does "
             "not exist");
}

BOOST_AUTO_TEST_CASE(a_list_costs_a_listing_and_a_request_for_each_document) {
  scene s;
  s.add_chain();
  s.seen();
  BOOST_TEST(s.store.count("ListObjectsV2") == 2u);  // and what lies beside the subvolumes
  BOOST_TEST(s.store.count("GetObject") == 4u);
  BOOST_TEST(s.store.steps() == 6u);
  s.store.forget_calls();
  s.seen("data");
  BOOST_TEST(s.store.count("ListObjectsV2") == 1u);
  BOOST_TEST(s.store.steps() == 5u);
}

BOOST_AUTO_TEST_CASE(a_store_that_fails_is_an_error) {
  for (std::size_t step = 1; step <= 5; ++step) {
    scene s;
    s.add_chain();
    s.store.fail_at(step, memory_store::lost_connection());
    BOOST_TEST(!s.read().has_value());
    BOOST_TEST(s.store.in_flight() == 0u);
  }
  scene s;
  engine::error refused;
  refused.why = engine::reason::access;
  refused.message = "access denied";
  s.add_chain();
  s.store.fail_at(3, refused);  // one object's key is not ours to use
  BOOST_TEST(s.seen().subvolumes.front().strays.size() > 0u);
}

BOOST_AUTO_TEST_CASE(thousands_of_backups_are_read_several_at_a_time) {
  scene s;
  std::string parent;
  auto when = at("20200101T010000Z").when();
  for (int i = 0; i < 3000; ++i) {
    parent = s.add("data", timestamp(when + std::chrono::hours(i)).compact(), parent);
  }
  s.point("data", parent);
  const catalogue all = s.seen();
  BOOST_TEST(all.subvolumes.front().generations.size() == 1u);
  BOOST_TEST(backup_at(all, 0, 2999).links == 3000u);
  BOOST_TEST((backup_at(all, 0, 2999).state == restorable::yes));
  BOOST_TEST(s.store.in_flight_max() == 12u);
  BOOST_TEST(s.store.count("GetObject") == 3001u);
}

// BTS3_UPDATE_GOLDEN=1 writes the files anew.
BOOST_AUTO_TEST_CASE(the_screens_are_the_golden_ones) {
  scene s;
  const std::string full = s.add("data", "20260101T010000Z", {}, 3, "DEEP_ARCHIVE");
  const std::string link = s.add("data", "20260108T010000Z", full, 1, "STANDARD");
  s.add("data", "20260115T010000Z", link, 2, "STANDARD");
  const std::string next = s.add("data", "20260701T000000Z", {}, 1, "GLACIER_IR");
  s.point("data", s.add("data", "20260708T000000Z", next, 1, "STANDARD"));
  s.add("data", "20260709T000000Z", "p/subvol/data/full/manifest-20250101T010000Z.json");
  s.store.erase("p/subvol/data/incremental/chunk-20260115T010000Z-1.bin");
  for (int i = 10; i < 24; ++i) {
    s.store.put("p/subvol/data/full/chunk-20250101T010000Z-" + std::to_string(i) + ".bin", "body");
  }
  s.add("home\x1b[31m", "20260709T010000Z");
  s.store.put("p/lost+found", "xxxx");
  s.store.put("p/photos/2025/a", "xxxx");
  s.store.put("p/photos/2025/b", "xxxx");
  // No JSON would be told in the words of simdjson, which differ from version to version.
  s.store.put("p/subvol/data/full/manifest-20240101T010000Z.json", "{}");
  catalogue all = s.seen();
  all.subvolumes.emplace_back().name = "mail";
  list_context about;
  about.place = "s3://bucket/p";
  about.now = at("20260709T020500Z");
  const std::string folder = BTS3_SOURCE_DIR "/tests/data/surface/";
  std::vector<std::pair<std::string, std::string>> files = {
      {"list.json", list_as_json(all, about)}};
  for (const std::size_t columns : {80, 160, 0}) {
    about.columns = columns;
    files.emplace_back("list-" + std::to_string(columns) + ".txt",
                       list_as_text(all, about, central_europe()));
  }
  for (const auto& [name, text] : files) {
    if (std::getenv("BTS3_UPDATE_GOLDEN") != nullptr) {
      write_file(folder + name, text);
    }
    BOOST_TEST(text == content_of(folder + name), name);
  }
  simdjson::dom::parser parser;
  BOOST_TEST((parser.parse(files.front().second).error() == simdjson::SUCCESS));
}

BOOST_AUTO_TEST_CASE(a_list_shows_as_much_of_times_as_tells_backups_apart) {
  const auto shown = [](std::vector<const char*> times) {
    catalogue all;
    all.subvolumes.emplace_back();
    catalogued_subvolume& one = all.subvolumes.back();
    one.name = "data";
    one.generations.emplace_back();
    for (const char* time : times) {
      catalogued_backup backup;
      backup.key = std::string("k") + time;
      backup.when = *bts3::planner::timestamp::parse(time);
      one.generations.back().full = "k";
      one.generations.back().backups.push_back(backup);
    }
    list_context about;
    about.now = *bts3::planner::timestamp::parse("20261101T000000Z");
    return list_as_text(all, about, central_europe());
  };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  const std::string minutes = shown({"20260101T020003Z", "20260108T020005Z"});
  BOOST_TEST(has(minutes, "2026-01-01 03:00+01 "), minutes);
  const std::string seconds = shown({"20260101T020003Z", "20260101T020041Z"});
  BOOST_TEST(has(seconds, "2026-01-01 03:00:03+01 "), seconds);
  BOOST_TEST(has(seconds, "2026-01-01 03:00:41+01 "), seconds);
  // 02:30 comes twice when the clocks are set back.
  const std::string twice = shown({"20261025T003000Z", "20261025T013000Z"});
  BOOST_TEST(has(twice, "2026-10-25 02:30+02 "), twice);
  BOOST_TEST(has(twice, "2026-10-25 02:30+01 "), twice);
}

BOOST_AUTO_TEST_SUITE_END()
