// What a run makes of what earlier runs left: journals of other configurations, backups given up
// whose place is gone or refuses, uploads on stores that list them badly or not at all, a damaged
// pointer.
#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "planner/keys.hh"
#include "tests/app/backup/backup_rig.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/scripted_s3_server.hh"

#include <filesystem>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::testing;
using namespace std::chrono_literals;

namespace {

const std::string pointer_key = "host/subvol/data/current.json";

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A rig over a store in memory, which a run may lose for good at any request.
struct memory_scene {
  explicit memory_scene(memory_store_options options = {}) {
    rig.shared_loop = std::move(*engine::reactor::create());
    objects = std::make_unique<memory_store>(*rig.shared_loop, options);
    rig.tuning.store = objects.get();
  }

  // At 8 of a first full some parts of both chunks have arrived.
  void interrupt_at(std::size_t step) {
    engine::error gone = memory_store::lost_connection();
    gone.what_now = engine::disposition::fail;  // after all retries
    objects->forget_calls();
    objects->fail_from(step, gone);
    BOOST_TEST(rig.run_text() != "done");
    BOOST_TEST(rig.journal_text() != "none");
    objects->never_fail();
    objects->forget_calls();
    rig.log.lines.clear();
  }

  bucket_contents contents() const {
    bucket_contents there;
    for (const auto& [key, object] : objects->objects()) {
      there.objects[key] = object.body;
    }
    for (const auto& [id, upload] : objects->uploads()) {
      there.uploads[upload.key.str() + " " + id];
    }
    return there;
  }

  app::journal_record journalled() const {
    auto record =
        app::read_journal(app::journal_path(rig.settings.global.state_path, "data", false));
    BOOST_REQUIRE(record.has_value() && record->has_value());
    return std::move(**record);
  }

  backup_rig rig;
  std::unique_ptr<memory_store> objects;
};

// A rig whose store is a scripted server, one request at a time and none repeated.
struct wire_scene {
  explicit wire_scene(const scripted_s3_options& options = small_parts()) : server(options) {
    rig.settings.s3.endpoint_url = server.url();
    rig.settings.s3.concurrency = 1;
    rig.settings.s3.retry_for = 0ms;
  }

  static scripted_s3_options small_parts() {
    scripted_s3_options options;
    options.enforce_part_minimum = false;
    options.buckets = {"bucket", "new"};
    return options;
  }

  // A first run, from which this happens to its requests.
  void fail_first_run(const request_match& match, const scripted_action& action) {
    server.script(match, action);
    BOOST_TEST(rig.run_text() != "done");
    BOOST_TEST(rig.journal_text() != "none");
    server.clear_script();
    rig.log.lines.clear();
  }

  bucket_contents contents(const std::string& bucket = "bucket") const {
    bucket_contents there;
    there.objects = server.bodies(bucket);
    for (const auto& upload : server.open_uploads()) {
      there.uploads[upload.key];
    }
    return there;
  }

  // The configuration names another place; the place of before is out of reach.
  void move_away() {
    rig.settings.s3.bucket = "new";
    rig.settings.s3.prefix = "new/";
    request_match before;
    before.key_contains = "host/";
    before.times = 0;
    server.script(before, scripted_action::answer(503, "SlowDown"));
  }

  scripted_s3_server server;
  backup_rig rig;
};

request_match key_with(s3_verb verb, const std::string& part) {
  request_match match(verb);
  match.key_contains = part;
  return match;
}

const scripted_action forbidden = scripted_action::answer(403, "AccessDenied");

}  // namespace

BOOST_AUTO_TEST_SUITE(settle_suite)

// Two configurations, their state files in one directory: "state.media.data.journal" begins like a
// journal of state.json.
BOOST_AUTO_TEST_CASE(another_configurations_backup_is_not_touched) {
  memory_scene here;
  backup_rig& rig = here.rig;
  rig.settings.global.state_path = rig.place / "state.media.json";
  here.interrupt_at(8);
  const std::string left = rig.journal_text();
  const std::vector<std::string> snapshots = rig.disk.snapshot_paths();
  BOOST_REQUIRE(snapshots.size() == 1U);
  const app::config media = rig.settings;

  app::config& settings = rig.settings;
  settings.global.state_path = rig.place / "state.json";
  settings.s3.prefix = "other/";
  settings.snapshots.base_dir = rig.place / "other_snapshots";
  std::filesystem::create_directories(settings.snapshots.base_dir);
  settings.subvolumes = {app::subvolume_config{"other", rig.place / "other"}};
  rig.disk.add_subvolume(rig.place / "other");
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(!rig.log.contains("unfinished_backup"));
  // Set aside, it is as much the other's.
  const std::string path = app::journal_path(media.global.state_path, "data", false);
  const std::string aside =
      app::set_journal_aside(path, planner::timestamp::parse("20260101T000000Z").value()).value();
  BOOST_TEST(rig.run_text() == "done");
  BOOST_REQUIRE(std::filesystem::exists(aside));
  std::filesystem::rename(aside, path);
  BOOST_TEST(!here.objects->uploads().empty());
  BOOST_TEST(std::filesystem::exists(snapshots[0]));

  settings = media;
  BOOST_TEST(rig.journal_text() == left);
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.log.contains("action=resume"));
  BOOST_TEST(rig.journal_text() == "none");
  BOOST_TEST(here.objects->uploads().empty());
  BOOST_TEST(rig.chain_in(here.contents()).size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_damaged_journal_that_may_be_anothers_is_left_alone) {
  memory_scene here;
  const std::string damaged = here.rig.place / "state.media.data.journal";
  const std::string empty = here.rig.place / "state.media.more.journal";
  write_file(damaged, "no intent\n{}\n");
  write_file(empty, "");
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.log.contains("journal_left_alone error=journal " + damaged));
  BOOST_TEST(!here.rig.log.contains("journal_left_alone error=journal " + empty));
  BOOST_TEST(content_of(damaged) == "no intent\n{}\n");
  BOOST_TEST(std::filesystem::exists(empty));
  // The one whose subvolume is configured: no other place is meant.
  here.rig.settings.global.state_path = here.rig.place / "state.media.json";
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.log.contains("journal_damaged"));
  BOOST_TEST(!std::filesystem::exists(damaged));
}

