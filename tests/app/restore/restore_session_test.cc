// Whole restores over played Btrfs: what is received, what stays when one breaks off, and what is
// made of a target that is there already.
#include "app/restore/restore_session.hh"

#include "app/records/kept_parts.hh"
#include "tests/app/restore/restore_scene.hh"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::testing;

namespace {

using scene = restore_scene;

// So that an earlier restore is one of several, whose records stay when it is done.
void restore_as_one_of_all(scene& here) {
  here.request.one_of_all = true;
  BOOST_REQUIRE(here.restore_text() == "done");
  here.request.one_of_all = false;
  here.forget();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(restore_session_suite)

BOOST_AUTO_TEST_CASE(a_chain_is_received_link_by_link_and_its_last_becomes_the_target) {
  scene here;
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.holds(2));
  BOOST_TEST(here.links_beside() == -1);
  BOOST_TEST(here.totals.links == 3U);
  BOOST_TEST(here.totals.restored == 1U);
  BOOST_TEST(here.totals.bytes ==
             here.made[0].total_bytes + here.made[1].total_bytes + here.made[2].total_bytes);
  BOOST_TEST(here.rig.disk.decompressing.size() == 3U);
  // The snapshot that was backed up is here: content was compared with it.
  BOOST_TEST(here.rig.log.contains("content_verified"));
  BOOST_TEST(here.rig.disk.marks.contains(here.request.target));
}

BOOST_AUTO_TEST_CASE(an_older_backup_needs_only_its_own_links) {
  scene here;
  here.request.wanted.manifest_key = here.manifest_key_of(1);
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.holds(1));
  BOOST_TEST(here.downloads_of(2) == 0U);
}

BOOST_AUTO_TEST_CASE(where_the_source_is_gone_it_is_said_what_was_proven_without_it) {
  scene here;
  here.lose_the_host();
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.holds(2));
  BOOST_TEST(here.rig.log.contains("verified_without_source"));
  BOOST_TEST(!here.rig.log.contains("content_verified"));
}

BOOST_AUTO_TEST_CASE(content_that_differs_from_the_source_makes_no_target_and_keeps_the_links) {
  scene here;
  here.rig.disk.difference = "etc/passwd: mode is 0644 and 0600";
  const auto outcome = here.restore();
  BOOST_REQUIRE(!outcome);
  BOOST_TEST((outcome.error().why == engine::reason::integrity));
  BOOST_TEST(says(outcome.error().text(), "etc/passwd: mode is 0644 and 0600"));
  BOOST_TEST(!here.is_there());
  BOOST_TEST(here.links_beside() == 3);
  // --verify none accepts them: nothing is downloaded again.
  here.forget();
  here.request.verify = app::verify_mode::none;
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.holds(2));
  BOOST_TEST(here.downloads() == 0U);
}

BOOST_AUTO_TEST_CASE(a_target_that_exists_is_refused_before_the_store_is_asked) {
  scene here;
  std::filesystem::create_directory(here.request.target);
  write_file(here.request.target + "/file", "somebody's");
  const auto outcome = here.restore();
  BOOST_REQUIRE(!outcome);
  BOOST_TEST((outcome.error().why == engine::reason::configuration));
  BOOST_TEST(says(outcome.error().text(), "target " + here.request.target + " exists already"));
  BOOST_TEST(here.objects->calls().empty());
  BOOST_TEST(content_of(here.request.target + "/file") == "somebody's");
  BOOST_TEST(here.links_beside() == -1);
}

BOOST_AUTO_TEST_CASE(too_little_space_is_refused_before_anything_is_downloaded) {
  scene here;
  here.rig.disk.available_bytes = 1000;
  BOOST_TEST(here.restore_text() != "done");
  BOOST_TEST(here.downloads() == 0U);
  BOOST_TEST(!here.is_there());
  BOOST_TEST(here.links_beside() == -1);
  here.request.no_space_check = true;
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.rig.log.contains("space_may_not_suffice"));
}

BOOST_AUTO_TEST_CASE(a_dry_run_changes_nothing_and_downloads_nothing) {
  scene here;
  here.request.dry_run = true;
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.downloads() == 0U);
  BOOST_TEST(!here.is_there());
  BOOST_TEST(here.links_beside() == -1);
  BOOST_TEST(here.rig.disk.decompressing.empty());
}

// Earlier restores.

