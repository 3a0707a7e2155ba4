#include "btrfs/identity.hh"
#include "btrfs/private_workspace.hh"
#include "btrfs/snapshot_manager.hh"

#include "tests/btrfs/loop_filesystem.hh"
#include "tests/support/as_nobody.hh"
#include "tests/support/outcome.hh"
#include "tests/support/shown_setting.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <iostream>

using bts3::engine::setting;
using bts3::testing::shown;

using namespace bts3::btrfs;
using bts3::testing::as_nobody;
using bts3::testing::error_text;

namespace {

const std::string day_1 = "20260101T000000Z";
const std::string day_2 = "20260102T000000Z";

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

template <typename T>
std::string problem(const bts3::engine::result<T>& outcome) {
  return outcome ? std::string("accepted") : outcome.error().text();
}

// `btrfs send` of `snapshot` into `btrfs receive` at `into`; the path of the copy.
std::filesystem::path received_copy(const std::filesystem::path& snapshot,
                                    const std::filesystem::path& into) {
  const std::string stream = (into / "stream").string();
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "send", "-q", "-f", stream, snapshot}));
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "receive", "-q", "-f", stream, into}));
  return into / snapshot.filename();
}

// By the ioctl alone, as tools before btrfs-progs 5.14.2 did: the received UUID stays.
void make_writable(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  std::uint64_t flags = 0;
  BOOST_REQUIRE(::ioctl(fd, BTRFS_IOC_SUBVOL_SETFLAGS, &flags) == 0);
  ::close(fd);
}

// The loop filesystem with a subvolume "data" of one file, and a place for snapshots.
struct prepared {
  explicit prepared(const testing::loop_filesystem& loop)
      : source(testing::make_subvolume(loop.directory() / "data")),
        base(loop.directory() / "snapshots"),
        snapshots(base) {
    testing::write_file(source / "file", "1");
    std::filesystem::create_directory(base);
  }
  std::filesystem::path source;
  std::filesystem::path base;
  snapshot_manager snapshots;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(snapshot_suite)

BOOST_AUTO_TEST_CASE(snapshots_are_made_listed_by_time_and_removed) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::string source = testing::make_subvolume(loop.directory() / "data");
  const snapshot_manager snapshots(loop.directory());
  auto newer = snapshots.create(source, "data", "20260103T000000Z", false);
  BOOST_REQUIRE_MESSAGE(newer.has_value(), error_text(newer));
  auto older = snapshots.create(source, "data", "20260102T000000Z", true);
  BOOST_REQUIRE_MESSAGE(older.has_value(), error_text(older));
  BOOST_TEST(newer->info.read_only);
  BOOST_TEST((newer->info.parent_uuid == inspect_subvolume(source)->own_uuid));
  testing::make_subvolume(loop.directory() / "data__notatime__full");
  auto listed = snapshots.list("data");
  BOOST_REQUIRE_MESSAGE(listed.has_value(), error_text(listed));
  BOOST_REQUIRE(listed->size() == 2u);
  BOOST_TEST(listed->front().name == "data__20260102T000000Z__full");
  BOOST_TEST(listed->back().name == "data__20260103T000000Z__inc");
  BOOST_TEST(!snapshots.remove("data").has_value());
  BOOST_TEST(!snapshots.remove("data__notatime__full").has_value());
  auto removed = snapshots.remove(older->name);
  BOOST_TEST(removed.has_value(), error_text(removed));
  BOOST_TEST(snapshots.list("data")->size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_snapshot_flipped_and_changed_keeps_its_uuid_and_moves_its_ctransid) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::string source = testing::make_subvolume(loop.directory() / "data");
  const snapshot_manager snapshots(loop.directory());
  auto made = snapshots.create(source, "data", "20260103T000000Z", true);
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "property", "set", made->path, "ro", "false"}));
  testing::write_file(std::filesystem::path(made->path) / "file", "changed");
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "property", "set", made->path, "ro", "true"}));
  BOOST_REQUIRE(sync_filesystem(made->path).has_value());
  auto now = inspect_subvolume(made->path);
  BOOST_REQUIRE_MESSAGE(now.has_value(), error_text(now));
  BOOST_TEST((now->own_uuid == made->info.own_uuid));
  BOOST_TEST(now->ctransid != made->info.ctransid);
}

