// Why the kernel refuses a snapshot, told so that somebody can help it.
#include "btrfs/refusals.hh"

#include "btrfs/snapshot_manager.hh"
#include "tests/btrfs/failing_call.hh"
#include "tests/btrfs/loop_filesystem.hh"

#include <boost/test/unit_test.hpp>

#include <linux/btrfs.h>

#include <cerrno>
#include <filesystem>
#include <iostream>
#include <string>

using namespace bts3::btrfs;
using testing::call;
using testing::failing_call;
using testing::run_quietly;

namespace {

const std::string day_1 = "20260101T000000Z";

template <typename T>
std::string problem(const bts3::engine::result<T>& outcome) {
  return outcome ? std::string("accepted") : outcome.error().text();
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A swap file in use, for as long as this lives.
class swap_in_use {
 public:
  explicit swap_in_use(std::string path) : _path(std::move(path)) {
    _on = run_quietly({"truncate", "-s", "0", _path}) && run_quietly({"chattr", "+C", _path}) &&
          run_quietly({"fallocate", "-l", "8M", _path}) && run_quietly({"chmod", "600", _path}) &&
          run_quietly({"mkswap", _path}) && run_quietly({"swapon", _path});
  }
  ~swap_in_use() {
    if (_on) {
      run_quietly({"swapoff", _path});
    }
  }
  swap_in_use(const swap_in_use&) = delete;
  swap_in_use& operator=(const swap_in_use&) = delete;
  [[nodiscard]] bool on() const { return _on; }

 private:
  std::string _path;
  bool _on = false;
};

// While it lives, `path` has the attribute +i.
class immutable {
 public:
  explicit immutable(std::string path) : _path(std::move(path)) {
    BOOST_REQUIRE(run_quietly({"chattr", "+i", _path}));
  }
  ~immutable() { run_quietly({"chattr", "-i", _path}); }
  immutable(const immutable&) = delete;
  immutable& operator=(const immutable&) = delete;

 private:
  std::string _path;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(refusals_suite)

BOOST_AUTO_TEST_CASE(a_swap_file_in_use_is_named_and_one_in_a_subvolume_of_its_own_is_no_obstacle) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::string source = testing::make_subvolume(loop.directory() / "data");
  const std::string own = testing::make_subvolume(loop.directory() / "data" / "swap");
  const snapshot_manager snapshots(loop.directory());
  {
    const swap_in_use swap(source + "/swap file");
    if (!swap.on()) {
      std::cout << "skipped: no swap can be used here\n";
      return;
    }
    const std::string said = problem(snapshots.create(source, "data", day_1, true));
    BOOST_TEST(has(said, source + "/swap file is in use as swap"), said);
    BOOST_TEST(has(said, "`swapoff '" + source + "/swap file'`"), said);
    BOOST_TEST(has(said, "a subvolume of its own"), said);
    BOOST_TEST(active_swapfiles(source).size() == 1U);
    BOOST_TEST(active_swapfiles(own).empty());
  }
  const swap_in_use swap(own + "/file");
  BOOST_TEST(swap.on());
  BOOST_TEST(problem(snapshots.create(source, "data", day_1, true)) == "accepted");
}

BOOST_AUTO_TEST_CASE(swap_files_are_found_by_the_subvolume_that_they_are_in) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::string source = testing::make_subvolume(loop.directory() / "data");
  testing::write_file(source + "/a b", "x");
  testing::write_file(loop.directory() / "beside", "x");
  const std::string list = loop.base() / "swaps";
  testing::write_file(list, "Filename Type Size Used Priority\n" + source +
                                "/a\\040b file 8188 0 -2\n" + source + "/gone file 1 0 -3\n" +
                                (loop.directory() / "beside").string() +
                                " file 1 0 -4\n/dev/null partition 1 0 -5\n");
  BOOST_TEST(active_swapfiles(source, list) == (std::vector<std::string>{source + "/a b"}),
             boost::test_tools::per_element());
  BOOST_TEST(active_swapfiles(source, list + "none").empty());
}

BOOST_AUTO_TEST_CASE(an_immutable_directory_of_snapshots_is_told_from_missing_rights) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::string source = testing::make_subvolume(loop.directory() / "data");
  const std::string base = loop.directory() / "snapshots";
  std::filesystem::create_directory(base);
  const snapshot_manager snapshots(base);
  {
    const immutable fixed(base);
    const std::string said = problem(snapshots.create(source, "data", day_1, true));
    BOOST_TEST(has(said, "; " + base + " is immutable: `chattr -i " + base + "`"), said);
  }
  const auto made = snapshots.create(source, "data", day_1, true);
  BOOST_REQUIRE(made.has_value());
  const immutable fixed(base);
  const std::string said = problem(snapshots.remove(made->name));
  BOOST_TEST(has(said, base + " is immutable"), said);
}

