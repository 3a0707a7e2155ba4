// Two hosts on one prefix whose backups carry one second: whose a backup is, its snapshot's UUID
// says, and nothing of the other's is recorded, deleted or aborted.
#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "engine/sha256.hh"
#include "planner/keys.hh"
#include "planner/manifest.hh"
#include "planner/pointer.hh"
#include "tests/app/backup/memory_scene.hh"

#include <filesystem>
#include <set>
#include <span>
#include <string>

using namespace bts3;
using namespace bts3::testing;

namespace {

const std::string root = "host/subvol/data/";

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string sha256_of(const std::string& text) {
  engine::sha256_hasher hasher;
  hasher.update(std::as_bytes(std::span(text.data(), text.size())));
  return hasher.digest().hex();
}

// The time in "{root}full/manifest-TIME.json" or "{root}full/chunk-TIME-...".
std::string time_in(const std::string& key) {
  const std::size_t at = key.find("full/");
  return key.substr(key.find('-', at) + 1, 16);
}

struct scene : memory_scene {
  // The other host's full of that second, its chunks under keys that go on with `names`; and an
  // upload of it that is still open under the first of them.
  void write_others(const std::string& time, const std::string& names) {
    planner::manifest value;
    value.subvolume = "data";
    value.created_at = planner::timestamp::parse(time).value();
    value.snapshot.name = "data__" + time + "__full";
    value.snapshot.path = "/other/" + value.snapshot.name;
    value.snapshot.uuid = "0a0a0a0a-0000-4000-8000-000000000001";
    value.host_id = "another";
    value.host_name = "another";
    value.storage_class = "STANDARD";
    for (const char* index : {"0", "1", "2"}) {
      planner::chunk_record chunk;
      chunk.key = root + "full/chunk-" + time + "-" + names + index + ".bin";
      const std::string body = "another host's chunk " + std::string(index);
      chunk.size = body.size();
      chunk.sha256 = sha256_of(body);
      value.total_bytes += body.size();
      value.chunk_size = 1 << 20;
      objects->put(chunk.key, body);
      others.insert(chunk.key);
      value.chunks.push_back(std::move(chunk));
    }
    const std::string manifest_key = root + "full/manifest-" + time + ".json";
    objects->put(manifest_key, planner::write_manifest(value));
    others.insert(manifest_key);
    planner::pointer pointer;
    pointer.manifest_key = manifest_key;
    pointer.created_at = value.created_at;
    objects->put(root + "current.json", planner::write_pointer(pointer));
    others.insert(root + "current.json");
    for (const std::string& key : others) {
      texts[key] = objects->find(key)->body;
    }
  }

  void open_others(const std::string& time, const std::string& names) {
    auto creating = objects->create_multipart_upload(
        s3::object_key(root + "full/chunk-" + time + "-" + names + "0.bin"), {}, {});
    others_upload = rig.shared_loop->run(std::move(creating)).value().id.str();
  }

  void expect_others_untouched() {
    for (const std::string& key : others) {
      const auto* there = objects->find(key);
      BOOST_TEST((there != nullptr && there->body == texts[key]), key);
    }
    if (!others_upload.empty()) {
      BOOST_TEST(objects->uploads().contains(others_upload));
    }
  }

  // When this host's manifest is about to be written, the other's backup is complete.
  void lose_the_race_of_the_manifest(const std::string& names) {
    objects->judge_by(
        [this, names](const memory_store::recorded_call& call) -> std::optional<engine::error> {
          if (call.verb == "PutObject" && has(call.key, "manifest-") && others.empty()) {
            write_others(time_in(call.key), names);
          }
          return std::nullopt;
        });
  }

