// The private directory of a restore, where others can write beside it.
#include "btrfs/private_workspace.hh"

#include "tests/btrfs/loop_filesystem.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <string>

using namespace bts3::btrfs;
using bts3::testing::error_text;
namespace fs = std::filesystem;

namespace {

constexpr uid_t nobody = 65534;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

template <typename T>
std::string problem(const bts3::engine::result<T>& outcome) {
  return outcome ? std::string("accepted") : outcome.error().text();
}

void run(const std::vector<std::string>& argv) {
  BOOST_REQUIRE_MESSAGE(testing::run_quietly(argv), argv[0] + " " + argv[1]);
}

// A directory that a user can write to, with a target that would be made in it.
struct shared_place {
  explicit shared_place(const testing::loop_filesystem& loop)
      : base(loop.directory() / "shared"), private_directory(base / ".btrfs_to_s3.data") {
    fs::create_directory(base);
    BOOST_REQUIRE(::chown(base.c_str(), nobody, nobody) == 0);
    target.parent = base;
    target.name = "data";
  }
  // What a run and a dry run say; both with --discard and without it.
  [[nodiscard]] std::string refused() const {
    const std::string plain = problem(private_workspace::open(target));
    BOOST_TEST(problem(private_workspace::open(target, true)) == plain);
    BOOST_TEST(problem(find_earlier_work(target)) == plain);
    return plain;
  }
  fs::path base;
  fs::path private_directory;
  target_report target;
};

// A subvolume that was received from `source` into `into`, in reality or by its look.
fs::path received(const fs::path& source, const fs::path& into) {
  run({"btrfs", "subvolume", "snapshot", "-r", source, into / "snapshot"});
  run({"btrfs", "send", "-q", "-f", into / "stream", into / "snapshot"});
  run({"btrfs", "subvolume", "delete", into / "snapshot"});
  run({"btrfs", "receive", "-q", "-f", into / "stream", into});
  fs::remove(into / "stream");
  return into / "snapshot";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(private_workspace_suite)

BOOST_AUTO_TEST_CASE(it_is_closed_to_others_and_gone_when_nothing_was_received) {
  BTS3_LOOP_FILESYSTEM(loop);
  const shared_place here(loop);
  // An access list that opens everything that is made below.
  if (testing::run_quietly({"setfacl", "-d", "-m", "u:65534:rwx,m::rwx", here.base})) {
    std::cout << "with an inherited access list\n";
  }
  auto workspace = private_workspace::open(here.target);
  BOOST_REQUIRE_MESSAGE(workspace.has_value(), error_text(workspace));
  struct stat entry{};
  BOOST_REQUIRE(::lstat(here.private_directory.c_str(), &entry) == 0);
  BOOST_TEST((entry.st_mode & 07777) == 0700u);
  BOOST_TEST(entry.st_uid == 0u);
  BOOST_TEST(is_subvolume(here.private_directory));
  (*workspace)->close();
  BOOST_TEST(fs::is_empty(here.base));
}

BOOST_AUTO_TEST_CASE(a_link_planted_in_its_place_is_refused_and_nothing_behind_it_deleted) {
  BTS3_LOOP_FILESYSTEM(loop);
  const shared_place here(loop);
  const fs::path treasure = loop.directory() / "treasure";
  fs::create_directory(treasure);
  testing::make_subvolume(treasure / "one");
  fs::permissions(treasure, fs::perms::owner_all);
  fs::create_directory_symlink(treasure, here.private_directory);
  const std::string told = here.refused();
  BOOST_TEST(told.starts_with(here.private_directory.string() +
                              " is no directory that an interrupted restore left: it is a symbolic "
                              "link; others can write to " +
                              here.base.string()),
             told);
  BOOST_TEST(is_subvolume(treasure / "one"));
  BOOST_TEST(fs::is_symlink(here.private_directory));
}

BOOST_AUTO_TEST_CASE(what_others_made_in_its_place_is_refused) {
  BTS3_LOOP_FILESYSTEM(loop);
  const shared_place here(loop);
  const fs::path& place = here.private_directory;
  fs::create_directory(place);
  fs::permissions(place, fs::perms::owner_all);
  testing::make_subvolume(place / "one");
  BOOST_REQUIRE(::chown(place.c_str(), nobody, nobody) == 0);
  BOOST_TEST(has(here.refused(), "it belongs to user 65534"));
  BOOST_REQUIRE(::chown(place.c_str(), 0, 0) == 0);
  BOOST_REQUIRE(::chmod(place.c_str(), 0770) == 0);
  BOOST_TEST(has(here.refused(), "it is open to others (mode 770)"));
  BOOST_TEST(is_subvolume(place / "one"));
  // A mount over it.
  BOOST_REQUIRE(::chmod(place.c_str(), 0700) == 0);
  BOOST_REQUIRE(::mount("none", place.c_str(), "tmpfs", 0, "mode=0700") == 0);
  const std::string mounted = here.refused();
  ::umount2(place.c_str(), MNT_DETACH);
  BOOST_TEST(has(mounted, "something is mounted there"), mounted);
  run({"btrfs", "subvolume", "delete", place / "one"});
  fs::remove(place);
  testing::write_file(place, "a file");
  BOOST_TEST(has(here.refused(), "it is no directory"));
  fs::remove(place);
  BOOST_REQUIRE(::mkfifo(place.c_str(), 0600) == 0);
  BOOST_TEST(has(here.refused(), "it is no directory"));
}

BOOST_AUTO_TEST_CASE(records_that_are_not_a_file_of_ours_are_not_read) {
  BTS3_LOOP_FILESYSTEM(loop);
  const shared_place here(loop);
  const fs::path links = here.private_directory / "links";
  fs::create_directory(here.private_directory);
  fs::permissions(here.private_directory, fs::perms::owner_all);
  const auto told = [&] { return problem(private_workspace::open(here.target)); };
  BOOST_REQUIRE(::mkfifo(links.c_str(), 0600) == 0);
  BOOST_TEST(has(told(), "is not a list of links; run the restore again with --discard"));
  fs::remove(links);
  testing::write_file(here.base / "elsewhere", "btrfs_to_s3 links 1\n");
  fs::create_symlink(here.base / "elsewhere", links);
  BOOST_TEST(has(told(), "is not a list of links"));
  fs::remove(links);
  fs::create_hard_link(here.base / "elsewhere", links);
  BOOST_TEST(has(told(), "is not a list of links"));
  fs::remove(links);
  for (const std::string path : {"../other", "a/b", "received/../x", "received/", "..", ""}) {
    testing::write_file(links, "btrfs_to_s3 links 1\nkey\n" + path + "\nuuid\n");
    BOOST_TEST(has(told(), "is not a list of links"), path);
  }
  BOOST_TEST(problem(private_workspace::open(here.target, true)) == "accepted");
}

BOOST_AUTO_TEST_CASE(what_replaces_it_meanwhile_is_not_touched) {
  BTS3_LOOP_FILESYSTEM(loop);
  const shared_place here(loop);
  auto workspace = private_workspace::open(here.target);
  BOOST_REQUIRE_MESSAGE(workspace.has_value(), error_text(workspace));
  fs::rename(here.private_directory, here.base / "moved");
  testing::make_subvolume(here.private_directory);
  testing::make_subvolume(here.private_directory / "precious");
  BOOST_TEST(problem((*workspace)->delete_unrecorded()) == "accepted");
  BOOST_TEST(has(problem((*workspace)->remove()), "was moved during the restore"));
  (*workspace)->close();
  BOOST_TEST(is_subvolume(here.private_directory / "precious"));
  BOOST_TEST(is_subvolume(here.base / "moved"));
}

BOOST_AUTO_TEST_CASE(a_target_whose_parent_was_replaced_is_no_success) {
  BTS3_LOOP_FILESYSTEM(loop);
  const shared_place here(loop);
  const fs::path source = testing::make_subvolume(loop.directory() / "source");
  auto workspace = private_workspace::open(here.target);
  BOOST_REQUIRE_MESSAGE(workspace.has_value(), error_text(workspace));
  BOOST_REQUIRE((*workspace)->receiver(false).has_value());
  received(source, here.private_directory / "received");
  const auto link = (*workspace)->identify_received("key");
  BOOST_REQUIRE_MESSAGE(link.has_value(), error_text(link));
  BOOST_TEST(link->subvolume == "received/snapshot");
  BOOST_TEST(problem((*workspace)->record(*link)) == "accepted");
  fs::rename(here.base, loop.directory() / "renamed");
  fs::create_directory(here.base);
  const std::string told = problem((*workspace)->publish(*link));
  BOOST_TEST(has(told, here.base.string() + " was exchanged during the restore"), told);
  BOOST_TEST(fs::is_empty(here.base));
  (*workspace)->close();
}

BOOST_AUTO_TEST_CASE(the_parent_has_a_stand_in_that_nobody_else_can_claim) {
  BTS3_LOOP_FILESYSTEM(loop);
  const shared_place here(loop);
  const fs::path source = testing::make_subvolume(loop.directory() / "source");
  auto workspace = private_workspace::open(here.target);
  BOOST_REQUIRE_MESSAGE(workspace.has_value(), error_text(workspace));
  BOOST_REQUIRE((*workspace)->receiver(false).has_value());
  const fs::path into = here.private_directory / "received";
  received(source, into);
  const auto first = (*workspace)->identify_received("key 1");
  BOOST_REQUIRE_MESSAGE(first.has_value(), error_text(first));
  BOOST_TEST(problem((*workspace)->record(*first)) == "accepted");
  auto names = (*workspace)->stand_in_for_parent();
  BOOST_REQUIRE_MESSAGE(names.has_value(), error_text(names));
  BOOST_TEST((names->in_stream == inspect_subvolume(into / "snapshot")->received_uuid));
  const auto stand_in = inspect_subvolume(into / ".parent");
  BOOST_REQUIRE_MESSAGE(stand_in.has_value(), error_text(stand_in));
  BOOST_TEST((stand_in->received_uuid == names->stand_in));
  BOOST_TEST((stand_in->parent_uuid.text() == first->own_uuid));
  BOOST_TEST(stand_in->read_only);
  // Of what was built on something else it is told, and it is not recorded.
  fs::rename(into / "snapshot", into / "kept");
  received(source, into);
  fs::rename(into / "snapshot", into / "second");
  fs::rename(into / "kept", into / "snapshot");
  const std::string told = problem((*workspace)->identify_received("key 2"));
  BOOST_TEST(has(told, "built it on another subvolume than on the link before it"), told);
  (*workspace)->close();
  // The rerun has the first link, and nothing else is left.
  auto again = private_workspace::open(here.target);
  BOOST_REQUIRE_MESSAGE(again.has_value(), error_text(again));
  BOOST_TEST((*again)->records().size() == 1u);
  BOOST_TEST(!fs::exists(into / ".parent"));
  BOOST_TEST(!fs::exists(into / "second"));
  BOOST_TEST(problem((*again)->publish((*again)->records().back())) == "accepted");
  BOOST_TEST(problem((*again)->remove()) == "accepted");
  (*again)->close();
  BOOST_TEST(!fs::exists(here.private_directory));
  BOOST_TEST(is_subvolume(here.base / "data"));
}

BOOST_AUTO_TEST_CASE(what_an_older_version_received_is_continued) {
  BTS3_LOOP_FILESYSTEM(loop);
  const shared_place here(loop);
  const fs::path source = testing::make_subvolume(loop.directory() / "source");
  fs::create_directory(here.private_directory);
  fs::permissions(here.private_directory, fs::perms::owner_all);
  const fs::path link = received(source, here.private_directory);
  testing::write_file(
      here.private_directory / "links",
      "btrfs_to_s3 links 1\nkey\nsnapshot\n" + inspect_subvolume(link)->own_uuid.text() + "\n");
  auto workspace = private_workspace::open(here.target);
  BOOST_REQUIRE_MESSAGE(workspace.has_value(), error_text(workspace));
  BOOST_TEST((*workspace)->records().size() == 1u);
  BOOST_TEST(problem((*workspace)->stand_in_for_parent()) == "accepted");
  BOOST_TEST(problem((*workspace)->publish((*workspace)->records().back())) == "accepted");
  BOOST_TEST(problem((*workspace)->remove()) == "accepted");
  (*workspace)->close();
  BOOST_TEST(!fs::exists(here.private_directory));
}

BOOST_AUTO_TEST_CASE(a_place_that_is_mounted_read_only_is_respected) {
  BTS3_LOOP_FILESYSTEM(loop);
  const fs::path second = loop.base() / "read-only";
  fs::create_directory(second);
  run({"mount", "--bind", loop.directory(), second});
  run({"mount", "-o", "remount,bind,ro", second});
  const std::string told = problem(check_target(second / "data"));
  const std::string writable = problem(check_target(loop.directory() / "data"));
  target_report target;
  target.parent = second;
  target.name = "data";
  const std::string opened = problem(private_workspace::open(target));
  ::umount2(second.c_str(), MNT_DETACH);
  BOOST_TEST(has(told, second.string() + " is mounted read-only; mount it writable"), told);
  BOOST_TEST(writable == "accepted");
  BOOST_TEST(has(opened, "is mounted read-only, or lies"), opened);
  // So is a subvolume that has been made read-only.
  const fs::path closed = testing::make_subvolume(loop.directory() / "closed");
  run({"btrfs", "property", "set", closed, "ro", "true"});
  target.parent = closed;
  const std::string inside = problem(private_workspace::open(target));
  BOOST_TEST(has(inside, "read-only"), inside);
}

BOOST_AUTO_TEST_SUITE_END()
