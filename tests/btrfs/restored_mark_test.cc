// Whose a target is when no record of its restore is left.
#include "btrfs/restored_mark.hh"

#include "engine/files.hh"
#include "tests/btrfs/loop_filesystem.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <functional>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

using namespace bts3::btrfs;
using bts3::testing::error_text;
namespace fs = std::filesystem;

namespace {

restored_mark mark_with(std::string secret) {
  restored_mark mark;
  mark.secret = std::move(secret);
  mark.made_at = 1'770'000'000;
  return mark;
}

void set(const fs::path& target, const restored_mark& mark) {
  const auto there = bts3::engine::open_directory(target);
  BOOST_REQUIRE(there.has_value());
  const auto made = set_mark(there->get(), mark, target);
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
}

// A writable snapshot of a subvolume with a file and a directory.
fs::path target_of(const testing::loop_filesystem& loop, const std::string& name) {
  const fs::path source = loop.directory() / "source";
  if (!fs::exists(source)) {
    testing::make_subvolume(source);
    fs::create_directory(source / "directory");
    testing::write_file(source / "directory" / "file", "content");
  }
  const fs::path target = loop.directory() / name;
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "subvolume", "snapshot", source, target}));
  return target;
}

const char* told(mark_finding finding) {
  switch (finding) {
    case mark_finding::none:
      return "none";
    case mark_finding::as_made:
      return "as made";
    case mark_finding::changed:
      return "changed";
  }
  return "?";
}

