// What is known of a backup that an earlier run left unfinished: facts of its place, of its
// snapshot, of what stands in the way of going on with it.
#include "app/survey/unfinished.hh"

#include "planner/keys.hh"
#include "tests/app/backup/memory_scene.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <optional>
#include <string>

using namespace bts3;
using namespace bts3::testing;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A backup, a week later another one that loses the store in the middle.
struct scene : memory_scene {
  explicit scene(bool with_one_before = true) {
    if (with_one_before) {
      BOOST_REQUIRE(rig.run_text() == "done");
      rig.clock.time += std::chrono::hours(24 * 8);
      rig.disk.stream = send_stream(6 * backup_rig::part_bytes, 7);
    }
    interrupt_at(with_one_before ? 12 : 8);
    record = journalled();
    BOOST_REQUIRE(record.snapshot.has_value());
  }

  app::unfinished_finding examine(bool configured = true) {
    const auto found = try_to_examine(configured);
    BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
    return *found;
  }
  engine::result<app::unfinished_finding> try_to_examine(bool configured = true) {
    app::services with{*rig.shared_loop,
                       rig.log,
                       rig.clock,
                       rig.settings,
                       rig.disk,
                       [](std::string_view) { return std::optional<std::string>(); },
                       {}};
    with.tuning = &rig.tuning;
    auto connection = app::store_connection::open(with);
    BOOST_REQUIRE(connection.has_value());
    auto state = app::state_store(rig.settings.global.state_path, rig.clock, rig.log).peek();
    BOOST_REQUIRE(state.has_value());
    app::observer looking(with, connection->get(), *state, app::this_host());
    const auto view = rig.shared_loop->run(looking.observe(rig.settings.subvolumes.front()));
    if (!view) {
      return view.error();
    }
    auto found = rig.shared_loop->run(app::examine_unfinished(
        with, **connection, record, configured ? &*view : nullptr, settings));
    rig.shared_loop->run((*connection)->close());
    return found;
  }
  // A manifest at its key, as if it had got so far.
  void put_manifest(const std::string& uuid) {
    planner::manifest value = rig.chain_in(contents()).front();
    value.kind = record.intent.kind;
    value.created_at = record.intent.when;
    value.snapshot.name = record.intent.snapshot_name;
    value.snapshot.path = record.intent.snapshot_path;
    value.snapshot.uuid = uuid;
    value.host_id = app::this_host().id;
    value.parent_manifest = record.intent.parent_manifest;
    objects->put(record.intent.manifest_key, planner::write_manifest(value));
  }
  void point_at(const std::string& key) {
    planner::pointer to;
    to.manifest_key = key;
    to.created_at = record.intent.when;
    objects->put(record.intent.keys_root + "current.json", planner::write_pointer(to));
  }

  app::journal_record record;
  app::stream_settings settings{2, true, {}};
};

}  // namespace

BOOST_AUTO_TEST_SUITE(unfinished_suite)

BOOST_AUTO_TEST_CASE(of_an_interrupted_upload_nothing_stands_in_the_way) {
  for (const bool incremental : {false, true}) {
    scene here(incremental);
    const app::unfinished_finding found = here.examine();
    BOOST_TEST((found.facts.began == here.record.intent.when));
    BOOST_TEST(found.facts.configured);
    BOOST_TEST(found.facts.pointer_unmoved);
    BOOST_TEST(!found.facts.pointer_names_it);
    BOOST_TEST(!found.facts.manifest_is_there);
    for (const std::string& problem :
         {found.facts.place_problem, found.facts.settings_problem, found.facts.snapshot_problem,
          found.facts.parent_problem, found.facts.pointer_problem, found.facts.manifest_problem}) {
      BOOST_TEST(problem == "");
    }
    BOOST_REQUIRE(found.snapshot.has_value());
    BOOST_TEST(found.snapshot->path == here.record.intent.snapshot_path);
    BOOST_TEST(found.pointer.has_value() == incremental);
  }
}