  std::set<std::string> others;  // keys
  std::map<std::string, std::string> texts;
  std::string others_upload;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(second_writer_suite)

// Another version's keys have no tag; this one's have another.
BOOST_AUTO_TEST_CASE(who_loses_the_race_of_the_manifest_deletes_nothing_of_the_other) {
  for (const char* names : {"", "0badcafe-"}) {
    BOOST_TEST_CONTEXT("names \"" << names << "\"") {
      scene here;
      here.lose_the_race_of_the_manifest(names);
      const std::string said = here.rig.run_text();
      BOOST_TEST(has(said, "a second writer uses this prefix"), said);
      here.expect_others_untouched();
      BOOST_TEST(here.objects->objects().size() == here.others.size());  // ours are gone
      BOOST_TEST(here.rig.journal_text() == "none");
      BOOST_TEST(here.rig.disk.snapshot_paths().empty());
    }
  }
}

// Of two first nights at 02:00:00 one host was killed.
BOOST_AUTO_TEST_CASE(the_others_backup_of_the_same_second_is_not_recorded_as_ours) {
  for (const bool identity_noted : {true, false}) {
    BOOST_TEST_CONTEXT(identity_noted) {
      scene here;
      engine::error gone = memory_store::lost_connection();
      gone.what_now = engine::disposition::fail;
      here.objects->fail_from(8, gone);
      BOOST_TEST(here.rig.run_text() != "done");
      here.objects->never_fail();
      const std::string path =
          app::journal_path(here.rig.settings.global.state_path, "data", false);
      const std::string time = app::read_journal(path).value()->intent.when.compact();
      if (!identity_noted) {
        // A disk that is full: the journal holds the intent alone, and the backup went on.
        const std::string text = content_of(path);
        write_file(path, text.substr(0, text.find('\n') + 1));
      }
      here.write_others(time, "");
      here.open_others(time, "");
      (void)here.rig.run_text();
      BOOST_TEST(!here.rig.log.contains("action=record"));
      BOOST_TEST(!here.rig.log.contains("action=publish"));
      BOOST_TEST(!has(content_of(here.rig.settings.global.state_path), time));
      here.expect_others_untouched();
      BOOST_TEST(here.objects->uploads().size() == 1U);  // ours are aborted
    }
  }
}

// A journal of an older version: nothing tells its chunks from the other's.
BOOST_AUTO_TEST_CASE(a_journal_without_a_tag_aborts_what_it_names_and_deletes_nothing) {
  scene here;
  engine::error gone = memory_store::lost_connection();
  gone.what_now = engine::disposition::fail;
  here.objects->fail_from(8, gone);
  BOOST_TEST(here.rig.run_text() != "done");
  here.objects->never_fail();
  const std::string path = app::journal_path(here.rig.settings.global.state_path, "data", false);
  const app::journal_record record = *app::read_journal(path).value();
  // As if it had been written by one: its uploads have keys without a tag.
  std::string text = content_of(path);
  const std::string tag = ",\"chunk_tag\":\"" + record.intent.chunk_tag + "\"";
  BOOST_REQUIRE(has(text, tag));
  text.erase(text.find(tag), tag.size());
  const std::string time = record.intent.when.compact();
  for (const auto& [index, chunk] : record.chunks) {
    auto creating = here.objects->create_multipart_upload(
        s3::object_key(root + "full/chunk-" + time + "-" + std::to_string(index) + ".bin"), {}, {});
    const std::string id = here.rig.shared_loop->run(std::move(creating)).value().id.str();
    text.replace(text.find(chunk.upload_id), chunk.upload_id.size(), id);
  }
  write_file(path, text);
  here.write_others(time, "");
  here.open_others(time, "");
  (void)here.rig.run_text();
  BOOST_TEST(here.rig.log.contains("action=abandon"));
  here.expect_others_untouched();
  BOOST_TEST(here.rig.journal_text() == "none");
}

BOOST_AUTO_TEST_CASE(abandoning_leaves_what_another_tag_has) {
  for (const bool manifest_there : {true, false}) {
    scene here;
    engine::error gone = memory_store::lost_connection();
    gone.what_now = engine::disposition::fail;
    here.objects->fail_from(8, gone);
    BOOST_TEST(here.rig.run_text() != "done");
    here.objects->never_fail();
    const std::string path = app::journal_path(here.rig.settings.global.state_path, "data", false);
    const std::string time = app::read_journal(path).value()->intent.when.compact();
    here.write_others(time, "0badcafe-");
    here.open_others(time, "0badcafe-");
    if (!manifest_there) {
      // The other is not that far yet.
      for (const std::string& key :
           {root + "full/manifest-" + time + ".json", root + "current.json"}) {
        here.objects->erase(key);
        here.others.erase(key);
      }
      here.rig.settings.s3.part_size_bytes /= 2;  // so that ours cannot be resumed
    }
    (void)here.rig.run_text();
    BOOST_TEST(here.rig.log.contains("action=abandon"));
    here.expect_others_untouched();
  }
}

BOOST_AUTO_TEST_CASE(keys_of_two_backups_of_one_second_differ) {
  std::set<std::string> seen;
  for (int run = 0; run < 2; ++run) {
    scene here;
    BOOST_TEST(here.rig.run_text() == "done");
    for (const auto& [key, object] : here.objects->objects()) {
      const planner::object_name name = planner::name_of(root, key);
      if (name.is == planner::object_name::what::chunk) {
        BOOST_TEST(name.tag.size() == planner::chunk_tag_letters);
        seen.insert(name.tag);
      }
    }
  }
  BOOST_TEST(seen.size() == 2U);
}

BOOST_AUTO_TEST_SUITE_END()