BOOST_AUTO_TEST_CASE(what_is_no_subvolume_is_refused_with_a_remedy) {
  BTS3_LOOP_FILESYSTEM(loop);
  std::filesystem::create_directory(loop.directory() / "plain");
  const auto plain = inspect_subvolume(loop.directory() / "plain");
  BOOST_REQUIRE(!plain);
  BOOST_TEST(plain.error().text().find("btrfs subvolume create") != std::string::npos);
  const auto elsewhere = inspect_subvolume("/proc");
  BOOST_REQUIRE(!elsewhere);
  BOOST_TEST(elsewhere.error().message.find("not on a Btrfs") != std::string::npos);
  BOOST_TEST(!inspect_subvolume(loop.directory() / "missing").has_value());
}

BOOST_AUTO_TEST_CASE(nested_subvolumes_are_named_by_their_paths) {
  BTS3_LOOP_FILESYSTEM(loop);
  const auto outer = testing::make_subvolume(loop.directory() / "outer");
  std::filesystem::create_directories(outer / "a" / "b");
  testing::make_subvolume(outer / "a" / "b" / "deep");
  testing::make_subvolume(outer / "near");
  testing::make_subvolume(outer / "near" / "inner");
  auto nested = nested_subvolumes(outer);
  BOOST_REQUIRE_MESSAGE(nested.has_value(), error_text(nested));
  const std::vector<std::string> expected = {"a/b/deep", "near"};
  BOOST_TEST(*nested == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(targets_that_cannot_be_restored_to_are_refused) {
  BTS3_LOOP_FILESYSTEM(loop);
  const auto refused = [](const std::string& target) {
    const auto report = check_target(target);
    return report ? std::string("accepted") : report.error().text();
  };
  const std::string base = loop.directory();
  std::filesystem::create_directory(loop.directory() / "there");
  BOOST_TEST(refused(base + "/there").find("exists already") != std::string::npos);
  BOOST_TEST(refused(base + "/there/x/y/data") == "accepted");  // directories that will be made
  BOOST_TEST(!std::filesystem::exists(loop.directory() / "there/x"));
  // Not where somebody else could choose what they lead to, nor in place of anything.
  BOOST_TEST(refused("/proc/no/such").find("not on Btrfs") != std::string::npos);
  std::filesystem::create_directory(loop.directory() / "open");
  std::filesystem::permissions(loop.directory() / "open", std::filesystem::perms::all);
  BOOST_TEST(refused(base + "/open/no/such").find("mkdir -p") != std::string::npos);
  std::filesystem::create_symlink("nowhere", loop.directory() / "link");
  BOOST_TEST(refused(base + "/link/such").find("mkdir -p") != std::string::npos);
  testing::write_file(loop.directory() / "file", "");
  BOOST_TEST(refused(base + "/file/such").find("mkdir -p") != std::string::npos);
  BOOST_TEST(refused("/proc/x").find("not on Btrfs") != std::string::npos);
  BOOST_TEST(refused("x").find("absolute") != std::string::npos);
  BOOST_TEST(refused(base + "/fine/") == "accepted");
}

// By the record that a restore leaves beside a target while others are not there yet.
BOOST_AUTO_TEST_CASE(a_target_counts_as_restored_only_with_the_identity_that_was_recorded) {
  BTS3_LOOP_FILESYSTEM(loop);
  const std::filesystem::path target = loop.directory() / "data";
  const auto look = [&] {
    target_report report;
    report.parent = loop.directory();
    report.name = "data";
    return find_earlier_work(report);
  };
  BOOST_TEST((look() && look()->links.empty() && !look()->published));
  const std::filesystem::path place = loop.directory() / ".btrfs_to_s3.data";
  std::filesystem::create_directory(place);
  std::filesystem::permissions(place, std::filesystem::perms::owner_all);
  for (const char* name : {"first", "second"}) {
    testing::make_subvolume(place / name);
    BOOST_REQUIRE(testing::run_quietly({"btrfs", "property", "set", place / name, "ro", "true"}));
  }
  const auto uuid_of = [](const std::filesystem::path& path) {
    return inspect_subvolume(path).value().own_uuid.text();
  };
  testing::write_file(place / "links", "btrfs_to_s3 links 1\nkey 1\nfirst\n" +
                                           uuid_of(place / "first") + "\nkey 2\nsecond\n" +
                                           uuid_of(place / "second") + "\n");
  BOOST_REQUIRE(look().has_value());
  BOOST_TEST(look()->links.size() == 2u);
  BOOST_TEST(!look()->published.has_value());
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "subvolume", "snapshot", place / "second", target}));
  BOOST_REQUIRE(look()->published.has_value());
  BOOST_TEST(look()->published->manifest_key == "key 2");
  // The record outlives what was received.
  for (const char* name : {"first", "second"}) {
    BOOST_REQUIRE(testing::run_quietly({"btrfs", "subvolume", "delete", place / name}));
  }
  BOOST_TEST(look()->links.empty());
  BOOST_REQUIRE(look()->published.has_value());
  // A copy of the target in its place, one that was made read-only, and anything else are not it.
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "property", "set", target, "ro", "true"}));
  BOOST_TEST(!look()->published.has_value());
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "property", "set", target, "ro", "false"}));
  BOOST_TEST(look()->published.has_value());
  std::filesystem::rename(target, loop.directory() / "moved");
  BOOST_TEST(!look()->published.has_value());
  BOOST_REQUIRE(
      testing::run_quietly({"btrfs", "subvolume", "snapshot", loop.directory() / "moved", target}));
  BOOST_TEST(!look()->published.has_value());
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "subvolume", "delete", target}));
  std::filesystem::create_directory(target);
  BOOST_TEST(!look()->published.has_value());
  testing::write_file(place / "links", "something");
  BOOST_REQUIRE(!look().has_value());
  BOOST_TEST(has(look().error().text(), "run the restore again with --discard"));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(snapshot_manager_suite)