BOOST_AUTO_TEST_CASE(a_filesystem_that_is_read_only_is_named) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::string source = testing::make_subvolume(loop.directory() / "data");
  const snapshot_manager snapshots(loop.directory());
  BOOST_REQUIRE(run_quietly({"mount", "-o", "remount,ro", loop.directory()}));
  const std::string said = problem(snapshots.create(source, "data", day_1, true));
  BOOST_TEST(has(said, "Read-only file system"), said);
  BOOST_TEST(has(said, "mounted read-only, or became so after an error"), said);
}

BOOST_AUTO_TEST_CASE(a_quota_that_is_used_up_is_named) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::string source = testing::make_subvolume(loop.directory() / "data");
  const std::string base = testing::make_subvolume(loop.directory() / "snapshots");
  BOOST_REQUIRE(run_quietly({"btrfs", "quota", "enable", loop.directory()}));
  BOOST_REQUIRE(run_quietly({"btrfs", "qgroup", "limit", "1K", base}));
  const std::string said = problem(snapshot_manager(base).create(source, "data", day_1, true));
  BOOST_TEST(has(said, "Disk quota exceeded"), said);
  BOOST_TEST(has(said, "`btrfs qgroup show -re " + base + "`"), said);
}

BOOST_AUTO_TEST_CASE(a_full_filesystem_is_named_with_what_makes_room) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::string source = testing::make_subvolume(loop.directory() / "data");
  const snapshot_manager snapshots(loop.directory());
  const failing_call full(call::ioctl, ENOSPC, BTRFS_IOC_SNAP_CREATE_V2);
  const std::string said = problem(snapshots.create(source, "data", day_1, true));
  BOOST_TEST(full.happened());
  BOOST_TEST(has(said, "No space left on device"), said);
  BOOST_TEST(has(said, "btrfs balance start"), said);
}

BOOST_AUTO_TEST_CASE(an_error_without_a_cause_of_its_own_keeps_its_words) {
  BOOST_TEST(snapshot_refusal(EIO, "snapshot of /a", "/a", "/b").text() ==
             "snapshot of /a: Input/output error");
  BOOST_TEST(has(snapshot_refusal(EPERM, "snapshot of /a", "/a", "/nonexistent").text(),
                 "this needs root"));
}

BOOST_AUTO_TEST_CASE(a_receiver_without_room_is_told_from_one_that_is_refused) {
  bts3::engine::error said;
  said.why = bts3::engine::reason::child_process;
  said.message = "`btrfs receive` exited with status 1: ERROR: writing to a failed: ";
  const auto told = [&](const char* words) {
    bts3::engine::error failure = said;
    failure.message += words;
    return receive_failure(std::move(failure), "/srv/new home").text();
  };
  const std::string quota = told("Disk quota exceeded");
  BOOST_TEST(quota.starts_with("a quota at /srv/new home is used up: `btrfs receive` exited"));
  BOOST_TEST(has(quota, "`btrfs qgroup show -re '/srv/new home'`"), quota);
  BOOST_TEST(has(quota, "`btrfs qgroup limit`; the same command goes on"), quota);
  const std::string full = told("No space left on device");
  BOOST_TEST(full.starts_with("the filesystem of /srv/new home is full: `btrfs receive` exited"));
  BOOST_TEST(has(full, "make room"), full);
  BOOST_TEST(told("File exists") == said.message + "File exists");
}

BOOST_AUTO_TEST_SUITE_END()