BOOST_AUTO_TEST_CASE(a_snapshot_that_is_gone_changed_or_never_was_cannot_be_sent_again) {
  scene here;
  const std::string path = here.record.intent.snapshot_path;
  ++here.rig.disk.known.at(path).ctransid;
  app::unfinished_finding found = here.examine();
  BOOST_TEST(has(found.facts.snapshot_problem, path), found.facts.snapshot_problem);
  BOOST_TEST(!found.snapshot.has_value());
  here.rig.disk.known.erase(path);
  found = here.examine();
  BOOST_TEST(has(found.facts.snapshot_problem, "no snapshot in"), found.facts.snapshot_problem);
  here.record.snapshot.reset();
  found = here.examine();
  BOOST_TEST(found.facts.snapshot_problem == "the journal ends before its snapshot was made");
}

BOOST_AUTO_TEST_CASE(what_would_change_the_stream_is_named) {
  scene here;
  here.settings.compressed_data = false;
  BOOST_TEST(has(here.examine().facts.settings_problem, "the send protocol or its flags"));
  here.settings.compressed_data = true;
  here.rig.settings.s3.part_size_bytes *= 2;
  BOOST_TEST(has(here.examine().facts.settings_problem, "s3.part_size_bytes"));
  here.rig.settings.s3.part_size_bytes /= 2;
  here.rig.settings.s3.chunk_size_bytes *= 2;
  BOOST_TEST(has(here.examine().facts.settings_problem, "s3.chunk_size_bytes"));
  here.rig.settings.s3.chunk_size_bytes /= 2;
  const std::string elsewhere = here.rig.place / "elsewhere";
  here.rig.disk.add_subvolume(elsewhere);
  const std::string before = here.rig.settings.subvolumes.front().path;
  here.rig.settings.subvolumes.front().path = elsewhere;
  BOOST_TEST(here.examine().facts.settings_problem ==
             "its source was " + before + ", and " + elsewhere + " is configured now");
}

BOOST_AUTO_TEST_CASE(a_place_that_is_configured_no_more_is_named) {
  scene here;
  const auto problem = [&here] {
    const app::services with{*here.rig.shared_loop,
                             here.rig.log,
                             here.rig.clock,
                             here.rig.settings,
                             here.rig.disk,
                             [](auto) { return std::optional<std::string>(); },
                             {}};
    return app::place_problem(with, here.record);
  };
  BOOST_TEST(problem() == "");
  here.rig.settings.s3.bucket = "new";
  BOOST_TEST(problem() ==
             "it went to s3://bucket/host/subvol/data/, and "
             "s3://new/host/subvol/data/ is configured now");
  here.rig.settings.s3.bucket = "bucket";
  here.rig.settings.s3.endpoint_url = "https://elsewhere.example";
  BOOST_TEST(has(problem(), "\"https://elsewhere.example\" is configured now"));
}

BOOST_AUTO_TEST_CASE(an_incremental_needs_its_parent_as_it_was) {
  scene here;
  const std::string parent = here.record.intent.parent_snapshot;
  const btrfs::subvolume_info as_it_was = here.rig.disk.known.at(parent);
  ++here.rig.disk.known.at(parent).ctransid;
  BOOST_TEST(has(here.examine().facts.parent_problem, "its parent snapshot cannot be used: "));
  here.rig.disk.known.at(parent) = as_it_was;
  BOOST_TEST(here.examine().facts.parent_problem == "");
  const std::string chunk = here.rig.chain_in(here.contents()).front().chunks.front().key;
  const std::string body = here.objects->find(chunk)->body;
  here.objects->erase(chunk);
  BOOST_TEST(has(here.examine().facts.parent_problem, "its parent cannot be restored: "));
  here.objects->put(chunk, body);
  here.record.intent.parent_manifest = "host/subvol/data/full/manifest-20200101T000000Z.json";
  BOOST_TEST(here.examine().facts.parent_problem ==
             "the last backup is not the one that it continues");
}

BOOST_AUTO_TEST_CASE(whose_a_manifest_is_its_snapshots_uuid_says) {
  scene here;
  here.put_manifest(here.record.snapshot->uuid);
  app::unfinished_finding found = here.examine();
  BOOST_TEST(found.facts.manifest_is_there);
  BOOST_TEST(!found.facts.manifest_is_anothers);
  BOOST_TEST(found.manifest.has_value());
  here.put_manifest("12345678-1234-4234-8234-123456789012");
  found = here.examine();
  BOOST_TEST(!found.facts.manifest_is_there);
  BOOST_TEST(found.facts.manifest_is_anothers);
  BOOST_TEST(!found.manifest.has_value());
}