BOOST_AUTO_TEST_CASE(what_can_be_snapshotted_is_checked_first) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared here(loop);
  BOOST_TEST(problem(here.snapshots.check(here.source)) == "accepted");
  BOOST_TEST(problem(here.snapshots.check(loop.directory())) == "accepted");
  std::filesystem::create_directory(here.source / "folder");
  BOOST_TEST(has(problem(here.snapshots.check(here.source / "folder")), "an ordinary directory"));
  BOOST_TEST(has(problem(here.snapshots.check(here.source / "missing")), "missing: No such file"));
}

BOOST_AUTO_TEST_CASE(a_base_directory_that_cannot_serve_is_named_with_its_key_and_a_remedy) {
  BTS3_LOOP_FILESYSTEM(loop);
  const testing::loop_filesystem second;
  const prepared here(loop);
  // A volume that is not mounted looks like this: the path leads to another filesystem.
  const std::string base = second.directory() / "new";
  const auto missing = snapshot_manager(base).check(here.source);
  BOOST_REQUIRE(!missing);
  BOOST_TEST((missing.error().why == bts3::engine::reason::configuration));
  BOOST_TEST(missing.error().text() == shown(setting::snapshot_directory) + ": " + base +
                                           ": No such file or directory; create it (`mkdir -p " +
                                           base + "`) on the filesystem of " +
                                           here.source.string());
  const auto other = snapshot_manager(second.directory()).check(here.source);
  BOOST_REQUIRE(!other);
  BOOST_TEST((other.error().why == bts3::engine::reason::configuration));
  BOOST_TEST(has(other.error().text(), shown(setting::snapshot_directory) + " = " +
                                           second.directory().string() +
                                           " is on another filesystem than " +
                                           here.source.string() + "; a snapshot cannot cross"));
  const std::string no_btrfs = problem(snapshot_manager("/proc").check(here.source));
  BOOST_TEST(no_btrfs.starts_with(shown(setting::snapshot_directory) + ": /proc is not on a Btrfs"),
             no_btrfs);
  // Who did not check gets an error, too.
  const auto crossing =
      snapshot_manager(second.directory()).create(here.source, "data", day_1, true);
  BOOST_TEST(has(problem(crossing), "; both must be on the same Btrfs filesystem"));
  BOOST_TEST(has(problem(snapshot_manager(base).create(here.source, "data", day_1, true)),
                 base + ": No such file"));
  BOOST_TEST(has(problem(snapshot_manager(base).make_base(here.source)), "create it (`mkdir -p "));
  BOOST_TEST(!std::filesystem::exists(base));
  BOOST_TEST(has(problem(snapshot_manager("/proc/1/mem").list("data")),
                 shown(setting::snapshot_directory) + " /proc"));
}

