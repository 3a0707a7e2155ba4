// A backup's tree and content as a filesystem is asked for them, without one.
#include "app/mount/backup_content.hh"
#include "app/mount/file_reading.hh"
#include "app/mount/tree_desk.hh"
#include "app/mount/tree_view.hh"
#include "app/mount/unreadable.hh"
#include "btrfs/index/browsing.hh"
#include "tests/app/download/stored_chain.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using namespace bts3::btrfs::index::testing;
using btrfs::index::catalogue;
using bts3::testing::chain_content;
using bts3::testing::error_text;
using bts3::testing::scratch_directory;
using bts3::testing::stored_chain;
using engine::result;

namespace {

// As a reader of the whole file does.
constexpr std::size_t request_bytes = 128 << 10;

struct scene : stored_chain {
  explicit scene(chain_content content = {}) : stored_chain(std::move(content)) {
    settings.s3.concurrency = 4;
    last = static_cast<btrfs::index::link_number>(what.streams.size());
    auto made = catalogue::open(path);
    BOOST_REQUIRE(made);
    for (const std::string& stream : what.streams) {
      auto index = open_text(index_of(stream));
      BOOST_REQUIRE(index);
      BOOST_REQUIRE(made->add(*index).has_value());
    }
    auto opened = tree_desk::open(*loop, path, [this](catalogue& in) -> result<void> {
      ++checks;
      auto there = in.last_link();
      if (there && *there >= last) {
        return engine::ok();
      }
      engine::error failure;
      failure.message = "it has changed";
      return failure;
    });
    BOOST_REQUIRE(opened);
    desk = std::move(*opened);
  }
  ~scene() {
    if (desk) {
      loop->run(desk->close());
    }
  }
  void begin() {
    std::vector<readable_link> links;
    for (std::size_t i = 0; i < chain.size(); ++i) {
      links.push_back({&chain[i], keys[i], 2});
    }
    content.emplace(with, store, std::move(links));
    pieces.emplace(*loop, clock, *content, piece_limits());
    reading.emplace(*loop, *desk, *pieces, last);
  }
  void end() {
    loop->run(reading->close());
    loop->run(pieces->close());
  }
  std::shared_ptr<open_file> open(const std::string& name) {
    auto file = std::make_shared<open_file>();
    file->at = **files->stat(*files->find(name, last), last);
    return file;
  }
  result<std::string> read(const std::shared_ptr<open_file>& file, std::uint64_t offset,
                           std::size_t size) {
    auto got = loop->run(reading->read(file, offset, size, {}));
    if (!got) {
      return got.error();
    }
    return std::string(reinterpret_cast<const char*>(got->data()), got->size());
  }
  result<std::string> whole(const std::string& name) {
    const auto file = open(name);
    std::string text;
    for (;;) {
      auto more = read(file, text.size(), request_bytes);
      if (!more || more->empty()) {
        return more ? result<std::string>(text) : more;
      }
      text += *more;
    }
  }
  std::vector<std::string> listed(directory_cursor& cursor, std::uint64_t& position,
                                  std::size_t at_most) {
    std::vector<std::string> names;
    auto read = cursor.read(*files, last, position, [&](const shown_entry& one) -> result<bool> {
      if (names.size() == at_most) {
        return false;
      }
      names.emplace_back(one.name);
      position = one.position;
      return true;
    });
    BOOST_REQUIRE(read.has_value());
    return names;
  }