// state.json's "media.data" and state.media.json's "data" have one place for their journals.
BOOST_AUTO_TEST_CASE(a_journal_in_the_place_of_ours_is_an_error_and_stays) {
  memory_scene here;
  backup_rig& rig = here.rig;
  rig.settings.global.state_path = rig.place / "state.media.json";
  here.interrupt_at(8);
  const std::string left = rig.journal_text();
  const app::config media = rig.settings;
  rig.settings.global.state_path = rig.place / "state.json";
  rig.settings.subvolumes[0].name = "media.data";
  const std::string said = rig.run_text();
  BOOST_TEST(has(said, "another configuration's"), said);
  BOOST_TEST(has(said, "global.state_path"), said);
  rig.settings = media;
  BOOST_TEST(rig.journal_text() == left);
}

// The pointer was moved, and the answer lost; then the configuration names another bucket.
BOOST_AUTO_TEST_CASE(what_is_published_in_a_bucket_of_before_is_never_undone) {
  wire_scene here;
  request_match pointer = key_with(s3_verb::put_object, "current.json");
  pointer.times = 0;
  here.fail_first_run(pointer, scripted_action::perform_then_reset());
  const auto objects = here.server.bodies("bucket");
  const std::vector<std::string> snapshots = here.rig.disk.snapshot_paths();
  BOOST_REQUIRE(objects.size() == 6U);
  BOOST_REQUIRE(snapshots.size() == 1U);
  here.move_away();
  for (int run = 0; run < 2; ++run) {
    BOOST_TEST(here.rig.run_text() == "done");
    BOOST_TEST(here.rig.log.contains("unfinished_backup_left"));
    BOOST_TEST(has(here.rig.journal_text(), "aside: "), here.rig.journal_text());
    BOOST_TEST(std::filesystem::exists(snapshots[0]));
  }
  here.server.clear_script();
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.log.contains("action=release reason=published"));
  BOOST_TEST(here.rig.journal_text() == "none");
  BOOST_TEST((here.server.bodies("bucket") == objects));
  BOOST_TEST(std::filesystem::exists(snapshots[0]));
}

BOOST_AUTO_TEST_CASE(what_is_not_published_in_a_bucket_of_before_is_undone_when_it_answers) {
  wire_scene here;
  here.fail_first_run(request_match(s3_verb::upload_part, 4, 0), forbidden);
  const std::vector<std::string> snapshots = here.rig.disk.snapshot_paths();
  BOOST_TEST(here.server.open_uploads().size() == 2U);
  here.move_away();
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.server.open_uploads().size() == 2U);
  BOOST_TEST(has(here.rig.journal_text(), "aside: "), here.rig.journal_text());
  // Nobody knows yet whether it is published.
  BOOST_REQUIRE(snapshots.size() == 1U);
  BOOST_TEST(std::filesystem::exists(snapshots[0]));
  here.server.clear_script();
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.log.contains("action=abandon reason=given_up"));
  BOOST_TEST(here.server.open_uploads().empty());
  BOOST_TEST(here.server.bodies("bucket").empty());
  BOOST_TEST(!std::filesystem::exists(snapshots[0]));
  BOOST_TEST(here.rig.journal_text() == "none");
}