BOOST_AUTO_TEST_CASE(another_restore_of_the_same_target_is_left_alone) {
  scene here;
  app::services with = here.with();
  auto report = with.host.receiving().check_target(here.request.target);
  BOOST_REQUIRE(report.has_value());
  {
    const auto other = with.host.receiving().open(*report, false);
    BOOST_REQUIRE(other.has_value());
    auto connection = app::store_connection::open(with);
    app::identity_source given(with, {});
    app::restore_session session(with, **connection, here.request, given, here.totals);
    const auto outcome = here.rig.shared_loop->run(session.run());
    BOOST_REQUIRE(!outcome);
    BOOST_TEST((outcome.error().why == engine::reason::lock_held));
    BOOST_TEST(here.downloads() == 0U);
    here.rig.shared_loop->run((*connection)->close());
    (*other)->close();
  }
  BOOST_TEST(here.restore_text() == "done");
}

BOOST_AUTO_TEST_CASE(what_an_interrupted_restore_received_is_not_downloaded_again) {
  scene here;
  here.rig.disk.receivers = {"cat > \"$0\"", "cat > \"$0\"", "exit 1"};
  BOOST_TEST(here.restore_text() != "done");
  BOOST_TEST(here.links_beside() == 2);
  BOOST_TEST(here.rig.log.contains("restore_kept_for_the_next_run"));
  here.forget();
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.holds(2));
  BOOST_TEST(here.links_beside() == -1);
  BOOST_TEST(here.totals.links == 1U);
  BOOST_TEST(here.downloads_of(0) + here.downloads_of(1) == 0U);
  BOOST_TEST(here.downloads_of(2) > 0U);
}

BOOST_AUTO_TEST_CASE(with_discard_it_begins_anew) {
  scene here;
  here.rig.disk.receivers = {"cat > \"$0\"", "exit 1"};
  BOOST_TEST(here.restore_text() != "done");
  here.forget();
  here.request.discard = true;
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.totals.links == 3U);
  BOOST_TEST(here.holds(2));
}

BOOST_AUTO_TEST_CASE(
    a_restore_of_another_backup_to_the_same_target_is_refused_and_told_how_to_end) {
  scene here;
  here.rig.disk.receivers = {"cat > \"$0\"", "exit 1"};
  BOOST_TEST(here.restore_text() != "done");
  // Another generation, whose chain begins with another full.
  const std::string first_of_before = here.manifest_key_of(0);
  here.rig.clock.time += std::chrono::hours(24 * 200);
  BOOST_REQUIRE(here.rig.run_text() == "done");
  BOOST_REQUIRE(here.rig.chain_in(here.contents()).size() == 1U);
  here.forget();
  const std::string said = here.restore_text();
  BOOST_TEST(says(said, "another restore to " + here.request.target + " was interrupted"), said);
  BOOST_TEST(says(said, "--manifest-key " + first_of_before), said);
  BOOST_TEST(here.links_beside() == 1);
  BOOST_TEST(here.downloads() == 0U);
}

BOOST_AUTO_TEST_CASE(a_target_that_was_made_before_a_kill_is_finished_and_not_restored_again) {
  scene here;
  restore_as_one_of_all(here);
  BOOST_TEST(here.links_beside() == 0);  // records that tell whose it is
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.rig.log.contains("interrupted_restore_finished"));
  BOOST_TEST(here.downloads() == 0U);
  BOOST_TEST(here.holds(2));
  BOOST_TEST(here.links_beside() == -1);
}

BOOST_AUTO_TEST_CASE(the_same_command_once_more_ends_well_by_the_targets_mark) {
  scene here;
  BOOST_REQUIRE(here.restore_text() == "done");
  here.forget();
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.rig.log.contains("restored_before"));
  BOOST_TEST(here.downloads() == 0U);
  // Another backup than the one that it holds, and what has been written to, are refused.
  here.request.wanted.manifest_key = here.manifest_key_of(1);
  BOOST_TEST(says(here.restore_text(), "exists already"));
  here.request.wanted.manifest_key.clear();
  here.rig.disk.written_to.insert(here.request.target);
  BOOST_TEST(says(here.restore_text(), "it has been written to since"));
  BOOST_TEST(here.downloads() == 0U);
  BOOST_TEST(here.holds(2));
}

