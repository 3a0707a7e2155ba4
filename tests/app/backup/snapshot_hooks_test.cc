// Hooks around a snapshot, in whole backups: when they run, and what follows when one fails.
#include "tests/app/backup/backup_rig.hh"
#include "tests/support/memory_store.hh"

#include <chrono>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

using namespace bts3;
using namespace bts3::testing;

namespace {

// Both hooks write a line each; `before_does` and `after_does` are shell commands that they end in.
struct hooked {
  explicit hooked(const std::string& before_does = "true", const std::string& after_does = "true") {
    rig.shared_loop = std::move(*engine::reactor::create());
    store = std::make_unique<memory_store>(*rig.shared_loop);
    rig.tuning.store = store.get();
    rig.disk.stream = send_stream(3 * backup_rig::part_bytes);
    diary = rig.place / "diary";
    const std::string note =
        "echo \"$BTRFS_TO_S3_HOOK $BTRFS_TO_S3_HOOK_SUBVOLUMES "
        "$(ls -d " +
        rig.settings.snapshots.base_dir +
        "/*__* 2>/dev/null | wc -l) "
        "${BTRFS_TO_S3_HOOK_SNAPSHOT:+snapshot}\" >> " +
        diary + "; ";
    rig.settings.hooks.before_snapshot = {"/bin/sh", "-c", note + before_does};
    rig.settings.hooks.after_snapshot = {"/bin/sh", "-c", note + after_does};
  }
  [[nodiscard]] std::string lines() const {
    std::ifstream file(diary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  backup_rig rig;
  std::unique_ptr<memory_store> store;
  std::string diary;
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(snapshot_hooks_suite)

BOOST_AUTO_TEST_CASE(they_run_right_before_and_after_a_snapshot_and_only_when_one_is_due) {
  hooked here;
  BOOST_TEST(here.rig.run_text() == "done");
  const std::string once = "before_snapshot data 0 \nafter_snapshot data 1 snapshot\n";
  BOOST_TEST(here.lines() == once);
  BOOST_TEST(here.rig.run_text() == "done");  // nothing is due
  BOOST_TEST(here.lines() == once);
  BOOST_TEST(here.rig.left.empty());
}

BOOST_AUTO_TEST_CASE(a_hook_before_that_fails_leaves_no_snapshot_and_runs_no_hook_after) {
  hooked here("exit 3");
  const std::string said = here.rig.run_text();
  BOOST_TEST(has(said, "hooks.before_snapshot: /bin/sh exited with status 3"), said);
  BOOST_TEST(here.lines() == "before_snapshot data 0 \n");
  BOOST_TEST(here.rig.disk.snapshot_paths().empty());
  BOOST_TEST(here.rig.journal_text() == "none");
}

BOOST_AUTO_TEST_CASE(the_hook_after_runs_also_when_there_is_no_snapshot) {
  hooked here("true");
  const std::string base = here.rig.settings.snapshots.base_dir;
  here.rig.settings.hooks.before_snapshot.back() += "; rm -rf " + base + "; : > " + base;
  const std::string said = here.rig.run_text();
  BOOST_TEST(said != "done");
  BOOST_TEST(here.lines() == "before_snapshot data 0 \nafter_snapshot data 0 \n");
}

// Stops the run while the first hook is under way.
engine::result<app::exit_status> run_and_stop(hooked& here) {
  return here.rig.run([&here](engine::reactor& loop) {
    here.rig.helper = std::thread([&here, &loop] {
      while (here.lines().empty()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      loop.post([&here] { here.rig.stop->request_stop(); });
    });
  });
}

BOOST_AUTO_TEST_CASE(a_signal_that_ends_the_hook_before_ends_the_run) {
  hooked here("exec sleep 1000");
  const auto ended = run_and_stop(here);
  BOOST_REQUIRE(!ended.has_value());
  BOOST_TEST((ended.error().what_now == engine::disposition::cancelled));
  BOOST_TEST(here.lines() == "before_snapshot data 0 \n");
}

BOOST_AUTO_TEST_CASE(what_a_hook_before_has_done_despite_a_signal_is_undone_by_the_one_after) {
  hooked here;
  std::string& command = here.rig.settings.hooks.before_snapshot.back();
  command = "trap 'stopped=1' TERM; " + command + "; while [ -z \"$stopped\" ]; do :; done; exit 0";
  const auto ended = run_and_stop(here);
  BOOST_REQUIRE(!ended.has_value());
  BOOST_TEST((ended.error().what_now == engine::disposition::cancelled));
  BOOST_TEST(here.lines().find("after_snapshot data ") != std::string::npos, here.lines());
}

BOOST_AUTO_TEST_CASE(a_hook_after_that_fails_is_the_error_of_a_backup_that_is_complete) {
  hooked here("true", "echo no database >&2; exit 1");
  const std::string said = here.rig.run_text();
  BOOST_TEST(has(said,
                 "the backup is complete, but: hooks.after_snapshot: /bin/sh exited with "
                 "status 1: no database"),
             said);
  bucket_contents there;
  for (const auto& [key, object] : here.store->objects()) {
    there.objects[key] = object.body;
  }
  BOOST_TEST(here.rig.published_problem(there).empty());
}

BOOST_AUTO_TEST_CASE(hooks_of_subvolumes_that_are_backed_up_at_once_do_not_overlap) {
  hooked here;
  for (const char* name : {"second", "third"}) {
    const std::string path = here.rig.place / name;
    here.rig.disk.add_subvolume(path);
    here.rig.settings.subvolumes.push_back({name, path});
  }
  here.rig.settings.global.parallel_subvolumes = 3;
  BOOST_TEST(here.rig.run_text() == "done");
  std::istringstream lines(here.lines());
  std::string before;
  std::string after;
  std::size_t pairs = 0;
  while (std::getline(lines, before) && std::getline(lines, after)) {
    const auto name = [](const std::string& line) {
      const std::size_t blank = line.find(' ');
      return line.substr(blank, line.find(' ', blank + 1) - blank);
    };
    BOOST_TEST(before.starts_with("before_snapshot"), before);
    BOOST_TEST(after.starts_with("after_snapshot"), after);
    BOOST_TEST(name(before) == name(after));
    ++pairs;
  }
  BOOST_TEST(pairs == 3U);
}

BOOST_AUTO_TEST_SUITE_END()
