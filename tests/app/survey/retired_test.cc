// Subvolumes that are configured no more: whole commands over what they left.
#include "app/survey/retired.hh"
#include "app/store/commands.hh"

#include "app/upkeep/prune_job.hh"
#include "app/upkeep/verify_job.hh"
#include "tests/app/backup/backup_rig.hh"
#include "tests/support/memory_store.hh"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::testing;

namespace {

// "data" and "old" were backed up; then "old" left the configuration.
struct retired_scene {
  retired_scene() {
    rig.shared_loop = std::move(*engine::reactor::create());
    store = std::make_unique<memory_store>(*rig.shared_loop);
    rig.tuning.store = store.get();
    rig.disk.stream = send_stream(backup_rig::part_bytes);
    const std::string old = rig.place / "old";
    rig.disk.add_subvolume(old);
    rig.settings.subvolumes.push_back({"old", old});
    BOOST_REQUIRE(rig.run_text() == "done");
    rig.settings.subvolumes.pop_back();
  }
  [[nodiscard]] app::services with() {
    app::services made{*rig.shared_loop,
                       rig.log,
                       rig.clock,
                       rig.settings,
                       rig.disk,
                       [](std::string_view) { return std::optional<std::string>(); },
                       {}};
    made.tuning = &rig.tuning;
    return made;
  }
  [[nodiscard]] std::vector<std::string> retired() {
    const app::services here = with();
    const auto found = app::retired_snapshots(here);
    BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
    std::vector<std::string> names;
    for (const btrfs::snapshot& one : *found) {
      names.push_back(one.subvolume);
    }
    return names;
  }
  [[nodiscard]] std::string prune(std::vector<std::string> names, bool yes) {
    const app::services here = with();
    app::prune_command command;
    command.subvolumes = std::move(names);
    command.yes = yes;
    const auto ended = rig.shared_loop->run(app::run_command(here, command));
    return ended ? "exit " + std::to_string(static_cast<int>(*ended)) : ended.error().text();
  }
  [[nodiscard]] std::string verify(std::vector<std::string> names) {
    const app::services here = with();
    app::verify_command command;
    command.subvolumes = std::move(names);
    const auto ended = rig.shared_loop->run(app::run_command(here, command));
    return ended ? "exit " + std::to_string(static_cast<int>(*ended)) : ended.error().text();
  }

  backup_rig rig;
  std::unique_ptr<memory_store> store;
};

using names = std::vector<std::string>;

}  // namespace

BOOST_AUTO_TEST_SUITE(retired_suite)

BOOST_AUTO_TEST_CASE(snapshots_of_what_was_configured_are_found_and_no_others) {
  retired_scene here;
  BOOST_TEST(here.retired() == names{"old"}, boost::test_tools::per_element());
  // Another configuration's, which shares the directory: this state has never heard of it.
  const std::string stranger = here.rig.place / "stranger";
  here.rig.disk.add_subvolume(stranger);
  const auto made = here.rig.disk.snapshots().create(here.rig.settings.snapshots.base_dir, stranger,
                                                     "stranger", "20260101T000000Z", true);
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  BOOST_TEST(here.retired() == names{"old"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(prune_shows_their_snapshots_and_removes_them_when_it_is_told_to) {
  retired_scene here;
  const std::size_t before = here.rig.disk.snapshot_paths().size();
  BOOST_TEST(here.prune({}, false) == "exit 0");
  BOOST_TEST(here.prune({"data"}, true) == "exit 0");
  BOOST_TEST(here.rig.disk.snapshot_paths().size() == before);
  BOOST_TEST(here.prune({}, true) == "exit 0");
  BOOST_TEST(here.rig.disk.snapshot_paths().size() == before - 1);
  BOOST_TEST(here.retired().empty());
  // Nothing of the bucket went: retention.keep_generations is 0.
  BOOST_TEST(here.verify({"old"}) == "exit 0");
}

BOOST_AUTO_TEST_CASE(what_is_only_in_the_bucket_is_verified_and_pruned_by_name) {
  retired_scene here;
  BOOST_TEST(here.verify({"old"}) == "exit 0");
  BOOST_TEST(here.verify({"old", "data"}) == "exit 0");
  BOOST_TEST(here.prune({"old"}, false) == "exit 0");
  for (const std::string& said : {here.verify({"older"}), here.prune({"older"}, true)}) {
    BOOST_TEST(
        said.starts_with("--subvolume older is neither in the configuration nor in the bucket"),
        said);
  }
  BOOST_TEST(here.verify({"a/b"}).find("cannot be a subvolume's name") != std::string::npos);
  // A whole chunk is gone: found under the retired name as under any.
  for (const auto& [key, object] : here.store->objects()) {
    if (key.find("/old/") != std::string::npos && key.find("chunk-") != std::string::npos) {
      here.store->erase(key);
      break;
    }
  }
  BOOST_TEST(here.verify({"old"}) == "exit 4");
}

BOOST_AUTO_TEST_SUITE_END()