BOOST_AUTO_TEST_CASE(a_missing_base_directory_is_made_where_the_source_lies) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared here(loop);
  const snapshot_manager deep((loop.directory() / "a/b/snapshots").string());
  BOOST_TEST(problem(deep.check(here.source)) == "accepted");
  const auto none = deep.list("data");
  BOOST_REQUIRE(none.has_value());
  BOOST_TEST(none->empty());
  const auto made = deep.make_base(here.source);
  BOOST_REQUIRE(made.has_value());
  BOOST_TEST(*made);
  const auto mode = std::filesystem::status(loop.directory() / "a/b/snapshots").permissions();
  BOOST_TEST(((mode & std::filesystem::perms::all) == std::filesystem::perms::owner_all));
  const auto again = deep.make_base(here.source);
  BOOST_TEST((again.has_value() && !*again));
  BOOST_TEST(problem(deep.create(here.source, "data", day_1, true)) == "accepted");
  // A link that leads nowhere, and a file, are no places to make anything in.
  std::filesystem::create_symlink("nowhere", loop.directory() / "link");
  testing::write_file(loop.directory() / "file", "");
  for (const char* wrong : {"link", "link/deeper", "file", "file/deeper"}) {
    const snapshot_manager bad((loop.directory() / wrong).string());
    const auto refused = bad.make_base(here.source);
    BOOST_TEST((!refused || !*refused), wrong);
    BOOST_TEST(problem(bad.check(here.source)) != "accepted", wrong);
  }
  BOOST_TEST(!std::filesystem::exists(loop.directory() / "nowhere"));
}

BOOST_AUTO_TEST_CASE(a_snapshot_is_made_once_and_only_of_what_can_be_named) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared here(loop);
  BOOST_REQUIRE(here.snapshots.create(here.source, "data", day_1, true).has_value());
  testing::write_file(here.source / "file", "2");
  const auto again = here.snapshots.create(here.source, "data", day_1, true);
  BOOST_TEST(has(problem(again), "data__" + day_1 + "__full: File exists"));
  const std::filesystem::path first = here.snapshots.path_of("data__" + day_1 + "__full");
  BOOST_TEST(testing::read_file(first / "file") == "1");
  BOOST_TEST(!std::filesystem::exists(first / "data"));
  for (const auto& [name, time] :
       {std::pair("", "20260101T000000Z"), std::pair("data", "yesterday"),
        std::pair("data", "20260101T0000000"), std::pair("data", "2026010aT000000Z")}) {
    const auto refused = here.snapshots.create(here.source, name, time, true);
    BOOST_TEST(has(problem(refused), "cannot be a subvolume's name"), problem(refused));
  }
  BOOST_TEST(has(problem(here.snapshots.create(here.source, "a/b", day_1, true)),
                 "\"a/b__" + day_1 + "__full\" cannot be a subvolume's name"));
  BOOST_TEST(has(problem(here.snapshots.create(here.source, std::string(240, 'n'), day_1, true)),
                 "File name too long"));
  BOOST_TEST(has(problem(here.snapshots.create(here.source, std::string(5000, 'n'), day_1, true)),
                 "cannot be a subvolume's name"));
  std::filesystem::create_directory(here.source / "folder");
  BOOST_TEST(has(problem(here.snapshots.create(here.source / "folder", "data", day_2, true)),
                 "an ordinary directory"));
  // Nothing was left by what failed.
  const std::filesystem::directory_iterator entries(here.base);
  BOOST_TEST(std::distance(begin(entries), end(entries)) == 1);
}

