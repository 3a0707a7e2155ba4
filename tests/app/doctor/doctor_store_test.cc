// What doctor says of the store: judgements over facts, and the bucket over the memory store.
#include "app/doctor/doctor_store.hh"

#include "app/config/selection.hh"
#include "app/doctor/doctor_host.hh"
#include "app/records/journal_shelf.hh"
#include "engine/async_scope.hh"
#include "tests/app/doctor/doctor_scene.hh"
#include "tests/planner/zones.hh"

#include <boost/test/unit_test.hpp>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::central_europe;
using bts3::testing::denied;
using bts3::testing::has;
using bts3::testing::memory_store;
using bts3::testing::memory_store_options;
using bts3::testing::the;
using bts3::testing::write_file;
using scene = bts3::testing::doctor_scene;

namespace {

// As a policy does that allows what a backup needs, and no more.
void deny_deleting(memory_store& store) {
  store.judge_by([](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    if (call.verb != "DeleteObject") {
      return std::nullopt;
    }
    return denied();
  });
}

// The number of the first call of a verb.
std::size_t step_of(const memory_store& store, const std::string& verb) {
  for (std::size_t i = 0; i < store.calls().size(); ++i) {
    if (store.calls()[i].verb == verb) {
      return i + 1;
    }
  }
  BOOST_FAIL("nobody called " << verb);
  return 0;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(doctor_store_suite)

BOOST_AUTO_TEST_CASE(bodies_in_plain_text_on_a_network_are_a_warning) {
  BOOST_TEST(judge_endpoint("", "eu-central-1").how == check_outcome::ok);
  BOOST_TEST(has(judge_endpoint("", "eu-central-1").found, "eu-central-1"));
  for (const char* url : {"https://s3.example.org", "http://127.0.0.1:7480", "http://localhost",
                          "http://[::1]:9000", "http://s3.localhost:9000"}) {
    BOOST_TEST(judge_endpoint(url, "r").how == check_outcome::ok, url);
  }
  for (const char* url : {"http://s3.example.org", "http://10.0.0.1:7480", "http://127.example.org",
                          "http://[2001:db8::1]:9000", "http://notlocalhost"}) {
    BOOST_TEST(judge_endpoint(url, "r").how == check_outcome::warning, url);
  }
  BOOST_TEST(judge_endpoint("ftp://s3", "r").how == check_outcome::failed);
}

BOOST_AUTO_TEST_CASE(credentials_are_told_without_their_secret) {
  const auto now = std::chrono::system_clock::from_time_t(1'767'323'045);  // 2026-01-02T03:04:05Z
  s3::credentials who;
  who.access_key_id = "AKIA";
  who.secret_access_key = "SECRET";
  who.session_token = "TOKEN";
  who.source = "the environment";
  const health_check lasting = judge_credentials(who, now);
  BOOST_TEST(lasting.how == check_outcome::ok);
  BOOST_TEST((has(lasting.found, "the environment") && has(lasting.found, "AKIA")));
  BOOST_TEST((!has(lasting.found, "SECRET") && !has(lasting.found, "TOKEN")));
  who.expiration = now + std::chrono::seconds(1);
  BOOST_TEST(judge_credentials(who, now).how == check_outcome::ok);
  BOOST_TEST(has(judge_credentials(who, now).found, "until 2026-01-02T03:04:06Z"));
  who.expiration = now;
  BOOST_TEST(judge_credentials(who, now).how == check_outcome::warning);
}

BOOST_AUTO_TEST_CASE(a_clock_that_is_off_by_more_than_a_minute_is_a_warning) {
  using std::chrono::seconds;
  const auto now = std::chrono::system_clock::from_time_t(1'767'323'045);
  BOOST_TEST(judge_clock(std::nullopt, now).how == check_outcome::skipped);
  BOOST_TEST(judge_clock(now + seconds(60), now).how == check_outcome::ok);
  BOOST_TEST(judge_clock(now - seconds(60), now).how == check_outcome::ok);
  const health_check behind = judge_clock(now + seconds(61), now);
  BOOST_TEST(behind.how == check_outcome::warning);
  BOOST_TEST(has(behind.found, "1 min 01 s behind"));
  BOOST_TEST(has(behind.remedy, "NTP"));
  BOOST_TEST(has(judge_clock(now - seconds(61), now).found, "1 min 01 s ahead of"));
}

BOOST_AUTO_TEST_CASE(backups_are_judged_by_the_planners_decision) {
  const central_europe zone;
  const auto now = *planner::timestamp::parse("2026-01-20T01:00:04Z");
  const planner::policy by = policy_of(config(), false, false);
  const auto judged = [&](const subvolume_view& view) {
    return judge_backups("data", view, by, now, zone);
  };
  subvolume_view view;
  view.seen.subvolume = "data";
  view.seen.own_host_id = "here";
  BOOST_TEST(judged(view).how == check_outcome::note);
  view.seen.remembered_manifest = "m";
  BOOST_TEST(judged(view).how == check_outcome::failed);
  BOOST_TEST(has(judged(view).found, "no current.json of data any more"));

  const auto when = *planner::timestamp::parse("2026-01-14T01:00:04Z");
  view.seen.pointer_exists = true;
  view.seen.last.emplace();
  view.seen.last->created_at = when;
  view.seen.last->host_id = "here";
  view.seen.chain_times = {when};
  view.chain.resize(1);
  view.seen.parent = planner::parent_state::present;
  BOOST_TEST(judged(view).how == check_outcome::ok);
  BOOST_TEST(has(judged(view).found, "the last of 1 link is of 2026-01-14 02:00+01"));
  view.seen.parent = planner::parent_state::missing;
  view.seen.parent_problem = "it is gone";
  BOOST_TEST(judged(view).how == check_outcome::warning);
  BOOST_TEST(has(judged(view).found, "it is gone"));
  view.seen.chunk_problem = "chunk x is missing from the bucket";
  BOOST_TEST(judged(view).how == check_outcome::failed);
  BOOST_TEST(has(judged(view).found, "chunk x is missing"));
  view.seen.last->host_id = "there";
  BOOST_TEST(judged(view).how == check_outcome::failed);
  BOOST_TEST(has(judged(view).remedy, "--adopt"));
  const health_check unknown = judge_backups("data", denied(), by, now, zone);
  BOOST_TEST(unknown.how == check_outcome::failed);
  BOOST_TEST(has(unknown.found, "Access Denied"));
}

BOOST_AUTO_TEST_CASE(a_healthy_bucket_is_written_to_and_left_as_it_was) {
  scene s;
  s.add_generation({20, 13, 6});
  const auto before = s.keys_in_store();
  const auto made = s.look_at_store();
  for (const char* check : {"bucket", "uploads", "write", "limits", "documents"}) {
    BOOST_TEST(the(made, check).how == check_outcome::ok, check << ": " << the(made, check).found);
  }
  BOOST_TEST(has(the(made, "bucket").found, "s3://b/p answers, and has 1 subvolume"));
  BOOST_TEST(has(the(made, "write").found, "DEEP_ARCHIVE, sse AES256, with CRC32"));
  BOOST_TEST(the(made, "backups", "data").how == check_outcome::warning);  // no snapshot is here
  BOOST_TEST((s.keys_in_store() == before));
  BOOST_TEST(s.store.uploads().empty());
  for (const char* verb : {"ListParts", "CompleteMultipartUpload", "AbortMultipartUpload"}) {
    BOOST_TEST(s.store.count(verb) == 1U, verb);
  }
  BOOST_TEST(s.store.count("CreateMultipartUpload") == 2U);  // one is completed, one aborted
  BOOST_TEST(s.store.count("UploadPart") == 3U);             // one of them is broken off
  BOOST_TEST(s.store.count("PutObject") == 2U);              // absent, and the same
  BOOST_TEST(s.store.count("DeleteObject") == 3U);  // whether that is allowed, and after each
  const std::string key = s.store.calls()[step_of(s.store, "UploadPart") - 1].key;
  BOOST_TEST(planner::name_of(s.keys.root(), key).is_probe());
}

BOOST_AUTO_TEST_CASE(where_nothing_can_be_deleted_nothing_is_made) {
  scene s;
  deny_deleting(s.store);
  const auto before = s.keys_in_store();
  const auto made = s.look_at_store();
  BOOST_TEST(the(made, "write").how == check_outcome::ok);
  BOOST_TEST(has(the(made, "write").found, "aborted again"));
  BOOST_TEST(the(made, "documents").how == check_outcome::skipped);
  BOOST_TEST((s.keys_in_store() == before));
  BOOST_TEST(s.store.uploads().empty());
  for (const char* verb : {"PutObject", "CompleteMultipartUpload"}) {
    BOOST_TEST(s.store.count(verb) == 0U, verb);
  }
}

BOOST_AUTO_TEST_CASE(a_refused_class_is_named_with_those_that_the_store_takes) {
  scene s;
  s.settings.s3.storage_class_chunks = s3::storage_class("COLD");
  s.settings.s3.sse = object_encryption::aes256;
  s.settings.s3.endpoint_url = "https://s3.example.org";
  s.store.refuse_classes({"COLD", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR", "DEEP_ARCHIVE"});
  const auto made = s.look_at_store();
  BOOST_TEST(the(made, "write").how == check_outcome::failed);
  BOOST_TEST(has(the(made, "write").remedy,
                 "change s3.storage_class_chunks; of the usual classes "
                 "it takes none, STANDARD, GLACIER"));
  BOOST_TEST(the(made, "documents").how == check_outcome::skipped);
  BOOST_TEST(s.store.uploads().empty());
}

BOOST_AUTO_TEST_CASE(without_the_write_check_nothing_is_asked_to_change) {
  scene s;
  const auto made = s.look_at_store(false);
  BOOST_TEST(the(made, "write").how == check_outcome::skipped);
  BOOST_TEST(the(made, "documents").how == check_outcome::skipped);
  BOOST_TEST(the(made, "backups", "data").how == check_outcome::note);
  for (const char* verb : {"CreateMultipartUpload", "UploadPart", "AbortMultipartUpload"}) {
    BOOST_TEST(s.store.count(verb) == 0U, verb);
  }
}

BOOST_AUTO_TEST_CASE(the_probe_is_stored_as_a_chunk_would_be) {
  scene s;
  s.settings.s3.sse = object_encryption::kms;
  s.settings.s3.sse_kms_key_id = "key";
  deny_deleting(s.store);
  s.look_at_store();
  const std::size_t part = step_of(s.store, "UploadPart");
  const std::size_t abort = step_of(s.store, "AbortMultipartUpload");
  s.store.forget_calls();
  // What is left where neither can be done.
  s.store.fail_from(part + 1, denied());
  const auto made = s.look_at_store();
  BOOST_TEST(abort == part + 2);
  BOOST_REQUIRE(s.store.uploads().size() == 1U);
  const auto& left = s.store.uploads().begin()->second;
  BOOST_TEST(left.options.stored_as.str() == "DEEP_ARCHIVE");
  BOOST_TEST(left.options.sse == "aws:kms");
  BOOST_TEST(left.options.sse_kms_key_id == "key");
  BOOST_TEST(left.options.checksum_crc32);
  BOOST_TEST(left.parts.size() == 1U);
  BOOST_TEST(the(made, "write").how == check_outcome::warning);  // a backup does without
  BOOST_TEST(has(the(made, "write").found, left.key.str() + " cannot be aborted: Access Denied"));
  BOOST_TEST(has(the(made, "write").remedy, "s3:AbortMultipartUpload"));
}

BOOST_AUTO_TEST_CASE(each_refusal_of_the_write_check_is_a_failure_that_leaves_nothing) {
  for (const char* verb : {"CreateMultipartUpload", "UploadPart"}) {
    for (const auto when : {memory_store::performed::no, memory_store::performed::yes}) {
      scene s;
      s.look_at_store();
      const std::size_t step = step_of(s.store, verb);
      s.store.forget_calls();
      s.store.fail_at(step, denied(), when);
      const auto made = s.look_at_store();
      BOOST_TEST(the(made, "write").how == check_outcome::failed, verb);
      BOOST_TEST(has(the(made, "write").found, "Access Denied"), verb);
      BOOST_TEST(has(the(made, "write").remedy, "Rights"), verb);
      BOOST_TEST(the(made, "backups", "data").how == check_outcome::note, verb);
      BOOST_TEST(s.store.uploads().empty(), verb);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_store_that_knows_no_checksums_is_told_so) {
  memory_store_options options;
  options.refuse_checksums = true;
  scene s(options);
  const auto made = s.look_at_store();
  BOOST_TEST(the(made, "write").how == check_outcome::ok);
  BOOST_TEST(has(the(made, "write").found, "without CRC32"));
  BOOST_TEST(s.store.uploads().empty());
}

BOOST_AUTO_TEST_CASE(a_stop_in_the_middle_of_the_write_check_aborts_the_upload) {
  scene s;
  const auto stop_once_begun = [](engine::reactor& loop, const memory_store& store,
                                  engine::stop_source& stop) -> engine::task<void> {
    for (int turns = 0; turns < 100'000 && store.uploads().empty(); ++turns) {
      auto yielding = loop.yield();
      co_await std::move(yielding);
    }
    stop.request_stop();
  };
  engine::async_scope beside(*s.loop);
  beside.spawn(stop_once_begun(*s.loop, s.store, s.stop));
  doctor_command command;
  const auto stopped = s.loop->run(examine(s.with, command));
  s.loop->run(beside.join());
  BOOST_REQUIRE(!stopped.has_value());
  BOOST_TEST((stopped.error().what_now == engine::disposition::cancelled));
  BOOST_TEST(s.store.count("CreateMultipartUpload") == 1U);
  BOOST_TEST(s.store.count("AbortMultipartUpload") == 1U);
  BOOST_TEST(s.store.uploads().empty());
}

BOOST_AUTO_TEST_CASE(a_probe_whose_abort_was_lost_goes_with_the_next_doctor) {
  scene s;
  deny_deleting(s.store);
  s.look_at_store();
  const std::size_t abort = step_of(s.store, "AbortMultipartUpload");
  s.store.forget_calls();
  s.store.fail_from(abort, memory_store::lost_connection());
  s.store.set_date(s.now.rfc3339());
  s.look_at_store();
  s.store.never_fail();
  BOOST_REQUIRE(s.store.uploads().size() == 1U);
  // It may be another doctor's that is under way.
  s.clock.time += std::chrono::minutes(9);
  BOOST_TEST(the(s.look_at_store(), "uploads").how == check_outcome::ok);
  BOOST_TEST(s.store.uploads().size() == 1U);
  s.clock.time += std::chrono::minutes(2);
  BOOST_TEST(the(s.look_at_store(false), "uploads").how == check_outcome::warning);
  BOOST_TEST(s.store.uploads().size() == 1U);
  const health_check aborted = the(s.look_at_store(), "uploads");
  BOOST_TEST(aborted.how == check_outcome::note);
  BOOST_TEST(has(aborted.found, "1 that an earlier doctor had left was aborted"));
  BOOST_TEST(s.store.uploads().empty());
}

BOOST_AUTO_TEST_CASE(forgotten_uploads_are_counted_and_left_to_prune) {
  scene s;
  const auto open = [&](const std::string& key, const char* date) {
    s.store.set_date(date);
    BOOST_REQUIRE(s.loop->run(s.store.create_multipart_upload(s3::object_key(key), {}, {})));
  };
  const auto chunk = [&](const char* when) {
    return s.keys.chunk(planner::backup_kind::full, *planner::timestamp::parse(when), 0);
  };
  open(chunk("20261120T020000Z"), "2026-11-20T02:00:00.000Z");  // young
  open(s.keys.root() + "notes.txt", "2026-01-01T00:00:00.000Z");
  open("p/subvol/other/full/chunk-20260101T000000Z-0.bin", "2026-01-01T00:00:00.000Z");
  BOOST_TEST(the(s.look_at_store(), "uploads").how == check_outcome::ok);
  open(chunk("20261101T020000Z"), "2026-11-01T02:00:00.000Z");
  const health_check forgotten = the(s.look_at_store(), "uploads");
  BOOST_TEST(forgotten.how == check_outcome::warning);
  BOOST_TEST(has(forgotten.found, "1 multipart upload is forgotten"));
  BOOST_TEST(has(forgotten.remedy, "once retention.keep_generations is set"));
  BOOST_TEST(s.store.uploads().size() == 4U);
  s.settings.retention.keep_generations = 2;
  BOOST_TEST(the(s.look_at_store(), "uploads").remedy == "`btrfs_to_s3 prune --yes` aborts it");
}

BOOST_AUTO_TEST_CASE(what_a_damaged_journal_protects_is_not_judged) {
  scene s;
  write_file(journal_path(s.settings.global.state_path, "data", false), "no journal\n{}\n");
  BOOST_TEST(the(check_local_files(s.with), "journals").how == check_outcome::warning);
  BOOST_TEST(has(the(check_local_files(s.with), "journals").found, "journal"));
  const auto made = s.look_at_store();
  BOOST_TEST(the(made, "uploads").how == check_outcome::skipped);
  BOOST_TEST(the(made, "write").how == check_outcome::ok);
}

BOOST_AUTO_TEST_CASE(a_bucket_that_refuses_leaves_the_rest_skipped) {
  scene s;
  s.store.fail_from(1, denied());
  const auto made = s.look_at_store();
  BOOST_TEST(the(made, "bucket").how == check_outcome::failed);
  BOOST_TEST(the(made, "bucket").found == "s3://b/p: Access Denied");
  for (const char* check : {"clock", "uploads", "write", "limits", "documents"}) {
    BOOST_TEST(the(made, check).how == check_outcome::skipped, check);
  }
  BOOST_TEST(the(made, "backups", "data").how == check_outcome::skipped);
  BOOST_TEST(s.store.steps() == 1U);
}

BOOST_AUTO_TEST_CASE(a_key_that_may_not_list_uploads_is_no_obstacle) {
  scene s;
  s.look_at_store();
  const std::size_t listing = step_of(s.store, "ListMultipartUploads");
  s.store.forget_calls();
  s.store.fail_at(listing, denied());
  const auto made = s.look_at_store();
  BOOST_TEST(the(made, "uploads").how == check_outcome::note);
  BOOST_TEST(the(made, "write").how == check_outcome::ok);
}

BOOST_AUTO_TEST_CASE(backups_are_looked_at_also_without_a_place_for_snapshots) {
  scene s;
  std::filesystem::remove(s.settings.snapshots.base_dir);
  BOOST_TEST(the(s.look_at_store(), "backups", "data").how == check_outcome::note);
  const auto keys = s.add_generation({20, 6});
  const health_check there = the(s.look_at_store(), "backups", "data");
  BOOST_TEST(there.how == check_outcome::note);
  BOOST_TEST(has(there.found, keys.back()));
  s.store.put(s.keys.pointer(), "{");
  BOOST_TEST(the(s.look_at_store(), "backups", "data").how == check_outcome::failed);
}

BOOST_AUTO_TEST_SUITE_END()
