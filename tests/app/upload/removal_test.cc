// Undoing a backup from its record alone: what is asked of the store, what goes, and what stays.
#include "app/upload/removal.hh"

#include "tests/app/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"
#include "tests/support/played_host.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::error_text;
using bts3::testing::memory_store;

namespace {

const std::string root = "p/subvol/data/";

// A backup of three chunks: an object, an upload that is open, and one that was begun and whose id
// nobody knows. Beside them what is not its own.
struct scene {
  scene()
      : loop(std::move(*engine::reactor::create())),
        clock(testing::reference_time),
        objects(*loop),
        with{*loop, log, clock, settings, disk, [](std::string_view) { return std::nullopt; }, {}} {
    backup_intent& intent = record.intent;
    intent.subvolume = "data";
    intent.when = planner::timestamp::parse("20260121T020003Z").value();
    intent.keys_root = root;
    intent.chunk_tag = "0badcafe";
    intent.manifest_key = root + "full/manifest-20260121T020003Z.json";
    intent.snapshot_path = place / "data__20260121T020003Z__full";
    intent.part_size = 1;
    intent.chunk_size = 3;
    objects.put(chunk(0), "a");
    objects.put(anothers, "b");
    objects.put(intent.manifest_key, "{}");
    record.chunks[0].stored = true;
    record.chunks[1].upload_begun = true;
    record.chunks[1].upload_id = open(chunk(1));
    record.chunks[2].upload_begun = true;
    open(chunk(2));
    open(anothers);
    objects.forget_calls();
  }

  std::string chunk(std::uint32_t index) const {
    return root + "full/chunk-20260121T020003Z-" +
           (record.intent.chunk_tag.empty() ? "" : record.intent.chunk_tag + "-") +
           std::to_string(index) + ".bin";
  }

  std::string open(const std::string& key) {
    auto creating = objects.create_multipart_upload(s3::object_key(key), {}, {});
    auto made = loop->run(std::move(creating));
    BOOST_REQUIRE(made.has_value());
    return made->id.str();
  }

  engine::result<void> remove(removal_reach reach) {
    order.record = record;
    order.reach = reach;
    removal undoing(with, order, {});
    auto removing = undoing.objects(objects);
    return loop->run(std::move(removing));
  }

  engine::result<bool> remove_the_snapshot() {
    order.record = record;
    removal undoing(with, order, {});
    auto removing = undoing.snapshot();
    return loop->run(std::move(removing));
  }

  // "AbortMultipartUpload 1": each call with its chunk, or what else it is of.
  std::vector<std::string> calls() const {
    std::vector<std::string> made;
    for (const memory_store::recorded_call& call : objects.calls()) {
      std::string of = call.key.substr(call.key.rfind('/') + 1);
      for (std::uint32_t index = 0; index < 10; ++index) {
        of = call.key == chunk(index) ? std::to_string(index) : of;
      }
      made.push_back(call.verb + " " + of);
    }
    return made;
  }

  // The open uploads and objects that are left.
  std::vector<std::string> left() const {
    std::vector<std::string> all;
    for (const auto& [id, upload] : objects.uploads()) {
      all.push_back("open " + upload.key.str());
    }
    for (const auto& [key, object] : objects.objects()) {
      all.push_back(key);
    }
    return all;
  }

  testing::scratch_directory place;
  testing::played_host disk;
  std::unique_ptr<engine::reactor> loop;
  testing::line_log log;
  testing::fixed_clock clock;
  config settings;
  memory_store objects;
  services with;
  journal_record record;
  removal_order order;
  // Another writer's of the same second.
  const std::string anothers = root + "full/chunk-20260121T020003Z-feedbeef-0.bin";
};

using texts = std::vector<std::string>;

}  // namespace

BOOST_FIXTURE_TEST_SUITE(removal_suite, scene)

