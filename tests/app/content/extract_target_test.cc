// Writing below a directory in which others have laid traps.
#include "app/content/extract_target.hh"

#include "tests/app/support.hh"
#include "tests/support/ended_child.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

using namespace bts3;
using namespace bts3::app;
using btrfs::index::node;
using btrfs::index::node_type;
using btrfs::index::xattr_map;
using bts3::testing::content_of;
using bts3::testing::error_text;
using bts3::testing::scratch_directory;
using bts3::testing::write_file;

namespace {

namespace fs = std::filesystem;

std::span<const std::byte> octets(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

node file_node(std::uint32_t mode = 0640) {
  node made;
  made.type = node_type::file;
  made.mode = mode;
  made.uid = ::geteuid();
  made.gid = ::getegid();
  made.links = 1;
  made.accessed = {1'600'000'000, 5};
  made.modified = {1'500'000'000, 7};
  return made;
}

struct stat state_of(const std::string& path) {
  struct stat found{};
  BOOST_REQUIRE_MESSAGE(::lstat(path.c_str(), &found) == 0, path);
  return found;
}

struct scene {
  scene() { fs::create_directory(top); }
  extract_target target(extract_rights rights = {}) {
    auto opened = extract_target::open(top, rights);
    BOOST_REQUIRE_MESSAGE(opened.has_value(), error_text(opened));
    return std::move(*opened);
  }
  static engine::result<void> put(extract_target& into, const std::string& path,
                                  std::string_view text, const node& as,
                                  const xattr_map& xattrs = {}) {
    auto file = into.begin_file(path, text.size());
    if (!file) {
      return file.error();
    }
    auto written = extract_target::write(*file, 0, octets(text));
    return written ? into.finish_file(std::move(*file), path, as, xattrs) : written;
  }
  [[nodiscard]] std::size_t entries() const {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& one : fs::recursive_directory_iterator(top)) {
      ++count;
    }
    return count;
  }
  scratch_directory scratch;
  std::string top = scratch / "top";
  std::string outside = scratch / "outside";
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(extract_target_suite, scene)

BOOST_AUTO_TEST_CASE(a_file_has_its_content_mode_and_times) {
  extract_target to = target();
  BOOST_TEST(*to.make_directory("d"));
  BOOST_TEST(!*to.make_directory("d"));
  const auto done = put(to, "d/f\n", "content", file_node());
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  const struct stat found = state_of(top + "/d/f\n");
  BOOST_TEST(content_of(top + "/d/f\n") == "content");
  BOOST_TEST((found.st_mode & 07777) == 0640U);
  BOOST_TEST(found.st_mtim.tv_sec == 1'500'000'000);
  BOOST_TEST(found.st_mtim.tv_nsec == 7);
  BOOST_TEST(found.st_atim.tv_sec == 1'600'000'000);
  BOOST_TEST(entries() == 2U);
  BOOST_TEST(to.left().empty());
  BOOST_TEST(to.sync().has_value());
}

BOOST_AUTO_TEST_CASE(a_target_that_is_missing_is_made_and_not_its_parents) {
  BOOST_TEST(extract_target::open(top + "/new", {}).has_value());
  BOOST_TEST(fs::is_directory(top + "/new"));
  const auto too_deep = extract_target::open(top + "/a/b", {});
  BOOST_REQUIRE(!too_deep.has_value());
  BOOST_TEST(too_deep.error().remedy == "make the directory that it is to lie in first");
  write_file(top + "/file", "");
  BOOST_TEST(!extract_target::open(top + "/file", {}).has_value());
}

BOOST_AUTO_TEST_CASE(no_symbolic_link_leads_out) {
  fs::create_directory(outside);
  write_file(outside + "/victim", "mine");
  fs::create_symlink(outside, top + "/d");
  fs::create_symlink(outside + "/victim", top + "/f");
  extract_target to = target({.overwrite = true});
  BOOST_TEST(!to.make_directory("d").has_value());
  BOOST_TEST(!put(to, "d/victim", "yours", file_node()).has_value());
  BOOST_TEST(!put(to, "d/new", "yours", file_node()).has_value());
  BOOST_TEST(!to.finish_directory("d", file_node(), {}).has_value());
  BOOST_TEST(!to.link("d/victim", "g").has_value());
  // A link at the place of a file is replaced, and what it leads to is not touched.
  const auto done = put(to, "f", "yours", file_node());
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST(fs::is_regular_file(fs::symlink_status(top + "/f")));
  BOOST_TEST(content_of(outside + "/victim") == "mine");
  BOOST_TEST(std::distance(fs::directory_iterator(outside), fs::directory_iterator()) == 1);
}

BOOST_AUTO_TEST_CASE(a_link_that_was_extracted_is_not_followed) {
  fs::create_directory(outside);
  extract_target to = target();
  node link = file_node();
  link.type = node_type::symlink;
  link.target = outside;
  BOOST_TEST(*to.make_special("d", link, {}));
  BOOST_TEST(fs::read_symlink(top + "/d") == outside);
  BOOST_TEST(state_of(top + "/d").st_mtim.tv_sec == 1'500'000'000);
  BOOST_TEST(!to.make_directory("d").has_value());
  BOOST_TEST(!put(to, "d/f", "yours", file_node()).has_value());
  BOOST_TEST(fs::is_empty(outside));
}

BOOST_AUTO_TEST_CASE(names_that_lead_elsewhere_are_none) {
  for (const std::string_view name : {"", ".", "..", "a/b", "/", "/a"}) {
    BOOST_TEST(!is_name(name), name);
  }
  BOOST_TEST(!is_name(std::string_view("a\0b", 3)));
  BOOST_TEST(!is_name(std::string(256, 'n')));
  for (const std::string_view name : {"...", " ", "\n", "-", ".a"}) {
    BOOST_TEST(is_name(name));
  }
}

BOOST_AUTO_TEST_CASE(what_is_there_stays_unless_it_may_be_replaced) {
  write_file(top + "/f", "old");
  fs::create_directory(top + "/d");
  extract_target to = target();
  BOOST_TEST(!to.obstacle("f", false)->empty());
  BOOST_TEST(!to.obstacle("f", true)->empty());
  BOOST_TEST(!to.obstacle("d", false)->empty());
  BOOST_TEST(to.obstacle("d", true)->empty());
  BOOST_TEST(to.obstacle("new", false)->empty());
  BOOST_TEST(to.obstacle("new/below", false)->empty());
  // Also where it came after the look.
  BOOST_TEST(!put(to, "f", "new", file_node()).has_value());
  BOOST_TEST(content_of(top + "/f") == "old");
  BOOST_TEST(entries() == 2U);
  extract_target over = target({.overwrite = true});
  BOOST_TEST(over.obstacle("f", false)->empty());
  BOOST_TEST(!over.obstacle("d", false)->empty());
  BOOST_TEST(put(over, "f", "new", file_node()).has_value());
  BOOST_TEST(content_of(top + "/f") == "new");
  BOOST_TEST(!put(over, "d", "new", file_node()).has_value());
  BOOST_TEST(entries() == 2U);
}

BOOST_AUTO_TEST_CASE(a_file_that_does_not_become_whole_leaves_nothing) {
  extract_target to = target();
  auto file = to.begin_file("f", 1 << 20);
  BOOST_REQUIRE(file.has_value());
  BOOST_TEST(entries() == (file->name.empty() ? 0U : 1U));
  BOOST_TEST(!fs::exists(top + "/f"));
  extract_target::give_up(std::move(*file));
  BOOST_TEST(entries() == 0U);
}

// Without /proc a file cannot get its name later, so it has one from its beginning.
BOOST_AUTO_TEST_CASE(where_no_file_can_be_without_a_name_it_has_one_of_ours) {
  if (::geteuid() != 0) {
    BOOST_TEST_MESSAGE("skipped: a mount namespace of its own needs root");
    return;
  }
  const auto end = bts3::testing::end_of_child([this] {
    const auto must = [](bool holds, const char* what) {
      if (!holds) {
        std::fprintf(stderr, "%s\n", what);
        ::_exit(1);
      }
    };
    must(::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, "") == 0,
         "no namespace");
    must(::mount("none", "/proc", "tmpfs", 0, "") == 0, "/proc stays");
    extract_rights rights;
    rights.overwrite = true;
    auto to = extract_target::open(top, rights);
    must(to.has_value(), "the target");
    auto given_up = to->begin_file("f", 10);
    must(given_up.has_value() && !given_up->name.empty() && entries() == 1U, "begun");
    extract_target::give_up(std::move(*given_up));
    must(entries() == 0U, "given up");
    for (const char* text : {"first", "again"}) {
      auto file = to->begin_file("f", 5);
      must(file.has_value() && extract_target::write(*file, 0, octets(text)), "written");
      must(to->finish_file(std::move(*file), "f", file_node(), {}).has_value(), "finished");
      must(entries() == 1U && content_of(top + "/f") == text, "in place");
    }
  });
  BOOST_TEST(end.status == 0, end.said);
}

BOOST_AUTO_TEST_CASE(holes_stay_holes) {
  extract_target to = target();
  auto file = to.begin_file("f", 64 << 20);
  BOOST_REQUIRE(file.has_value());
  BOOST_TEST(extract_target::write(*file, 32 << 20, octets("middle")).has_value());
  BOOST_TEST(to.finish_file(std::move(*file), "f", file_node(), {}).has_value());
  BOOST_TEST(state_of(top + "/f").st_size == 64 << 20);
  BOOST_TEST(state_of(top + "/f").st_blocks < 4096);
}

BOOST_AUTO_TEST_CASE(rights_are_given_only_where_they_are_asked_for) {
  extract_target to = target();
  BOOST_TEST(put(to, "f", "", file_node(06755)).has_value());
  BOOST_TEST((state_of(top + "/f").st_mode & 07777) == 0755U);
  BOOST_TEST(to.left().count("setuid or setgid bit") == 1U);
  extract_target asked = target({.set_id = true});
  BOOST_TEST(put(asked, "g", "", file_node(04755)).has_value());
  BOOST_TEST((state_of(top + "/g").st_mode & 07777) == 04755U);
  // Not for another owner than the bits were meant for.
  node other = file_node(04755);
  other.uid = 12345;
  BOOST_TEST(put(asked, "h", "", other).has_value());
  BOOST_TEST((state_of(top + "/h").st_mode & 07777) == 0755U);
  BOOST_TEST(state_of(top + "/h").st_uid == ::geteuid());
  BOOST_TEST(asked.left().count("owner") == 1U);
  node device = file_node(0600);
  device.type = node_type::character_device;
  device.rdev = 0x103;
  BOOST_TEST(!*to.make_special("null", device, {}));
  BOOST_TEST(!fs::exists(top + "/null"));
  BOOST_TEST(to.left().at("device file").first == "null");
}

BOOST_AUTO_TEST_CASE(what_could_not_be_set_is_counted_with_its_first) {
  extract_target to = target();
  const xattr_map xattrs = {
      {"user.ok", "value"}, {"madeup.name", "x"}, {"security.capability", "x"}};
  BOOST_TEST(put(to, "a", "", file_node(), xattrs).has_value());
  BOOST_TEST(put(to, "b", "", file_node(), xattrs).has_value());
  BOOST_TEST(to.left().at("extended attribute of an unknown kind").entries == 2U);
  BOOST_TEST(to.left().at("extended attribute of an unknown kind").first == "a");
  BOOST_TEST(to.left().at("file capability").entries == 2U);
  char value[16] = {};
  const ssize_t count = ::getxattr((top + "/a").c_str(), "user.ok", value, sizeof value);
  if (count >= 0) {
    BOOST_TEST(std::string(value, static_cast<std::size_t>(count)) == "value");
  } else {
    BOOST_TEST(to.left().at("extended attribute user.*").entries == 2U);  // tmpfs before 6.6
  }
}

BOOST_AUTO_TEST_CASE(times_that_make_no_sense_set_none) {
  extract_target to = target();
  node odd = file_node();
  odd.modified = {1'500'000'000, (1U << 30) - 1};  // UTIME_NOW
  odd.accessed = {1'500'000'000, 0xffffffff};
  BOOST_TEST(put(to, "f", "", odd).has_value());
  BOOST_TEST(state_of(top + "/f").st_mtim.tv_sec > 1'500'000'000);
}

BOOST_AUTO_TEST_CASE(directories_are_ours_alone_until_they_are_finished) {
  extract_target to = target();
  BOOST_TEST(*to.make_directory("d"));
  BOOST_TEST((state_of(top + "/d").st_mode & 07777) == 0700U);
  BOOST_TEST(put(to, "d/f", "x", file_node()).has_value());
  node as = file_node(0555);
  as.type = node_type::directory;
  BOOST_TEST(to.finish_directory("d", as, {}).has_value());
  BOOST_TEST((state_of(top + "/d").st_mode & 07777) == 0555U);
  BOOST_TEST(state_of(top + "/d").st_mtim.tv_sec == 1'500'000'000);
}

BOOST_AUTO_TEST_CASE(further_names_are_names_of_the_same_file) {
  extract_target to = target({.overwrite = true});
  BOOST_TEST(*to.make_directory("d"));
  BOOST_TEST(put(to, "f", "x", file_node()).has_value());
  BOOST_TEST(to.link("f", "d/g").has_value());
  BOOST_TEST(to.link("f", "d/g").has_value());  // it is there already, and is the same
  BOOST_TEST(state_of(top + "/f").st_nlink == 2U);
  BOOST_TEST(entries() == 3U);
  node fifo = file_node(0620);
  fifo.type = node_type::fifo;
  BOOST_TEST(*to.make_special("p", fifo, {}));
  BOOST_TEST(S_ISFIFO(state_of(top + "/p").st_mode));
  BOOST_TEST((state_of(top + "/p").st_mode & 07777) == 0620U);
}

BOOST_AUTO_TEST_CASE(paths_are_as_deep_as_a_stream_can_have_them) {
  extract_target to = target();
  std::string path;
  while (path.size() + 251 < 8000) {
    path += (path.empty() ? "" : "/") + std::string(250, 'd');
    BOOST_REQUIRE(to.make_directory(path).has_value());
  }
  BOOST_TEST(path.size() > 4096U);
  BOOST_TEST(put(to, path + "/" + std::string(255, 'f'), "deep", file_node()).has_value());
  BOOST_TEST(to.finish_directory(path, file_node(0700), {}).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
