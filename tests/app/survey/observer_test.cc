// What planning rests on, as it is found: the snapshot that is the last backup's or why none is,
// whose source it is, which times are taken, what the bucket lacks.
#include "app/survey/observer.hh"

#include "planner/keys.hh"
#include "tests/app/backup/memory_scene.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::testing;
using planner::parent_state;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A full backup of "data", its snapshot here, and its state.
struct scene : memory_scene {
  scene() { BOOST_REQUIRE(rig.run_text() == "done"); }

  [[nodiscard]] app::services with() {
    app::services here{*rig.shared_loop,
                       rig.log,
                       rig.clock,
                       rig.settings,
                       rig.disk,
                       [](std::string_view) { return std::optional<std::string>(); },
                       {}};
    here.tuning = &rig.tuning;
    return here;
  }
  app::subvolume_view look() {
    const app::services here = with();
    auto connection = app::store_connection::open(here);
    BOOST_REQUIRE(connection.has_value());
    auto state = app::state_store(rig.settings.global.state_path, rig.clock, rig.log).peek();
    BOOST_REQUIRE(state.has_value());
    if (forgetful) {
      *state = app::run_state();
    }
    app::observer looking(here, connection->get(), *state, app::this_host());
    auto view = rig.shared_loop->run(looking.observe(rig.settings.subvolumes.front()));
    rig.shared_loop->run((*connection)->close());
    BOOST_REQUIRE_MESSAGE(view.has_value(), error_text(view));
    return std::move(*view);
  }
  // Of the last backup.
  [[nodiscard]] planner::manifest manifest() const { return rig.chain_in(contents()).front(); }
  [[nodiscard]] std::string snapshot() const { return manifest().snapshot.path; }
  void rewrite(const planner::manifest& value) {
    const planner::key_layout keys("host/", "data");
    objects->put(keys.manifest(value.kind, value.created_at), planner::write_manifest(value));
  }
  // As the earlier tool wrote it.
  void drop_identity() {
    planner::manifest value = manifest();
    value.snapshot.uuid.reset();
    value.snapshot.parent_uuid.reset();
    value.snapshot.ctransid.reset();
    rewrite(value);
  }

  bool forgetful = false;  // without the state file
};

// As the kernel tells of a snapshot.
btrfs::snapshot found(const std::string& name, const char* id, std::uint64_t ctransid) {
  btrfs::snapshot one;
  one.name = name;
  one.path = "/snapshots/" + name;
  one.time = name.substr(name.find("__") + 2, 16);
  one.info.own_uuid = *btrfs::uuid::parse(id);
  one.info.ctransid = ctransid;
  one.info.made_in = ctransid + 1;
  one.info.read_only = true;
  return one;
}

constexpr const char* first_id = "11111111-1111-4111-8111-111111111111";
constexpr const char* second_id = "22222222-2222-4222-8222-222222222222";
constexpr const char* source_id = "33333333-3333-4333-8333-333333333333";
const std::string name = "data__20260102T000000Z__full";

planner::snapshot_record recorded(const char* id, std::uint64_t ctransid) {
  planner::snapshot_record record;
  record.name = name;
  record.path = "/snapshots/" + name;
  record.uuid = id;
  record.ctransid = ctransid;
  return record;
}