// An upload that the journal names needs no listing; one that it missed is found by key.
BOOST_AUTO_TEST_CASE(open_uploads_are_aborted_however_the_store_lists_them) {
  struct listing {
    bool by_key;
    int refused_with;
    std::size_t asked;  // how often for this backup's uploads
  };
  for (const listing& how :
       {listing{false, 0, 1}, {true, 0, 5}, {false, 403, 1}, {false, 501, 1}}) {
    BOOST_TEST_CONTEXT("by key " << how.by_key << ", refused with " << how.refused_with) {
      memory_store_options options;
      options.list_uploads_by_key = how.by_key;
      options.refuse_list_uploads_status = how.refused_with;
      memory_scene here(options);
      here.interrupt_at(8);
      const app::journal_record record = here.journalled();
      BOOST_TEST(record.chunks.size() == 2U);
      BOOST_TEST(here.objects->uploads().size() == 2U);
      if (how.refused_with == 0) {
        // Created, and the run killed before it was noted.
        const planner::key_layout keys("host/", "data");
        auto creating = here.objects->create_multipart_upload(
            s3::object_key(
                keys.chunk(record.intent.kind, record.intent.when, 2, record.intent.chunk_tag)),
            {}, {});
        BOOST_TEST(here.rig.shared_loop->run(std::move(creating)).has_value());
      }
      here.rig.settings.s3.part_size_bytes /= 2;  // so that it cannot be resumed
      BOOST_TEST(here.rig.run_text() == "done");
      BOOST_TEST(here.rig.log.contains("action=abandon reason=settings_changed"));
      BOOST_TEST(here.rig.published_problem(here.contents()) == "");
      std::size_t asked = 0;
      for (const auto& call : here.objects->calls()) {
        asked += call.verb == "ListMultipartUploads" &&
                         has(call.key, "chunk-" + record.intent.when.compact())
                     ? 1U
                     : 0U;
      }
      BOOST_TEST(asked == how.asked);
    }
  }
}

BOOST_AUTO_TEST_CASE(open_uploads_are_aborted_on_a_server_that_does_not_list_them) {
  for (const int status : {0, 403, 501}) {
    scripted_s3_options options = wire_scene::small_parts();
    options.list_uploads_by_key = status == 0;
    wire_scene here(options);
    here.fail_first_run(request_match(s3_verb::upload_part, 4, 0), forbidden);
    BOOST_TEST(here.server.open_uploads().size() == 2U);
    here.rig.settings.s3.part_size_bytes /= 2;
    if (status != 0) {
      here.server.script(
          request_match(s3_verb::list_uploads, 1, 0),
          scripted_action::answer(status, status == 403 ? "AccessDenied" : "NotImplemented"));
    }
    BOOST_TEST(here.rig.run_text() == "done");
    BOOST_TEST(here.rig.log.contains("action=abandon reason=settings_changed"));
    BOOST_TEST(here.rig.published_problem(here.contents()) == "");
  }
}

// A full replaces what cannot be understood; interrupted, it goes on all the same.
BOOST_AUTO_TEST_CASE(a_backup_begun_over_a_damaged_pointer_is_resumed) {
  memory_scene here;
  here.objects->put(pointer_key, "{ damaged");
  here.interrupt_at(10);
  BOOST_TEST(has(here.rig.journal_text(), "0: 1"), here.rig.journal_text());
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.log.contains("action=resume"));
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
}

BOOST_AUTO_TEST_CASE(a_backup_begun_over_a_damaged_pointer_is_published) {
  std::size_t steps = 0;
  {
    memory_scene undisturbed;
    undisturbed.objects->put(pointer_key, "{ damaged");
    BOOST_TEST(undisturbed.rig.run_text() == "done");
    steps = undisturbed.objects->steps();
  }
  for (const bool damaged_again : {false, true}) {
    memory_scene here;
    here.objects->put(pointer_key, "{ damaged");
    here.interrupt_at(steps);
    if (damaged_again) {
      // Somebody wrote it meanwhile: nothing is published over that by an old run.
      here.objects->put(pointer_key, "{ damaged otherwise");
    }
    BOOST_TEST(here.rig.run_text() == "done");
    BOOST_TEST(here.rig.log.contains("action=publish") != damaged_again);
    BOOST_TEST((here.rig.published_problem(here.contents()) == "") != damaged_again);
    BOOST_TEST(here.rig.chain_in(here.contents()).size() == 1U);
  }
}

// All chunks are objects; then the same snapshot sends other bytes, and nothing may be deleted.
BOOST_AUTO_TEST_CASE(what_cannot_be_deleted_makes_way_for_the_backup_that_begins_anew) {
  wire_scene here;
  here.fail_first_run(key_with(s3_verb::put_object, "manifest-"), forbidden);
  const std::vector<std::string> snapshots = here.rig.disk.snapshot_paths();
  BOOST_REQUIRE(snapshots.size() == 1U);
  here.rig.disk.change_stream_of(snapshots[0], send_stream(5 * backup_rig::part_bytes, 77));
  here.server.script(request_match(s3_verb::delete_object, 1, 0), forbidden);
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.log.contains("begins anew"));
  BOOST_TEST(has(here.rig.journal_text(), "aside: "), here.rig.journal_text());
  BOOST_TEST(here.rig.chain_in(here.contents()).size() == 1U);
  BOOST_TEST(!std::filesystem::exists(snapshots[0]));
  // When it may be deleted, it is.
  here.server.clear_script();
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
}

BOOST_AUTO_TEST_SUITE_END()