// A journal that could not be written may lack it: then the snapshot at that path says, and where
// that is gone too, host and path.
BOOST_AUTO_TEST_CASE(a_journal_without_its_snapshots_identity_asks_the_disk) {
  scene here;
  const std::string uuid = here.record.snapshot->uuid;
  here.record.snapshot.reset();
  here.put_manifest(uuid);
  BOOST_TEST(here.examine().facts.manifest_is_there);
  here.put_manifest("12345678-1234-4234-8234-123456789012");
  BOOST_TEST(here.examine().facts.manifest_is_anothers);
  here.rig.disk.known.erase(here.record.intent.snapshot_path);
  BOOST_TEST(here.examine().facts.manifest_is_there);  // this host's, of that path
}

BOOST_AUTO_TEST_CASE(a_pointer_may_name_it_have_moved_on_or_make_no_sense) {
  scene here;
  here.put_manifest(here.record.snapshot->uuid);
  here.point_at(here.record.intent.manifest_key);
  app::unfinished_finding found = here.examine();
  BOOST_TEST(found.facts.pointer_names_it);
  BOOST_TEST(!found.facts.pointer_unmoved);
  // To another's manifest under its key it does not lead.
  here.put_manifest("12345678-1234-4234-8234-123456789012");
  found = here.examine();
  BOOST_TEST(!found.facts.pointer_names_it);
  BOOST_TEST(!found.facts.pointer_unmoved);
  here.objects->erase(here.record.intent.manifest_key);
  const std::string key = here.record.intent.keys_root + "current.json";
  here.objects->put(key, "{");
  found = here.examine();
  BOOST_TEST(!found.facts.pointer_problem.empty());
  BOOST_TEST(!found.facts.pointer_names_it);
  BOOST_TEST(!found.facts.pointer_unmoved);
  here.objects->put(key, *here.record.intent.pointer_before);
  BOOST_TEST(here.examine().facts.pointer_unmoved);
}

BOOST_AUTO_TEST_CASE(what_the_store_does_not_let_us_see_is_an_error_and_no_fact) {
  scene here;
  here.objects->judge_by([&](const memory_store::recorded_call& call) {
    return call.key == here.record.intent.manifest_key
               ? std::optional(memory_store::denied(call.key))
               : std::nullopt;
  });
  const auto refused = here.try_to_examine();
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().why == engine::reason::access));
}

BOOST_AUTO_TEST_CASE(of_a_local_run_and_of_an_unconfigured_subvolume_less_is_asked) {
  scene here;
  const app::unfinished_finding unconfigured = here.examine(false);
  BOOST_TEST(!unconfigured.facts.configured);
  BOOST_TEST(unconfigured.facts.settings_problem == "");
  BOOST_TEST(!unconfigured.snapshot.has_value());
  BOOST_TEST(unconfigured.facts.pointer_unmoved);
  here.record.intent.local_only = true;
  const app::unfinished_finding local = here.examine();
  BOOST_TEST(local.facts.local_only);
  BOOST_TEST(!local.pointer.has_value());
}

BOOST_AUTO_TEST_CASE(times_of_all_journals_are_known_and_one_that_is_unreadable_is_an_error) {
  scene here;
  const app::services with{*here.rig.shared_loop,
                           here.rig.log,
                           here.rig.clock,
                           here.rig.settings,
                           here.rig.disk,
                           [](auto) { return std::optional<std::string>(); },
                           {}};
  const auto times = app::backups_in_the_making(with);
  BOOST_REQUIRE(times.has_value());
  BOOST_TEST(times->size() == 1U);
  BOOST_TEST(times->contains(here.record.intent.when));
  write_file(here.journal(), "no journal\n");
  const auto unreadable = app::backups_in_the_making(with);
  BOOST_REQUIRE(!unreadable);
  BOOST_TEST(has(unreadable.error().text(), "backup"), unreadable.error().text());
}

BOOST_AUTO_TEST_SUITE_END()