BOOST_AUTO_TEST_CASE(names_may_be_odd) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared here(loop);
  for (const std::string& name :
       {std::string("a b"), std::string("-rf"), std::string("'\"$(x)\\"), std::string("\xc3\xa4"),
        std::string("new\nline"), std::string("ends_"), std::string("_"), std::string("inc"),
        "data__" + day_1 + "__full", std::string(231, 'n')}) {
    BOOST_TEST_CONTEXT(name) {
      auto made = here.snapshots.create(here.source, name, day_1, true);
      BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
      BOOST_TEST(made->subvolume == name);
      BOOST_TEST(made->info.name == name + "__" + day_1 + "__full");
      auto listed = here.snapshots.list(name);
      BOOST_REQUIRE_MESSAGE(listed.has_value(), error_text(listed));
      BOOST_REQUIRE(listed->size() == 1u);
      BOOST_TEST((listed->front().info.own_uuid == made->info.own_uuid));
      BOOST_TEST(problem(here.snapshots.remove(made->name)) == "accepted");
      BOOST_TEST(!std::filesystem::exists(made->path));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_read_only_source_gives_a_snapshot_like_any_other) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared here(loop);
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "property", "set", here.source, "ro", "true"}));
  auto made = here.snapshots.create(here.source, "data", day_1, true);
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  BOOST_TEST(made->info.read_only);
  BOOST_TEST((made->info.parent_uuid == inspect_subvolume(here.source)->own_uuid));
}

// A received UUID that several snapshots share makes the first of them pass for the last.
BOOST_AUTO_TEST_CASE(snapshots_of_a_received_source_are_told_apart) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared here(loop);
  auto original = here.snapshots.create(here.source, "data", day_1, true);
  BOOST_REQUIRE_MESSAGE(original.has_value(), error_text(original));
  std::filesystem::create_directory(loop.directory() / "copies");
  const auto copy = received_copy(original->path, loop.directory() / "copies");
  BOOST_REQUIRE(!inspect_subvolume(copy)->received_uuid.is_null());
  auto first = here.snapshots.create(copy, "copy", day_1, true);
  BOOST_REQUIRE_MESSAGE(first.has_value(), error_text(first));
  make_writable(copy);
  BOOST_REQUIRE(!inspect_subvolume(copy)->received_uuid.is_null());
  testing::write_file(copy / "file", "2");
  auto second = here.snapshots.create(copy, "copy", day_2, false);
  BOOST_REQUIRE_MESSAGE(second.has_value(), error_text(second));
  recorded_identity recorded;
  recorded.own_uuid = second->info.own_uuid;
  recorded.received_uuid = second->info.received_uuid;
  recorded.ctransid = second->info.ctransid;
  BOOST_TEST(compare_identity(recorded, second->info).matches());
  BOOST_TEST(!compare_identity(recorded, first->info).matches());
  for (const auto* one : {&*first, &*second}) {
    BOOST_TEST(one->info.read_only);
    BOOST_TEST(one->info.received_uuid.is_null());
  }
  BOOST_TEST(testing::read_file(std::filesystem::path(first->path) / "file") == "1");
  BOOST_TEST(testing::read_file(std::filesystem::path(second->path) / "file") == "2");
}

BOOST_AUTO_TEST_CASE(only_subvolumes_named_like_our_snapshots_are_listed) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared here(loop);
  auto full = here.snapshots.create(here.source, "data", day_1, true);
  auto incremental = here.snapshots.create(here.source, "data", day_1, false);
  auto other = here.snapshots.create(here.source, "database", day_1, true);
  BOOST_REQUIRE(full && incremental && other);
  for (const char* name : {"data", "data__20260101T000000Z", "data__20260101T000000Z__half",
                           "data__20260101T000000__full", "data_20260101T000000Z__full",
                           "__20260101T000000Z__full", "data__20260101T000000Zx_full"}) {
    testing::make_subvolume(here.base / name);
  }
  std::filesystem::create_directory(here.base / "data__20260103T000000Z__full");
  testing::write_file(here.base / "data__20260104T000000Z__full", "");
  std::filesystem::create_directory_symlink(full->path, here.base / "data__20260105T000000Z__full");
  auto listed = here.snapshots.list("data");
  BOOST_REQUIRE_MESSAGE(listed.has_value(), error_text(listed));
  BOOST_REQUIRE(listed->size() == 2u);
  BOOST_TEST(listed->front().name == full->name);  // of one time, by name
  BOOST_TEST(listed->front().full);
  BOOST_TEST(listed->back().name == incremental->name);
  BOOST_TEST(!listed->back().full);
  BOOST_TEST(here.snapshots.list("nothing")->empty());
}