app::parent_finding find(const planner::snapshot_record& record,
                         const std::vector<btrfs::snapshot>& snapshots,
                         std::vector<btrfs::known_copy> copies = {}) {
  return app::find_parent(record, snapshots, nullptr, std::move(copies), std::nullopt,
                          "/snapshots");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(observer_suite)

// The rule, with values alone.

BOOST_AUTO_TEST_CASE(a_parent_is_found_by_its_uuid_whatever_its_name) {
  const auto moved = found("data__20250101T000000Z__inc", first_id, 50);
  const app::parent_finding parent = find(recorded(first_id, 50), {moved});
  BOOST_TEST((parent.state == parent_state::present));
  BOOST_REQUIRE(parent.snapshot.has_value());
  BOOST_TEST(parent.snapshot->path == moved.path);
  BOOST_TEST(parent.problem.empty());
  BOOST_TEST(!parent.by_name);
}

BOOST_AUTO_TEST_CASE(without_it_the_parent_is_missing_and_the_place_is_named) {
  const auto another = found("data__20250101T000000Z__inc", second_id, 50);
  for (const auto& snapshots : {std::vector<btrfs::snapshot>(), std::vector{another}}) {
    const app::parent_finding parent = find(recorded(first_id, 50), snapshots);
    BOOST_TEST((parent.state == parent_state::missing));
    BOOST_TEST(!parent.snapshot.has_value());
    BOOST_TEST(parent.problem == "no snapshot in /snapshots has the UUID of " + name);
  }
}

BOOST_AUTO_TEST_CASE(another_snapshot_under_its_name_is_no_parent_and_is_named) {
  const app::parent_finding parent = find(recorded(first_id, 50), {found(name, second_id, 50)});
  BOOST_TEST((parent.state == parent_state::changed));
  BOOST_TEST(has(parent.problem, "/snapshots/" + name + ": its UUID"), parent.problem);
}

BOOST_AUTO_TEST_CASE(one_that_was_changed_or_is_writable_is_no_parent) {
  const app::parent_finding later = find(recorded(first_id, 50), {found(name, first_id, 51)});
  BOOST_TEST((later.state == parent_state::changed));
  BOOST_TEST(!later.snapshot.has_value());
  auto writable = found("data__20250101T000000Z__inc", first_id, 50);
  writable.info.read_only = false;
  const app::parent_finding open = find(recorded(first_id, 50), {writable});
  BOOST_TEST((open.state == parent_state::changed));
  BOOST_TEST(has(open.problem, writable.path), open.problem);
}

BOOST_AUTO_TEST_CASE(a_received_copy_counts_as_long_as_it_is_the_one_that_is_remembered) {
  auto copy = found(name, second_id, 900);
  copy.info.received_uuid = *btrfs::uuid::parse(first_id);
  copy.info.sent_ctransid = 50;
  const btrfs::known_copy as_made{copy.info.own_uuid, 900};
  BOOST_TEST((find(recorded(first_id, 50), {copy}, {as_made}).state == parent_state::present));
  const btrfs::known_copy before_a_change{copy.info.own_uuid, 800};
  const app::parent_finding changed = find(recorded(first_id, 50), {copy}, {before_a_change});
  BOOST_TEST((changed.state == parent_state::changed));
  BOOST_TEST(has(changed.problem, copy.path), changed.problem);
  const btrfs::known_copy another{*btrfs::uuid::parse(source_id), 900};
  BOOST_TEST((find(recorded(first_id, 50), {copy}, {another}).state != parent_state::present));
  // And of another state of the backup it is no copy, whatever is remembered.
  copy.info.sent_ctransid = 49;
  BOOST_TEST((find(recorded(first_id, 50), {copy}, {}).state != parent_state::present));
}

BOOST_AUTO_TEST_CASE(a_backup_without_a_uuid_has_its_parent_by_name_and_the_kernels_notes) {
  planner::snapshot_record record = recorded(first_id, 50);
  record.uuid.reset();
  record.ctransid.reset();
  auto named = found(name, first_id, 50);
  named.info.made_in = 50;
  named.info.parent_uuid = *btrfs::uuid::parse(source_id);
  const auto when = planner::timestamp::parse("20260102T000000Z")->when().time_since_epoch();
  const auto judge = [&](std::int64_t seconds_later, std::uint64_t ctransid) {
    named.info.made_at = when.count() + seconds_later;
    named.info.ctransid = ctransid;
    return app::find_parent(record, {named}, nullptr, {}, btrfs::uuid::parse(source_id),
                            "/snapshots");
  };
  const app::parent_finding sound = judge(3, 50);
  BOOST_TEST((sound.state == parent_state::present));
  BOOST_TEST(sound.by_name);
  BOOST_TEST((judge(3, 51).state == parent_state::changed));   // changed since it was made
  BOOST_TEST((judge(61, 50).state != parent_state::present));  // made at another time
  BOOST_TEST((judge(-1, 50).state != parent_state::present));
  // Of another source the name alone proves nothing.
  named.info.parent_uuid = *btrfs::uuid::parse(second_id);
  BOOST_TEST((judge(3, 50).state != parent_state::present));
}

// And by looking.

BOOST_AUTO_TEST_CASE(the_last_backups_snapshot_is_the_parent) {
  scene here;
  const app::subvolume_view view = here.look();
  BOOST_TEST((view.seen.parent == parent_state::present));
  BOOST_REQUIRE(view.parent.has_value());
  BOOST_TEST(view.seen.parent_snapshot == here.snapshot());
  BOOST_TEST(view.seen.parent_problem.empty());
  BOOST_TEST(view.seen.source_problem.empty());
  BOOST_TEST(view.seen.chain_problem.empty());
  BOOST_TEST(view.seen.chunk_problem.empty());
  BOOST_TEST(view.chain.size() == 1U);
  BOOST_TEST(view.seen.last_key == view.chain.back().key);
}

BOOST_AUTO_TEST_CASE(a_snapshot_that_is_gone_or_was_changed_is_no_parent) {
  scene here;
  ++here.rig.disk.known.at(here.snapshot()).ctransid;
  const app::subvolume_view changed = here.look();
  BOOST_TEST((changed.seen.parent == parent_state::changed));
  BOOST_TEST(has(changed.seen.parent_problem, here.snapshot()), changed.seen.parent_problem);
  BOOST_TEST(!changed.parent.has_value());
  here.rig.disk.known.erase(here.snapshot());
  const app::subvolume_view gone = here.look();
  BOOST_TEST((gone.seen.parent == parent_state::missing));
  BOOST_TEST(
      has(gone.seen.parent_problem, "no snapshot in " + here.rig.settings.snapshots.base_dir),
      gone.seen.parent_problem);
}

BOOST_AUTO_TEST_CASE(of_the_earlier_tools_backup_the_state_file_tells_which_snapshot_it_is) {
  scene here;
  here.drop_identity();
  const app::subvolume_view known = here.look();
  BOOST_TEST((known.seen.parent == parent_state::present));
  BOOST_TEST(here.rig.log.contains("parent_matched_by_name"));
  BOOST_TEST(known.chain.front().of_earlier_tool);
  // Without that memory, and of no known source, a name proves nothing.
  here.forgetful = true;
  here.rig.disk.known.at(here.snapshot()).made_at = 0;
  BOOST_TEST((here.look().seen.parent != parent_state::present));
}

BOOST_AUTO_TEST_CASE(a_source_that_was_replaced_is_told_of_and_one_made_of_the_snapshot_goes_on) {
  scene here;
  const std::string source = here.rig.settings.subvolumes.front().path;
  here.rig.disk.add_subvolume(source);  // another one at the same place
  const app::subvolume_view replaced = here.look();
  BOOST_TEST(has(replaced.seen.source_problem, source + " is another subvolume"),
             replaced.seen.source_problem);
  BOOST_REQUIRE(replaced.source.has_value());
  BOOST_TEST((*replaced.source == here.rig.disk.known.at(source).own_uuid));
  // As after a roll-back: a writable snapshot of what was backed up.
  here.rig.disk.known.at(source).parent_uuid = here.rig.disk.known.at(here.snapshot()).own_uuid;
  BOOST_TEST(here.look().seen.source_problem.empty());
  BOOST_TEST(here.rig.log.contains("source_made_from_the_last_snapshot"));
}

BOOST_AUTO_TEST_CASE(a_time_is_taken_by_a_snapshot_or_by_a_key) {
  scene here;
  const std::string time = here.manifest().created_at.compact();
  app::subvolume_view view = here.look();
  BOOST_TEST(view.time_is_taken(time));
  BOOST_TEST(!view.time_is_taken("20010101T000000Z"));
  view.snapshots.clear();
  BOOST_TEST(view.time_is_taken(time));  // by its objects
  view = here.look();
  view.objects.clear();
  BOOST_TEST(view.time_is_taken(time));  // by its snapshot
  view.snapshots.clear();
  BOOST_TEST(!view.time_is_taken(time));
}

BOOST_AUTO_TEST_CASE(a_chunk_that_is_missing_or_has_another_size_is_told_of) {
  scene here;
  const std::string chunk = here.manifest().chunks.front().key;
  const std::string body = here.objects->find(chunk)->body;
  here.objects->put(chunk, body.substr(1));
  BOOST_TEST(has(here.look().seen.chunk_problem,
                 chunk + " has " + std::to_string(body.size() - 1) + " bytes in the bucket"));
  here.objects->erase(chunk);
  BOOST_TEST(here.look().seen.chunk_problem == "chunk " + chunk + " is missing from the bucket");
  here.objects->put(chunk, body);
  BOOST_TEST(here.look().seen.chunk_problem.empty());
}

BOOST_AUTO_TEST_CASE(
    a_manifest_that_is_damaged_is_a_fact_and_one_that_cannot_be_asked_for_an_error) {
  scene here;
  const app::subvolume_view sound = here.look();
  here.objects->put(sound.seen.last_key, "{");
  const app::subvolume_view damaged = here.look();
  BOOST_TEST(damaged.seen.pointer_exists);
  BOOST_TEST(!damaged.seen.pointer_problem.empty());
  BOOST_TEST(damaged.chain.empty());
  const app::services with = here.with();
  auto connection = app::store_connection::open(with);
  BOOST_REQUIRE(connection.has_value());
  here.objects->judge_by([&](const memory_store::recorded_call& call) {
    return call.key == sound.seen.last_key ? std::optional(memory_store::denied(call.key))
                                           : std::nullopt;
  });
  const app::run_state nothing;
  app::observer looking(with, connection->get(), nothing, app::this_host());
  const auto refused =
      here.rig.shared_loop->run(looking.observe(here.rig.settings.subvolumes.front()));
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().why == engine::reason::access));
  here.rig.shared_loop->run((*connection)->close());
}