std::string found(const fs::path& target, const restored_mark& mark) {
  return told(find_mark(target, mark));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(restored_mark_suite)

BOOST_AUTO_TEST_CASE(a_target_is_known_by_its_mark_and_by_no_other) {
  BTS3_LOOP_FILESYSTEM(loop);
  const restored_mark mark = mark_with("digests of a backup");
  const fs::path target = target_of(loop, "target");
  BOOST_TEST(found(target, mark) == "none");
  BOOST_TEST(!may_be_marked(inspect_subvolume(target).value()));
  set(target, mark);
  BOOST_TEST(found(target, mark) == "as made");
  BOOST_TEST(may_be_marked(inspect_subvolume(target).value()));
  BOOST_TEST(found(target, mark_with("digests of another")) == "none");
  restored_mark earlier = mark;
  --earlier.made_at;
  BOOST_TEST(found(target, earlier) == "none");
  // Nothing of it is content, and nobody takes the target for what was received.
  BOOST_TEST(::llistxattr(target.c_str(), nullptr, 0) == 0);
  BOOST_TEST(inspect_subvolume(target)->received_uuid.is_null());
  BOOST_TEST(testing::read_file(target / "directory" / "file") == "content");
  BOOST_TEST(found(loop.directory(), mark) == "none");
  BOOST_TEST(found(loop.directory() / "nothing", mark) == "none");
}

BOOST_AUTO_TEST_CASE(who_copies_the_mark_or_the_target_has_no_mark) {
  BTS3_LOOP_FILESYSTEM(loop);
  const restored_mark mark = mark_with("digests of a backup");
  const fs::path target = target_of(loop, "target");
  set(target, mark);
  // As the owner of a subvolume can.
  const fs::path forged = target_of(loop, "forged");
  btrfs_ioctl_received_subvol_args arguments{};
  arguments.stransid = inspect_subvolume(target)->sent_ctransid;
  arguments.stime.sec = static_cast<std::uint64_t>(mark.made_at);
  const bts3::engine::unique_fd open(::open(forged.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  BOOST_REQUIRE(::ioctl(open.get(), BTRFS_IOC_SET_RECEIVED_SUBVOL, &arguments) >= 0);
  BOOST_TEST(inspect_subvolume(forged)->sent_ctransid == inspect_subvolume(target)->sent_ctransid);
  BOOST_TEST(found(forged, mark) == "none");
  for (const char* const how : {"-r", ""}) {
    const fs::path copy = loop.directory() / (std::string("copy") + how);
    std::vector<std::string> argv = {"btrfs", "subvolume", "snapshot", target, copy};
    if (*how != '\0') {
      argv.insert(argv.begin() + 3, how);
    }
    BOOST_REQUIRE(testing::run_quietly(argv));
    BOOST_TEST(found(copy, mark) == "none");
  }
  // Neither is a target that was closed since.
  BOOST_REQUIRE(testing::run_quietly({"btrfs", "property", "set", "-ts", target, "ro", "true"}));
  BOOST_TEST(found(target, mark) == "none");
}

BOOST_AUTO_TEST_CASE(reading_a_target_is_no_change_and_every_other_use_is) {
  BTS3_LOOP_FILESYSTEM(loop);
  const restored_mark mark = mark_with("digests of a backup");
  const fs::path read = target_of(loop, "read");
  set(read, mark);
  // Access times are content to Btrfs.
  const timespec times[] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
  BOOST_TEST(testing::read_file(read / "directory" / "file") == "content");
  BOOST_TEST(testing::run_quietly({"find", read, "-type", "f"}));
  BOOST_TEST(found(read, mark) == "as made");
  BOOST_REQUIRE(::utimensat(AT_FDCWD, (read / "directory" / "file").c_str(), times, 0) == 0);
  BOOST_TEST(found(read, mark) == "changed");

  const std::vector<std::pair<std::string, std::function<void(const fs::path&)>>> uses = {
      {"written",
       [](const fs::path& in) { testing::write_file(in / "directory/file", "Content"); }},
      {"removed", [](const fs::path& in) { fs::remove(in / "directory/file"); }},
      {"renamed", [](const fs::path& in) { fs::rename(in / "directory/file", in / "file"); }},
      {"opened", [](const fs::path& in) { fs::permissions(in / "directory", fs::perms::all); }},
      {"nested", [](const fs::path& in) { testing::make_subvolume(in / "nested"); }},
      {"attribute",
       [](const fs::path& in) { BOOST_REQUIRE(::setxattr(in.c_str(), "user.a", "b", 1, 0) == 0); }},
      {"dated back",
       [](const fs::path& in) {
         const timespec old[] = {{1, 0}, {1, 0}};
         testing::write_file(in / "directory/file", "Content");
         BOOST_REQUIRE(::utimensat(AT_FDCWD, (in / "directory/file").c_str(), old, 0) == 0);
       }},
  };
  for (const auto& [name, use] : uses) {
    const fs::path target = target_of(loop, name);
    set(target, mark);
    use(target);
    BOOST_TEST(found(target, mark) == "changed", name);
    // Setting it once more does not hide that.
    set(target, mark);
    BOOST_TEST(found(target, mark) == "changed", name);
  }
}

// Since Linux 6.13 a time that was asked for is followed by one that is finer than the clock's
// step, and no file's time, nor the mark's, is before it.
BOOST_AUTO_TEST_CASE(a_change_right_after_a_mark_is_seen_whatever_times_were_asked_for_before) {
  BTS3_LOOP_FILESYSTEM(loop);
  const restored_mark mark = mark_with("digests of a backup");
  const fs::path other = loop.directory() / "other";
  testing::write_file(other, "");
  for (int round = 0; round < 25; ++round) {
    const fs::path target = target_of(loop, "target" + std::to_string(round));
    for (int asked = 0; asked < 3; ++asked) {
      struct stat entry{};
      BOOST_REQUIRE(::stat(other.c_str(), &entry) == 0);
      fs::permissions(other, asked % 2 == 0 ? fs::perms::owner_read : fs::perms::owner_all);
    }
    set(target, mark);
    fs::permissions(target / "directory", fs::perms::all);
    BOOST_REQUIRE(found(target, mark) == "changed");
  }
}

BOOST_AUTO_TEST_SUITE_END()