BOOST_AUTO_TEST_CASE(only_subvolumes_named_like_our_snapshots_are_removed) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared here(loop);
  auto made = here.snapshots.create(here.source, "data", day_1, true);
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  const std::string folder = "data__20260103T000000Z__full";
  const std::string file = "data__20260104T000000Z__full";
  const std::string link = "data__20260105T000000Z__full";
  std::filesystem::create_directory(here.base / folder);
  testing::write_file(here.base / folder / "mine", "");
  testing::write_file(here.base / file, "");
  std::filesystem::create_directory_symlink(made->path, here.base / link);
  for (const std::string& name : {folder, file, link}) {
    BOOST_TEST(problem(here.snapshots.remove(name)) ==
               (here.base / name).string() + " is not a subvolume and was not deleted");
  }
  BOOST_TEST(std::filesystem::exists(here.base / folder / "mine"));
  BOOST_TEST(std::filesystem::exists(here.base / file));
  BOOST_TEST(std::filesystem::exists(std::filesystem::symlink_status(here.base / link)));
  BOOST_TEST(std::filesystem::exists(made->path));
  BOOST_TEST(has(problem(here.snapshots.remove("data__20260106T000000Z__full")), "No such file"));
  for (const std::string& name : {std::string(), std::string("."), std::string(".."),
                                  std::string("../data"), std::string("x")}) {
    BOOST_TEST(has(problem(here.snapshots.remove(name)), "cannot be a subvolume's name"), name);
  }
  // A name of ours that leads elsewhere is none.
  const auto elsewhere = testing::make_subvolume(loop.directory() / made->name);
  BOOST_TEST(
      has(problem(here.snapshots.remove("../" + made->name)), "cannot be a subvolume's name"));
  BOOST_TEST(std::filesystem::exists(elsewhere));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(snapshot_rights_suite)

BOOST_AUTO_TEST_CASE(a_subvolume_that_holds_others_is_not_deleted) {
  BTS3_LOOP_FILESYSTEM(loop);
  const auto outer = testing::make_subvolume(loop.directory() / "outer");
  testing::make_subvolume(outer / "inner");
  BOOST_TEST(has(problem(delete_subvolume(loop.directory(), "outer")),
                 "deleting subvolume " + outer.string() + ": Directory not empty"));
  BOOST_TEST(problem(delete_subvolume(outer, "inner")) == "accepted");
  BOOST_TEST(problem(delete_subvolume(loop.directory(), "outer")) == "accepted");
}

BOOST_AUTO_TEST_CASE(names_that_are_none_delete_nothing) {
  BTS3_LOOP_FILESYSTEM(loop);
  const auto outer = testing::make_subvolume(loop.directory() / "outer");
  testing::make_subvolume(outer / "inner");
  BOOST_TEST(has(problem(delete_subvolume(outer, "")), "cannot be a subvolume's name"));
  BOOST_TEST(!delete_subvolume(outer, ".").has_value());
  BOOST_TEST(!delete_subvolume(outer, "..").has_value());
  BOOST_TEST(has(problem(delete_subvolume(loop.directory(), "outer/inner")), "cannot be a"));
  BOOST_TEST(is_subvolume(outer / "inner"));
}