// A subvolume of another host, in the bucket alone: nothing is looked for here.
BOOST_AUTO_TEST_CASE(of_a_subvolume_without_a_path_the_bucket_alone_is_looked_at) {
  scene here;
  here.rig.settings.subvolumes.front().path.clear();
  const app::subvolume_view view = here.look();
  BOOST_TEST(view.chain.size() == 1U);
  BOOST_TEST(view.snapshots.empty());
  BOOST_TEST(!view.source.has_value());
  BOOST_TEST((view.seen.parent == parent_state::missing));
}

BOOST_AUTO_TEST_CASE(what_fails_for_one_of_several_is_that_ones_alone) {
  scene here;
  const app::services with = here.with();
  auto connection = app::store_connection::open(with);
  BOOST_REQUIRE(connection.has_value());
  here.objects->judge_by([](const memory_store::recorded_call& call) {
    return has(call.key, "subvol/other/") ? std::optional(memory_store::denied(call.key))
                                          : std::nullopt;
  });
  const app::run_state nothing;
  app::observer looking(with, connection->get(), nothing, app::this_host());
  std::vector<app::subvolume_config> all = {here.rig.settings.subvolumes.front(), {"other", ""}};
  const auto seen = here.rig.shared_loop->run(looking.observe_all(all));
  BOOST_REQUIRE(seen.size() == 2U);
  BOOST_TEST(seen[0].view.has_value());
  BOOST_TEST(!seen[1].view.has_value());
  here.rig.shared_loop->run((*connection)->close());
}

BOOST_AUTO_TEST_SUITE_END()