// Removing them is not synced.
BOOST_AUTO_TEST_CASE(parts_that_a_power_cut_brings_back_go_once_the_restore_is_found_done) {
  scene here;
  const std::string spool = here.rig.place / "spool";
  std::filesystem::create_directory(spool);
  here.rig.settings.s3.spool_enabled = true;
  here.rig.settings.global.spool_dir = spool;
  BOOST_REQUIRE(here.restore_text() == "done");
  BOOST_TEST(std::filesystem::is_empty(spool));
  const app::services with = here.with();
  app::kept_parts kept(with, here.request.target, std::uint64_t{1} << 30);
  here.rig.shared_loop->run(kept.begin(here.manifest_key_of(2)));
  std::vector<std::byte> slot(8192);
  here.rig.shared_loop->run(kept.keep({0, 1}, slot, 5000, here.stop.token()));
  BOOST_REQUIRE(kept.bytes() == 5000U);
  BOOST_TEST(!std::filesystem::is_empty(spool));
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.rig.log.contains("restored_before"));
  BOOST_TEST(std::filesystem::is_empty(spool));
}

BOOST_AUTO_TEST_CASE(a_record_of_another_backup_beside_a_target_says_which) {
  scene here;
  here.request.wanted.manifest_key = here.manifest_key_of(1);
  restore_as_one_of_all(here);
  here.request.wanted.manifest_key.clear();
  const std::string said = here.restore_text();
  BOOST_TEST(says(said, "it holds the backup of manifest " + here.manifest_key_of(1)), said);
  BOOST_TEST(here.holds(1));
  BOOST_TEST(here.links_beside() == 0);
}

BOOST_AUTO_TEST_CASE(when_all_are_there_the_records_go_and_of_a_stranger_nothing) {
  scene here;
  restore_as_one_of_all(here);
  const app::services with = here.with();
  auto connection = app::store_connection::open(with);
  BOOST_REQUIRE(connection.has_value());
  app::identity_source given(with, {});
  app::restore_session session(with, **connection, here.request, given, here.totals);
  BOOST_TEST(here.rig.shared_loop->run(session.forget()).has_value());
  BOOST_TEST(here.links_beside() == -1);
  BOOST_TEST(here.holds(2));
  BOOST_TEST(here.rig.shared_loop->run(session.forget()).has_value());
  here.rig.shared_loop->run((*connection)->close());
}

// --keep-received.

BOOST_AUTO_TEST_CASE(what_is_kept_is_the_next_backups_parent) {
  scene here;
  here.lose_the_host();
  here.request.keep_received = true;
  BOOST_REQUIRE(here.restore_text() == "done");
  const std::string kept = here.rig.settings.snapshots.base_dir + "/" + here.made[2].snapshot.name;
  BOOST_REQUIRE(here.rig.disk.known.contains(kept));
  BOOST_TEST(here.rig.disk.known.at(kept).read_only);
  BOOST_TEST(here.rig.disk.known.at(kept).received_uuid.text() == *here.made[2].snapshot.uuid);
  // The target is backed up from now on.
  here.rig.settings.subvolumes.front().path = here.request.target;
  here.rig.clock.time += std::chrono::hours(24 * 8);
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.chain_in(here.contents()).size() == 4U);
}

BOOST_AUTO_TEST_CASE(a_kept_snapshot_that_is_there_is_found_and_not_made_again) {
  scene here;
  here.request.keep_received = true;
  const std::string kept = here.rig.settings.snapshots.base_dir + "/" + here.made[2].snapshot.name;
  const std::string before = here.rig.disk.known.at(kept).own_uuid.text();
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.rig.disk.known.at(kept).own_uuid.text() == before);
  BOOST_TEST(here.rig.log.contains("received_snapshot_kept"));
}

BOOST_AUTO_TEST_CASE(something_else_under_a_kept_snapshots_name_is_refused_before_any_download) {
  scene here;
  here.lose_the_host();
  here.request.keep_received = true;
  const std::string kept = here.rig.settings.snapshots.base_dir + "/" + here.made[2].snapshot.name;
  std::filesystem::create_directory(kept);
  const std::string plain = here.restore_text();
  BOOST_TEST(says(plain, kept + " exists already and is not this backup's: it is no subvolume"),
             plain);
  here.rig.disk.add_subvolume(kept);
  const std::string other = here.restore_text();
  BOOST_TEST(says(other, kept + " exists already and is not this backup's"), other);
  BOOST_TEST(here.downloads() == 0U);
  BOOST_TEST(!here.is_there());
}

BOOST_AUTO_TEST_SUITE_END()