// Where no index was put, nobody asks for it: a key that may not delete would be refused.
BOOST_AUTO_TEST_CASE(an_index_that_was_put_goes_however_far_is_looked) {
  const std::string key = root + "full/index-20260121T020003Z-0badcafe.zst";
  for (const auto reach : {removal_reach::named, removal_reach::keys}) {
    for (const bool noted : {true, false}) {
      objects.put(key, "index");
      record.index.reset();
      if (noted) {
        record.index.emplace();
        record.index->key = key;
      }
      const auto removed = remove(reach);
      BOOST_REQUIRE_MESSAGE(removed.has_value(), error_text(removed));
      BOOST_TEST((objects.find(key) == nullptr) == noted);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_the_record_names_goes_key_by_key) {
  BOOST_TEST(remove(removal_reach::named).has_value());
  const texts asked = {"DeleteObject 0", "AbortMultipartUpload 1", "ListMultipartUploads 1",
                       "ListMultipartUploads 2", "AbortMultipartUpload 2"};
  BOOST_TEST(calls() == asked, boost::test_tools::per_element());
  const texts stays = {"open " + anothers, anothers, record.intent.manifest_key};
  BOOST_TEST(left() == stays, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_manifest_goes_first_where_it_may_be_there) {
  order.manifest = true;
  record.chunks.clear();
  BOOST_TEST(remove(removal_reach::named).has_value());
  const texts asked = {"DeleteObject manifest-20260121T020003Z.json"};
  BOOST_TEST(calls() == asked, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_sealed_backups_keys_object_goes_with_its_chunks) {
  const std::string keys = root + "full/keys-20260121T020003Z-0badcafe.age";
  const std::string anothers_keys = root + "full/keys-20260121T020003Z-feedbeef.age";
  const auto to = age::x25519_recipient::parse(
      "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p");
  record.intent.sealing.emplace(age::backup_id(), to.value(), keys, std::vector<std::byte>(1),
                                std::vector<std::string>());
  objects.put(anothers_keys, "another's");
  for (const removal_reach reach : {removal_reach::named, removal_reach::keys}) {
    objects.put(keys, "keys");
    BOOST_TEST(remove(reach).has_value());
    BOOST_TEST((objects.find(keys) == nullptr));
    BOOST_TEST((objects.find(anothers_keys) != nullptr));
    // It may never have been written.
    BOOST_TEST(remove(reach).has_value());
  }
}

BOOST_AUTO_TEST_CASE(nothing_is_asked_where_the_record_names_nothing) {
  record.chunks.clear();
  BOOST_TEST(remove(removal_reach::named).has_value());
  BOOST_TEST(objects.calls().empty());
}

BOOST_AUTO_TEST_CASE(what_cannot_be_removed_does_not_keep_the_rest) {
  objects.judge_by([this](const memory_store::recorded_call& call) {
    return call.key == chunk(0) ? std::optional(memory_store::denied(call.key)) : std::nullopt;
  });
  const auto removed = remove(removal_reach::named);
  BOOST_REQUIRE(!removed.has_value());
  BOOST_TEST((removed.error().why == engine::reason::access));
  BOOST_TEST(log.contains("object_left key=" + chunk(0)));
  const texts stays = {"open " + anothers, chunk(0), anothers, record.intent.manifest_key};
  texts seen = left();
  BOOST_TEST(seen.size() == stays.size());
  for (const std::string& one : stays) {
    BOOST_TEST((std::find(seen.begin(), seen.end(), one) != seen.end()), one);
  }
}

BOOST_AUTO_TEST_CASE(an_upload_that_cannot_be_aborted_by_anybody_is_told_and_is_no_failure) {
  objects.judge_by([](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    if (call.verb != "AbortMultipartUpload") {
      return std::nullopt;
    }
    engine::error failure;
    failure.why = engine::reason::unsupported;
    failure.message = "no such verb";
    return failure;
  });
  BOOST_TEST(remove(removal_reach::named).has_value());
  BOOST_TEST(log.contains("upload_left_open key=" + chunk(1)));
  BOOST_TEST((objects.find(chunk(0)) == nullptr));
}

// As after a crash: the record has missed an upload and an object.
BOOST_AUTO_TEST_CASE(under_its_keys_is_found_what_the_record_missed) {
  objects.put(chunk(7), "c");
  open(chunk(7));
  record.chunks.clear();
  BOOST_TEST(remove(removal_reach::keys).has_value());
  const texts stays = {"open " + anothers, anothers, record.intent.manifest_key};
  BOOST_TEST(left() == stays, boost::test_tools::per_element());
  BOOST_TEST(objects.count("ListMultipartUploads") == 1U);
  BOOST_TEST(objects.count("ListObjectsV2") == 1U);
}

BOOST_AUTO_TEST_CASE(under_its_keys_the_first_failure_ends_it) {
  objects.judge_by([](const memory_store::recorded_call& call) {
    return call.verb == "AbortMultipartUpload" ? std::optional(memory_store::denied(call.key))
                                               : std::nullopt;
  });
  const auto removed = remove(removal_reach::keys);
  BOOST_REQUIRE(!removed.has_value());
  BOOST_TEST(removed.error().text().find("aborting the upload of") != std::string::npos);
  BOOST_TEST(objects.count("AbortMultipartUpload") == 1U);
  BOOST_TEST(objects.count("DeleteObject") == 0U);
}

// Without a tag the keys of both writers are the same.
BOOST_AUTO_TEST_CASE(chunks_that_may_be_anothers_are_not_touched) {
  order.key_is_anothers = true;
  record.intent.chunk_tag.clear();
  objects.put(chunk(0), "theirs");
  BOOST_TEST(remove(removal_reach::named).has_value());
  BOOST_TEST(objects.calls().empty());
  record.chunks[1].upload_id = open(chunk(1));
  objects.forget_calls();
  BOOST_TEST(remove(removal_reach::keys).has_value());
  const texts asked = {"AbortMultipartUpload 1"};
  BOOST_TEST(calls() == asked, boost::test_tools::per_element());
  BOOST_TEST((objects.find(chunk(0)) != nullptr));
}

BOOST_AUTO_TEST_CASE(a_snapshot_goes_when_it_is_the_one_that_the_record_names) {
  BOOST_TEST(!remove_the_snapshot().value());  // none is there
  disk.add_subvolume(record.intent.snapshot_path);
  record.snapshot = snapshot_identity{"another", 7};
  BOOST_TEST(!remove_the_snapshot().value());
  BOOST_TEST(log.contains("snapshot_left path=" + record.intent.snapshot_path));
  BOOST_TEST(std::filesystem::exists(record.intent.snapshot_path));
  record.snapshot->uuid = disk.known.at(record.intent.snapshot_path).own_uuid.text();
  const auto removed = remove_the_snapshot();
  BOOST_REQUIRE_MESSAGE(removed.has_value(), error_text(removed));
  BOOST_TEST(*removed);
  BOOST_TEST(!std::filesystem::exists(record.intent.snapshot_path));
}

BOOST_AUTO_TEST_SUITE_END()