BOOST_AUTO_TEST_CASE(without_roots_rights_it_is_said_what_is_missing) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared here(loop);
  auto made = here.snapshots.create(here.source, "data", day_1, true);
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  const auto closed = testing::make_subvolume(loop.directory() / "closed");
  testing::make_subvolume(closed / "inner");
  testing::make_subvolume(here.base / ("closed__" + day_1 + "__full"));
  BOOST_REQUIRE(::chmod(loop.base().c_str(), 0755) == 0);
  BOOST_REQUIRE(::chmod(closed.c_str(), 0711) == 0);
  BOOST_REQUIRE(::chmod(here.snapshots.path_of("closed__" + day_1 + "__full").c_str(), 0700) == 0);
  std::string creating;
  std::string deleting;
  std::string unreadable;
  std::string parent_unreadable;
  std::string listing;
  {
    const as_nobody nobody;
    creating = problem(here.snapshots.create(here.source, "data", day_2, false));
    deleting = problem(here.snapshots.remove(made->name));
    unreadable = problem(create_snapshot(closed, here.base, "x", true));
    parent_unreadable = problem(delete_subvolume(closed, "inner"));
    listing = problem(here.snapshots.list("closed"));
  }
  BOOST_TEST(creating.starts_with("snapshot of " + here.source.string() + " at "), creating);
  BOOST_TEST(creating.ends_with("; this needs root"), creating);
  BOOST_TEST(deleting.starts_with("deleting subvolume " + made->path + ": "), deleting);
  BOOST_TEST(deleting.ends_with("; this needs root"), deleting);
  BOOST_TEST(unreadable == closed.string() + ": Permission denied");
  BOOST_TEST(parent_unreadable == closed.string() + ": Permission denied");
  // A list that is silently too short would cost the chain its parent.
  BOOST_TEST(has(listing, "closed__" + day_1 + "__full: Permission denied; check"), listing);
  BOOST_TEST(std::filesystem::exists(made->path));
  BOOST_TEST(problem(sync_filesystem(loop.directory() / "missing")) ==
             (loop.directory() / "missing").string() + ": No such file or directory");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(nested_in_suite)

BOOST_AUTO_TEST_CASE(our_own_snapshots_within_the_source_are_not_nested_in_it) {
  BTS3_LOOP_FILESYSTEM(loop);
  const auto source = testing::make_subvolume(loop.directory() / "data");
  const auto base = source / "var" / "snapshots";
  std::filesystem::create_directories(base);
  const snapshot_manager snapshots(base);
  BOOST_REQUIRE(snapshots.create(source, "data", day_1, true).has_value());
  BOOST_REQUIRE(snapshots.create(loop.directory(), "root", day_1, true).has_value());
  // These are somebody's data: not named like ours, or not where ours are.
  testing::make_subvolume(base / "mine");
  testing::make_subvolume(source / ("data__" + day_1 + "__full"));
  testing::make_subvolume(source / "home");
  const std::vector<std::string> expected = {"data__" + day_1 + "__full", "home",
                                             "var/snapshots/mine"};
  auto nested = snapshots.nested_in(source);
  BOOST_REQUIRE_MESSAGE(nested.has_value(), error_text(nested));
  BOOST_TEST(*nested == expected, boost::test_tools::per_element());
  // The base directory is known by what it is, not by how it is written.
  std::filesystem::create_directory_symlink(base, loop.directory() / "link");
  for (const std::string& written : {base.string() + "/", source.string() + "/./var//snapshots",
                                     (loop.directory() / "link").string()}) {
    nested = snapshot_manager(written).nested_in(source);
    BOOST_REQUIRE_MESSAGE(nested.has_value(), error_text(nested));
    BOOST_TEST(*nested == expected, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(what_is_backed_up_on_its_own_is_not_named) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared here(loop);
  const auto child = testing::make_subvolume(here.source / "child");
  testing::make_subvolume(here.source / "third");
  testing::make_subvolume(child / "inner");
  std::filesystem::create_directory_symlink(child, loop.directory() / "link");
  const std::vector<std::string> expected = {"third"};
  for (const std::string& written :
       {child.string(), here.source.string() + "/.//child", (loop.directory() / "link").string()}) {
    auto nested =
        here.snapshots.nested_in(here.source, {here.source.string(), "/no/such", written});
    BOOST_REQUIRE_MESSAGE(nested.has_value(), error_text(nested));
    BOOST_TEST(*nested == expected, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(with_the_base_directory_elsewhere_all_are_named) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared here(loop);
  testing::make_subvolume(here.source / ("data__" + day_1 + "__full"));
  const std::vector<std::string> expected = {"data__" + day_1 + "__full"};
  for (const std::string& base : {here.base.string(), std::string("/no/such")}) {
    auto nested = snapshot_manager(base).nested_in(here.source);
    BOOST_REQUIRE_MESSAGE(nested.has_value(), error_text(nested));
    BOOST_TEST(*nested == expected, boost::test_tools::per_element());
  }
  BOOST_TEST(has(problem(here.snapshots.nested_in(here.source / "missing")), "No such file"));
}

BOOST_AUTO_TEST_SUITE_END()
