// A backup's tree, out of a store into a directory.
#include "app/content/extraction.hh"

#include "app/content/file_output.hh"
#include "tests/app/download/stored_chain.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using namespace bts3::btrfs::index::testing;
using bts3::testing::chain_content;
using bts3::testing::content_of;
using bts3::testing::error_text;
using bts3::testing::scratch_directory;
using bts3::testing::stored_chain;
using bts3::testing::write_file;

namespace {

namespace fs = std::filesystem;

// One link with an entry of every kind.
chain_content tree() {
  using namespace btrfs::send_format;
  const auto mine = [](const std::string& path) {
    return set_owner(path, ::geteuid(), ::getegid());
  };
  chain_content made;
  made.files.clear();
  made.streams.clear();
  std::string text = send::header(2) + send::subvol("home") + make(command_mkdir, "d", 257) +
                     mine("d") + make(command_mkdir, "d/empty", 258) + mine("d/empty");
  unsigned seed = 5;
  for (int i = 0; i < 450; ++i) {  // more than a window of files
    const std::string name = "d/n" + std::to_string(i);
    made.files[name] = send::noise(20 + i, seed);
    text += make(command_mkfile, name, 300 + i) + mine(name) + set_mode(name, 0600) +
            write_data(2, name, 0, made.files[name]);
  }
  text += make(command_mkfile, "d/sparse", 900) + mine("d/sparse") +
          write_data(2, "d/sparse", 1 << 20, "island") + set_size("d/sparse", 3 << 20);
  made.files["d/sparse"] = std::string(1 << 20, '\0') + "island";
  made.files["d/sparse"].resize(3 << 20);
  text += make(command_mkfile, "d/none", 901) + mine("d/none");
  made.files["d/none"] = "";
  text += add_link("d/twin", "d/n7") + add_link("other\nname", "d/n7");
  made.files["d/twin"] = made.files["other\nname"] = made.files["d/n7"];
  text += make(command_symlink, "l", 902, send::attribute(attribute_path_link, "/etc/passwd"));
  text += make(command_mkfifo, "p", 903, u64(attribute_rdev, 0) + u64(attribute_mode, 010640)) +
          mine("p") + set_mode("p", 0640);
  text += set_mode("d", 0750) + utimes("d/n7", 1'400'000'000, 9) +
          utimes("d/empty", 1'300'000'000) + utimes("d", 1'200'000'000) + send::end();
  made.streams.push_back(std::move(text));
  return made;
}

struct scene : stored_chain {
  explicit scene(chain_content content = tree()) : stored_chain(std::move(content)) {
    last = static_cast<btrfs::index::link_number>(what.streams.size());
    fs::create_directory(top);
  }

  engine::result<extract_report> extract(const std::vector<std::string>& paths,
                                         bool skip_damaged = false, extract_rights rights = {}) {
    auto selection = select_entries(*files, last, paths, last);
    if (!selection) {
      return selection.error();
    }
    chain_ranges& from = ranges();
    auto located = loop->run(from.locate(selection->streams.ranges(), skip_damaged));
    if (!located) {
      return located.error();
    }
    auto target = extract_target::open(top, rights);
    BOOST_REQUIRE(target);
    extent_reader reader(with, from);
    extraction work(with, *files, last, reader, *target, std::move(*selection), skip_damaged);
    auto checked = loop->run(work.check());
    if (!checked) {
      return checked.error();
    }
    auto done = loop->run(work.run());
    BOOST_TEST((!done || skip_damaged || work.written() == done->content_bytes));
    left.clear();
    for (const auto& [kind, what_is_left] : target->left()) {
      left.insert(kind);
    }
    return done;
  }
  // Paths of what is there that is no directory, with what is in it.
  [[nodiscard]] std::map<std::string, std::string> there() const {
    std::map<std::string, std::string> found;
    for (const auto& one : fs::recursive_directory_iterator(top)) {
      if (one.symlink_status().type() == fs::file_type::regular) {
        found[one.path().lexically_relative(top).string()] = content_of(one.path().string());
      }
    }
    return found;
  }
  [[nodiscard]] struct stat state_of(const std::string& path) const {
    struct stat found{};
    BOOST_REQUIRE_MESSAGE(::lstat((top + "/" + path).c_str(), &found) == 0, path);
    return found;
  }

  scratch_directory scratch;
  std::string top = scratch / "top";
  btrfs::index::link_number last = 1;
  std::set<std::string> left;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(extraction_suite, scene)

BOOST_AUTO_TEST_CASE(a_whole_tree_comes_back_as_it_was) {
  put_plain();
  const auto done = extract({""});
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST((there() == what.files));
  BOOST_TEST(done->files == 452U);
  BOOST_TEST(done->links == 2U);
  BOOST_TEST(done->specials == 2U);
  BOOST_TEST(done->directories == 2U);
  BOOST_TEST(done->damaged.empty());
  BOOST_TEST(state_of("d/n7").st_nlink == 3U);
  BOOST_TEST(state_of("d/n7").st_mtim.tv_sec == 1'400'000'000);
  BOOST_TEST(state_of("d").st_mtim.tv_sec == 1'200'000'000);
  BOOST_TEST((state_of("d").st_mode & 07777) == 0750U);
  BOOST_TEST(state_of("d/empty").st_mtim.tv_sec == 1'300'000'000);
  BOOST_TEST((state_of("d/n3").st_mode & 07777) == 0600U);
  BOOST_TEST(state_of("d/sparse").st_blocks * 512 < 1 << 20);
  BOOST_TEST(S_ISFIFO(state_of("p").st_mode));
  BOOST_TEST(fs::read_symlink(top + "/l") == "/etc/passwd");
}

BOOST_AUTO_TEST_CASE(a_sealed_tree_of_two_links_comes_back_as_it_was) {
  scene two{chain_content()};
  two.put_sealed();
  const auto done = two.extract({""});
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST((two.there() == two.what.files));
}

BOOST_AUTO_TEST_CASE(only_what_is_wanted_comes_with_the_directories_above_it) {
  put_plain();
  const auto done = extract({"d/n3", "d/twin", "d/n3", "d/empty"});
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST(there().size() == 2U);
  BOOST_TEST((there()["d/n3"] == what.files["d/n3"]));
  BOOST_TEST((there()["d/twin"] == what.files["d/n7"]));
  BOOST_TEST(state_of("d/twin").st_nlink == 1U);
  BOOST_TEST(fs::is_directory(top + "/d/empty"));
  BOOST_TEST((state_of("d").st_mode & 07777) == 0750U);
  const auto none = extract({"d/nothing"});
  BOOST_REQUIRE(!none);
  BOOST_TEST((none.error().what_now == engine::disposition::not_found));
}

BOOST_AUTO_TEST_CASE(nothing_is_written_where_something_is_in_the_way) {
  put_plain();
  fs::create_directory(top + "/d");
  write_file(top + "/d/n9", "mine");
  const auto refused = extract({""});
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().why == engine::reason::configuration));
  BOOST_TEST(refused.error().text().find("d/n9") != std::string::npos, error_text(refused));
  BOOST_TEST(there().size() == 1U);
  const auto done = extract({""}, false, {.overwrite = true});
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST((there() == what.files));
  // Replaced is what was asked for: the same command finishes what was interrupted.
  BOOST_TEST((state_of("d").st_mode & 07777) == 0750U);
}

BOOST_AUTO_TEST_CASE(a_directory_that_was_there_keeps_what_nobody_asked_to_replace) {
  put_plain();
  fs::create_directory(top + "/d");
  fs::permissions(top + "/d", fs::perms(0711));
  BOOST_REQUIRE(extract({"d/n9"}, false, {.overwrite = true}).has_value());  // it is on the way
  BOOST_TEST((state_of("d").st_mode & 07777) == 0711U);
  fs::remove(top + "/d/n9");
  BOOST_REQUIRE(extract({"d"}).has_value());
  BOOST_TEST((state_of("d").st_mode & 07777) == 0711U);
}

BOOST_AUTO_TEST_CASE(a_damaged_file_ends_it_or_is_left_out_by_name) {
  put_plain();
  const auto hit = files->extents(*files->find("d/n7", 1), 1)->front();
  spoil(hit.data / 300'000, hit.data % 300'000);
  const auto refused = extract({""});
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().why == engine::reason::integrity));
  BOOST_TEST(refused.error().text().find("d/n7") != std::string::npos, error_text(refused));
  fs::remove_all(top);
  fs::create_directory(top);
  const auto done = extract({""}, true);
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  std::map<std::string, std::string> whole = what.files;
  std::vector<std::string> lost;
  for (const damaged_file& one : done->damaged) {
    lost.push_back(one.path);
    whole.erase(one.path);
  }
  std::sort(lost.begin(), lost.end());
  BOOST_TEST(lost == (std::vector<std::string>{"d/n7", "d/twin", "other\nname"}));
  BOOST_TEST((there() == whole));
}

BOOST_AUTO_TEST_CASE(nothing_half_stays_behind_when_the_store_fails) {
  put_plain();
  store.before = [&](const s3::get_request&, std::size_t) {
    objects.judge_by([](const bts3::testing::memory_store::recorded_call& call) {
      return std::optional(bts3::testing::memory_store::denied(call.key));
    });
  };
  const auto failed = extract({""});
  BOOST_REQUIRE(!failed);
  BOOST_TEST((failed.error().why == engine::reason::access));
  BOOST_TEST(there().empty());
}

BOOST_AUTO_TEST_CASE(a_file_goes_out_from_its_beginning_to_its_end) {
  put_plain();
  for (const std::string name : {"d/n7", "d/sparse", "d/none"}) {
    chain_ranges& from = ranges();
    const auto id = *files->find(name, 1);
    const auto node = **files->stat(id, 1);
    auto extents = extents_of_file(*files, node, 1);
    BOOST_REQUIRE(extents);
    btrfs::index::stream_set set;
    for (const auto& one : *extents) {
      set.add(*btrfs::index::command_of(one, 1));
    }
    BOOST_REQUIRE(loop->run(from.locate(set.ranges(), false)));
    extent_reader reader(with, from);
    std::string out;
    const auto done = loop->run(
        put_file(with, reader, *extents, node.size, [&](std::span<const std::byte> bytes) {
          out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
          return true;
        }));
    BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
    BOOST_TEST((out == what.files[name]), name);
    // Whoever has read enough ends it.
    int calls = 0;
    BOOST_TEST(loop->run(put_file(with, reader, *extents, node.size,
                                  [&](std::span<const std::byte>) {
                                    ++calls;
                                    return false;
                                  }))
                   .has_value());
    BOOST_TEST(calls == (node.size == 0 ? 0 : 1));
  }
}

BOOST_AUTO_TEST_SUITE_END()