  scratch_directory scratch;
  std::string path = scratch / "catalogue";
  btrfs::index::link_number last = 0;
  int checks = 0;
  std::unique_ptr<tree_desk> desk;
  std::optional<backup_content> content;
  std::optional<piece_cache> pieces;
  std::optional<file_reading> reading;
};

chain_content entries(std::size_t files_in_d) {
  using namespace btrfs::send_format;
  chain_content made;
  made.files.clear();
  made.streams.clear();
  std::string text = send::header(2) + send::subvol("home") + make(command_mkdir, "d", 257);
  for (std::size_t i = 0; i < files_in_d; ++i) {
    text += make(command_mkfile, "d/n" + std::to_string(1000 + i), 300 + i);
  }
  text += make(command_mkfile, "f", 9000) + write_data(2, "f", 1 << 20, "island") +
          set_size("f", 3 << 20) + set_owner("f", 1000, 100) + set_mode("f", 04755) +
          utimes("f", 1'400'000'000, 999'999'999) + add_link("d/again", "f") +
          set_xattr("f", "user.x", "value") +
          make(command_symlink, "l", 9001, send::attribute(attribute_path_link, "/etc/passwd")) +
          make(command_mknod, "null", 9002,
               u64(attribute_rdev, makedev(1, 3)) + u64(attribute_mode, S_IFCHR | 0666)) +
          set_mode("null", 0666) + make(command_mkfile, std::string(255, 'x'), 9003) +
          make(command_mkfile, "a\nb", 9004);
  made.streams.push_back(text + send::end());
  return made;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(shown_tree_suite)

BOOST_AUTO_TEST_CASE(a_directory_is_read_in_any_steps_and_from_any_position) {
  scene of(entries(300));
  const auto id = *of.files->find("d", 1);
  directory_cursor whole(id);
  std::uint64_t position = 0;
  const auto all = of.listed(whole, position, 1000);
  BOOST_TEST(all.size() == 303U);
  BOOST_TEST(all[0] == ".");
  BOOST_TEST(all[1] == "..");
  BOOST_TEST(position == all.size());
  BOOST_TEST(of.listed(whole, position, 9).empty());
  for (const std::size_t step : {1, 2, 3, 127, 128, 129}) {
    directory_cursor cursor(id);
    std::vector<std::string> names;
    for (std::uint64_t at = 0;;) {
      const auto some = of.listed(cursor, at, step);
      if (some.empty()) {
        break;
      }
      names.insert(names.end(), some.begin(), some.end());
    }
    BOOST_TEST(names == all);
  }
  // As seekdir(3) goes: to what comes after an entry, on another cursor as well.
  for (const std::uint64_t back : {0, 1, 2, 3, 150, 7, 302}) {
    std::uint64_t at = back;
    const auto some = of.listed(whole, at, 1);
    BOOST_REQUIRE(some.size() == 1U);
    BOOST_TEST(some[0] == all[back]);
    const auto next = of.listed(whole, at, 1);
    BOOST_TEST((next.empty() ? back + 1 == all.size() : next[0] == all[back + 1]));
  }
}

BOOST_AUTO_TEST_CASE(what_stat_tells_is_what_the_index_knows) {
  scene of(entries(2));
  const auto facts = [&](const std::string& name) {
    const auto node = **of.files->stat(*of.files->find(name, 1), 1);
    return *stat_of(*of.files, node, 1);
  };
  const struct stat file = facts("f");
  BOOST_TEST(file.st_mode == (S_IFREG | 04755U));
  BOOST_TEST(file.st_nlink == 2U);
  BOOST_TEST(file.st_uid == 1000U);
  BOOST_TEST(file.st_gid == 100U);
  BOOST_TEST(file.st_size == 3 << 20);
  BOOST_TEST(file.st_blocks * 512 == 512);
  BOOST_TEST(file.st_mtim.tv_sec == 1'400'000'000);
  BOOST_TEST(file.st_mtim.tv_nsec == 999'999'999);
  BOOST_TEST(facts("d/again").st_ino == file.st_ino);
  BOOST_TEST(facts("l").st_size == 11);
  BOOST_TEST(S_ISLNK(facts("l").st_mode));
  BOOST_TEST(facts("null").st_mode == (S_IFCHR | 0666U));
  BOOST_TEST(facts("null").st_rdev == makedev(1, 3));
  const auto node = **of.files->stat(*of.files->find("f", 1), 1);
  BOOST_TEST(**btrfs::index::next_of(*of.files, node, 1, 0, true) == 1U << 20);
  BOOST_TEST(**btrfs::index::next_of(*of.files, node, 1, 0, false) == 0U);
  BOOST_TEST(**btrfs::index::next_of(*of.files, node, 1, (1 << 20) + 3, true) == (1U << 20) + 3);
  BOOST_TEST(**btrfs::index::next_of(*of.files, node, 1, 1 << 20, false) == (1U << 20) + 6);
  BOOST_TEST(!btrfs::index::next_of(*of.files, node, 1, 2 << 20, true)->has_value());
  for (const std::string& name : {std::string(255, 'x'), std::string("a\nb")}) {
    BOOST_TEST(btrfs::index::look_up(*of.files, 1, name, 1)->has_value());
  }
  BOOST_TEST(!btrfs::index::look_up(*of.files, 1, "nothing", 1)->has_value());
  BOOST_TEST(*btrfs::index::directory_above(*of.files, 1, 1) == 1U);
  BOOST_TEST(*btrfs::index::directory_above(*of.files, *of.files->find("d", 1), 1) == 1U);
}

BOOST_AUTO_TEST_CASE(files_are_read_whole_and_in_any_pieces) {
  for (const bool sealed : {false, true}) {
    scene of;
    sealed ? of.put_sealed() : of.put_plain();
    of.begin();
    for (const auto& [name, text] : of.what.files) {
      const auto read = of.whole(name);
      BOOST_REQUIRE_MESSAGE(read.has_value(), error_text(read));
      BOOST_TEST((*read == text));
    }
    const std::string& large = of.what.files["large"];
    const auto file = of.open("large");
    for (const auto& [offset, size] : std::vector<std::pair<std::uint64_t, std::size_t>>{
             {0, 1}, {49'151, 2}, {499'999, 1002}, {large.size() - 1, 100}, {700'001, 200'000}}) {
      BOOST_TEST((*of.read(file, offset, size) == large.substr(offset, size)));
    }
    BOOST_TEST(of.read(file, large.size(), 10)->empty());
    of.end();
  }
}

BOOST_AUTO_TEST_CASE(a_file_that_is_read_forwards_takes_few_requests) {
  scene of;
  of.put_plain();
  of.begin();
  BOOST_REQUIRE(of.whole("large").has_value());
  of.end();
  const std::size_t gets = of.store.gets.size();
  BOOST_TEST(gets < 12U);  // of four chunks, in eight reads of 128 KiB
  std::uint64_t bytes = 0;
  for (const s3::get_request& one : of.store.gets) {
    bytes += one.into.size();
  }
  BOOST_TEST(bytes < 1'300'000U);  // each piece once
}

BOOST_AUTO_TEST_CASE(holes_are_zeros_and_cost_nothing) {
  scene of(entries(1));
  of.put_plain();
  of.begin();
  const auto file = of.open("f");
  BOOST_TEST((*of.read(file, 2 << 20, 100) == std::string(100, '\0')));
  BOOST_TEST(of.store.gets.empty());
  BOOST_TEST((*of.read(file, (1 << 20) - 2, 10) == std::string("\0\0island\0\0", 10)));
  of.end();
}

BOOST_AUTO_TEST_CASE(a_damaged_piece_is_an_error_of_its_file_alone) {
  scene of;
  of.put_plain();
  const auto hit = of.files->extents(*of.files->find("small7", 2), 2)->front();
  of.spoil(hit.data / 300'000, hit.data % 300'000);
  of.begin();
  const auto bad = of.whole("small7");
  BOOST_REQUIRE(!bad);
  BOOST_TEST((bad.error().why == engine::reason::integrity));
  for (const std::string name : {"small6", "small8", "large"}) {
    const auto good = of.whole(name);
    BOOST_REQUIRE_MESSAGE(good.has_value(), error_text(good));
    BOOST_TEST((*good == of.what.files[name]));
  }
  of.end();
}

BOOST_AUTO_TEST_CASE(what_is_archived_is_an_error_without_a_request_until_it_is_thawed) {
  scene of;
  of.put_plain();
  const std::string key = of.chain[0].value.chunks[0].key;
  const std::string body = of.objects.find(key)->body;
  of.objects.put(key, body, "GLACIER");
  of.begin();
  for (int i = 0; i < 3; ++i) {
    const auto refused = of.whole("small0");
    BOOST_REQUIRE(!refused);
    BOOST_TEST((refused.error().why == engine::reason::not_thawed));
    BOOST_TEST(refused.error().message.find(key) != std::string::npos);
  }
  BOOST_TEST(of.store.gets.empty());
  of.objects.put(key, body);
  BOOST_TEST(!of.whole("small0").has_value());
  of.clock.time += backup_content::asked_again_after;
  const auto read = of.whole("small0");
  BOOST_REQUIRE_MESSAGE(read.has_value(), error_text(read));
  of.end();
}

BOOST_AUTO_TEST_CASE(a_catalogue_that_another_command_changed_is_looked_at_again) {
  scene of;
  const auto ask = [&] {
    std::function<result<std::uint64_t>(catalogue&)> call =
        [&](catalogue& in) -> result<std::uint64_t> { return in.find("large", of.last); };
    return of.loop->run(of.desk->answer(std::move(call)));
  };
  BOOST_TEST(ask().has_value());
  BOOST_TEST(ask().has_value());
  BOOST_TEST(of.checks == 1);
  auto other = catalogue::open(of.path);
  BOOST_REQUIRE(other->remove_last().has_value());
  const auto refused = ask();
  BOOST_REQUIRE(!refused);
  BOOST_TEST(refused.error().message == "it has changed");
  auto index = open_text(index_of(of.what.streams.back()));
  BOOST_REQUIRE(other->add(*index).has_value());
  BOOST_TEST(ask().has_value());
}

BOOST_AUTO_TEST_CASE(each_failure_is_told_once) {
  scene of;
  unreadable told(of.with, "data", "p/manifest.json");
  engine::error failure;
  failure.why = engine::reason::integrity;
  failure.message = "damaged";
  told.tell("a", failure);
  told.tell("a", failure);
  told.tell("b", failure);
  BOOST_TEST(of.log.events == (std::vector<std::string>{"file_damaged", "file_damaged"}));
  failure.why = engine::reason::not_thawed;
  failure.message = "chunk x is archived";
  told.tell("a", failure);
  told.tell("b", failure);
  BOOST_TEST(of.log.events.size() == 3U);
  BOOST_TEST(of.log.events.back() == "file_archived");
  failure.why = engine::reason::network;
  told.tell("a", failure);
  told.tell("b", failure);
  BOOST_TEST(of.log.events.size() == 4U);
  of.clock.time += unreadable::again_after;
  told.tell("b", failure);
  BOOST_TEST(of.log.events.size() == 5U);
  told.tell("c", engine::cancelled_error());
  BOOST_TEST(of.log.events.size() == 5U);
}

BOOST_AUTO_TEST_SUITE_END()
