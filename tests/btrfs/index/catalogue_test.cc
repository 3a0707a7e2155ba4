#include "btrfs/index/catalogue.hh"

#include "btrfs/index/queries.hh"
#include "tests/btrfs/index/chain.hh"
#include "tests/btrfs/index/support.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>

using namespace bts3::btrfs;
using namespace bts3::btrfs::index;
using namespace bts3::btrfs::index::testing;
using bts3::testing::error_text;

namespace {

std::string reserve(std::string_view path, std::uint32_t mode, std::uint64_t offset,
                    std::uint64_t bytes) {
  return send::command(command_fallocate, send::path(path) + u32(attribute_fallocate_mode, mode) +
                                              u64(attribute_file_offset, offset) +
                                              u64(attribute_size, bytes));
}

// Commands about few names and places, so that they get into each other's way.
class any_commands {
 public:
  std::string next() {
    std::string made = command();
    for (unsigned more = _random() % 4; more > 0; --more) {
      made += command();
    }
    return made;
  }

 private:
  template <std::size_t count>
  auto any(const char* const (&of)[count]) {
    return std::string(of[_random() % count]);
  }
  std::string path() {
    std::string made = any({"a", "b", "c", "", "o257-7-0"});
    for (unsigned depth = _random() % 3; depth > 0 && !made.empty(); --depth) {
      made += any({"/a", "/b", "/c"});
    }
    return made;
  }
  std::uint64_t place() {
    const std::uint64_t edges[] = {0, 4096, 8192, 5000, INT64_MAX, UINT64_MAX - 4095, 1 << 20};
    return edges[_random() % std::size(edges)];
  }
  std::string command() {
    switch (_random() % 13) {
      case 0:
        return make(command_mkfile, path(), 1);
      case 1:
        return make(command_mkdir, path(), 2);
      case 2:
        return make(command_symlink, path(), 3, send::attribute(attribute_path_link, "x"));
      case 3:
      case 4:
        return move_name(path(), path());
      case 5:
        return add_link(path(), path());
      case 6:
        return take_away(_random() % 2 == 0 ? command_rmdir : command_unlink, path());
      case 7:
        return write_data(2, path(), place(), std::string(_random() % 9000, 'w'));
      case 8:
        return set_size(path(), place());
      case 9:
        return clone_range(path(), place(), place(), static_cast<char>(1 + _random() % 3), path(),
                           place());
      case 10:
        return encoded_write(path(), place(), place(), place(), place(), 2, "packed");
      case 11:
        return set_xattr(path(), any({"user.a", "user.b"}), any({"1", "2"}));
      default:
        return remove_xattr(path(), any({"user.a", "user.b"}));
    }
  }

  std::mt19937 _random{11};
};

// Each node has as many names as it says, and no extent lies over another or behind the end.
void require_a_tree(chain& of, link_number link) {
  std::map<node_id, std::uint64_t> names;
  BOOST_REQUIRE(walk(of.in, "", link, [&](const std::string&, const node& at) {
                  BOOST_REQUIRE(at.type != node_type::gone);
                  ++names[at.id];
                  std::uint64_t end = 0;
                  const auto extents = *of.in.extents(at.id, link);
                  for (const extent& one : extents) {
                    BOOST_REQUIRE_GE(one.offset, end);
                    BOOST_REQUIRE_LE(one.skip + one.bytes, one.unpacked_bytes);
                    end = one.offset + one.bytes;
                  }
                  BOOST_REQUIRE_LE(end, at.size);
                  return true;
                }).has_value());
  for (const auto& [node, count] : names) {
    BOOST_REQUIRE_EQUAL((*of.in.stat(node, link))->links, count);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(catalogue_suite)

BOOST_AUTO_TEST_CASE(a_full_is_a_tree) {
  chain of;
  BOOST_TEST(of.add(full(some_tree())) == "");
  BOOST_TEST(of.listing("", 1) == "c d s");
  BOOST_TEST(of.listing("d", 1) == "f g sub");
  const auto file = of.at("d/f", 1);
  BOOST_REQUIRE(file.has_value());
  BOOST_TEST(file->mode == 0640u);
  BOOST_TEST((file->uid == 5u && file->gid == 6u && file->links == 2u && file->ino == 258u));
  BOOST_TEST((file->modified == node_time{1000, 5}));
  BOOST_TEST(of.at("d/g", 1)->id == file->id);
  BOOST_TEST(of.at("s", 1)->target == "d/f");
  BOOST_TEST(of.at("c", 1)->rdev == 0x103u);
  BOOST_TEST((of.in.xattrs(file->id, 1)->at("user.k") == "v"));
  BOOST_TEST(of.content("d/f", 1) == std::string(8192, 'a'));
  BOOST_TEST(!of.at("d/nothing", 1).has_value());
  BOOST_REQUIRE_EQUAL(of.in.links()->size(), 1u);
  BOOST_TEST(of.in.links()->front().identity.name == "home");
}

BOOST_AUTO_TEST_CASE(each_link_keeps_its_own_tree) {
  chain of;
  BOOST_REQUIRE_EQUAL(of.add(full(some_tree())), "");
  BOOST_REQUIRE_EQUAL(
      of.add(incremental('\x02', move_name("d", "e") + take_away(command_unlink, "e/g") +
                                     take_away(command_rmdir, "e/sub") +
                                     write_data(1, "e/f", 4000, "changed") +
                                     remove_xattr("e/f", "user.k") + set_mode("e/f", 0600))),
      "");
  BOOST_REQUIRE_EQUAL(
      of.add(incremental('\x03', set_size("e/f", 4002) + make(command_mkfile, "e/g", 258) +
                                     set_size("e/f", 10000))),
      "");
  BOOST_TEST(of.listing("d", 1) == "f g sub");
  BOOST_TEST(of.listing("e", 2) == "f");
  BOOST_TEST(of.listing("e", 3) == "f g");
  BOOST_TEST(of.at("d/f", 1)->id == of.at("e/f", 3)->id);
  BOOST_TEST(of.at("d/g", 1)->id != of.at("e/g", 3)->id);
  BOOST_TEST(of.at("e/f", 2)->links == 1u);
  std::string text(8192, 'a');
  BOOST_TEST(of.content("d/f", 1) == text);
  text.replace(4000, 7, "changed");
  BOOST_TEST(of.content("e/f", 2) == text);
  text.resize(4002);
  text.resize(10000, '\0');
  BOOST_TEST(of.content("e/f", 3) == text);
  BOOST_TEST(of.in.xattrs(of.at("e/f", 1)->id, 2)->empty());
}

BOOST_AUTO_TEST_CASE(nothing_depends_on_how_much_is_held_in_memory) {
  const auto described = [](std::size_t held) {
    chain of(held);
    BOOST_REQUIRE_EQUAL(of.add(full(some_tree())), "");
    BOOST_REQUIRE_EQUAL(
        of.add(incremental(
            '\x02', move_name("d", "o257-7-0") + make(command_mkdir, "d", 300) +
                        move_name("o257-7-0", "d/old") + move_name("d/old/f", "f") +
                        take_away(command_unlink, "d/old/g") + move_name("d/old/sub", "d/sub") +
                        take_away(command_rmdir, "d/old") + make(command_mkfile, "d/old", 301) +
                        write_data(1, "d/old", 0, "x") + take_away(command_unlink, "d/old") +
                        clone_range("f", 8192, 4096, '\x01', "d/f", 0) +
                        set_xattr("f", "user.a", "b"))),
        "");
    std::string text;
    for (link_number link = 1; link <= 2; ++link) {
      BOOST_REQUIRE(walk(of.in, "", link, [&](const std::string& path, const node& at) {
                      text += std::to_string(link) + path + " " + std::to_string(at.id) + " " +
                              std::to_string(at.size) + " " + std::to_string(at.links) + "\n";
                      if (at.type == node_type::file) {
                        text += of.content(path, link) + "\n";
                      }
                      return true;
                    }).has_value());
    }
    return text;
  };
  const std::string at_once = described(1000);
  BOOST_TEST(at_once == described(0));
  BOOST_TEST(at_once == described(3));
  BOOST_TEST(says(at_once, "2f "));
}

BOOST_AUTO_TEST_CASE(what_receive_would_refuse_is_refused_with_its_command_and_place) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {move_name("nothing", "x"), "there is no \"nothing\""},
      {move_name("d/f", "nowhere/x"), "there is no \"nowhere\""},
      {move_name("d/f", "d/sub"), "is there already, a directory"},
      {move_name("d/sub", "d/f"), "is there already, and not a directory"},
      {make(command_mkdir, "x", 300) + move_name("x", "d"), "is there already, and not empty"},
      {move_name("d", "d/sub/x"), "cannot be moved into itself"},
      {move_name("d/f/x", "y"), "is not a directory"},
      {move_name("", "y"), "the subvolume itself"},
      {make(command_mkdir, "d", 300), "\"d\" is there already"},
      {make(command_mkfile, "s", 300), "\"s\" is there already"},
      {make(command_symlink, "d/f", 300, send::attribute(attribute_path_link, "x")), "already"},
      {make(command_mkfile, "s/x", 300), "is a symbolic link, and leads elsewhere"},
      {add_link("d/f", "d/g"), "\"d/f\" is there already"},
      {add_link("x", "d"), "is a directory, which has one name"},
      {add_link("x", "y"), "there is no \"y\""},
      {take_away(command_unlink, "x"), "there is no \"x\""},
      {take_away(command_unlink, "d"), "is a directory"},
      {take_away(command_rmdir, "d"), "is not empty"},
      {take_away(command_rmdir, "d/f"), "is not a directory"},
      {take_away(command_rmdir, ""), "the subvolume itself"},
      {set_mode("x", 1), "there is no \"x\""},
      {set_mode("s", 1), "symbolic link"},
      {remove_xattr("d/f", "user.none"), "has no attribute \"user.none\""},
      {set_xattr("s", "user.a", "b"), "attributes of users"},
      {write_data(1, "d", 0, "x"), "is not a file"},
      {write_data(1, "s", 0, "x"), "is not a file"},
      {write_data(1, "d/f", INT64_MAX, "x"), "behind the end of the largest file"},
      {write_data(1, "d/f", UINT64_MAX - 3, "xyz"), "behind the end of the largest file"},
      {set_size("d/f", 1ull << 63), "behind the end of the largest file"},
      {clone_range("d/f", 16384, 4096, '\x09', "d/f", 0), "none of this chain"},
      {clone_range("d/f", 16384, 4096, '\x01', "d/x", 0), "there is no \"d/x\" to clone from"},
      {clone_range("d/f", 16384, 4096, '\x01', "d", 0), "cannot be cloned from"},
      {clone_range("d/f", 16384, 4096, '\x01', "d/f", 8192), "of a file that has 8192"},
      {clone_range("d/f", 16384, 12288, '\x01', "d/f", 0), "of a file that has 8192"},
      {clone_range("d/f", 16384, UINT64_MAX - 5, '\x01', "d/f", 0), "of a file that has 8192"},
      {clone_range("d/f", 16384, 100, '\x01', "d/f", 0), "part of a sector"},
      {clone_range("d/f", 100, 4096, '\x01', "d/f", 0), "middle of a sector"},
      {clone_range("d/f", 4096, 8192, '\x02', "d/f", 0), "onto itself"},
      {encoded_write("d/f", 0, 5000, 4096, 0, 1, "x"), "more than it holds"},
      {encoded_write("d/f", 0, 5000, 8192, UINT64_MAX - 10, 1, "x"), "more than it holds"},
      {encoded_write("d/f", 0, 4096, 4096, 0, 9, "x"), "unknown way, 9"},
      // Sums of these are small numbers again.
      {clone_range("d/f", UINT64_MAX - 4095, 4096, '\x01', "d/f", 0), "behind the end"},
      {clone_range("d/f", UINT64_MAX - 4095, 0, '\x01', "d/f", 0), "behind the end"},
      {clone_range("d/f", 16384, 4096, '\x01', "d/f", UINT64_MAX - 4095), "that has 8192"},
      {clone_range("d/f", 16384, UINT64_MAX - 4095, '\x01', "d/f", 4096), "that has 8192"},
      {clone_range("d/f", 0, 0, '\x02', "d/f", 0), "onto itself"},
      {clone_range("d/f", 0, 8192, '\x02', "d/g", 0), "onto itself"},
      {encoded_write("d/f", UINT64_MAX - 4095, 4096, 4096, 0, 1, "x"), "behind the end"},
      {encoded_write("d/f", 0, UINT64_MAX, UINT64_MAX, 0, 1, "x"), "behind the end"},
      {encoded_write("d/f", 0, 4096, UINT64_MAX, 0, 1, "x"), "more than it holds"},
      {encoded_write("d/f", 0, 4096, 8192, UINT64_MAX - 4095, 1, "x"), "more than it holds"},
      {reserve("d/f", 0, 4096, UINT64_MAX - 4095), "behind the end"},
      {reserve("d/f", 3, UINT64_MAX - 1, 4), "behind the end"},
      {reserve("d/f", 3, 0, UINT64_MAX), "behind the end"},
      {send::command(command_chown, send::path("d/f") + u64(attribute_uid, 1)), "lacks"},
      // One file has the name while another that had it before is still open.
      {write_data(1, "d/f", 0, "x") + move_name("d/f", "d/h") + make(command_mkfile, "d/f", 300) +
           write_data(1, "d/f", 0, "y"),
       "another file, which had that name"},
  };
  for (const auto& [commands, problem] : cases) {
    chain of;
    BOOST_REQUIRE_EQUAL(of.add(full(some_tree())), "");
    const std::string refused = of.add(incremental('\x02', commands, 2));
    BOOST_TEST(says(refused, problem), refused << " should say " << problem);
    BOOST_TEST(says(refused, "command "));
    BOOST_TEST(*of.in.last_link() == 1u);
    BOOST_TEST(of.listing("d", 1) == "f g sub");
    BOOST_TEST(of.add(incremental('\x02', move_name("d", "e"))) == "");
  }
}

BOOST_AUTO_TEST_CASE(a_link_of_another_chain_is_refused) {
  chain of;
  BOOST_TEST(says(of.add(incremental('\x02', "")), "not the link before it"));
  BOOST_REQUIRE_EQUAL(of.add(full(some_tree())), "");
  BOOST_TEST(says(of.add(full(some_tree())), "not the next link"));
  BOOST_TEST(says(of.add(incremental('\x03', "")), "not the link before it"));
}

BOOST_AUTO_TEST_CASE(an_index_with_another_digest_adds_nothing) {
  auto in = catalogue::open(":memory:");
  auto file = open_text(index_of(full(some_tree())));
  auto added = in->add(*file, bts3::engine::sha256_state{});
  BOOST_TEST(error_text(added).find("digest") != std::string::npos);
  BOOST_TEST(*in->last_link() == 0u);
}

BOOST_AUTO_TEST_CASE(clones_are_copies_of_places_from_now_and_from_the_parent) {
  chain of;
  BOOST_REQUIRE_EQUAL(
      of.add(full(make(command_mkfile, "a", 257) + write_data(1, "a", 0, std::string(4096, 'a')) +
                  write_data(1, "a", 4096, std::string(4096, 'b')) + set_size("a", 16384) +
                  make(command_mkfile, "b", 258) + set_size("b", 20000) +
                  clone_range("b", 4096, 16384 - 4096, '\x01', "a", 4096) +
                  clone_range("a", 8192, 4096, '\x01', "a", 0))),
      "");
  std::string a = std::string(4096, 'a') + std::string(4096, 'b') + std::string(4096, 'a') +
                  std::string(4096, '\0');
  BOOST_TEST(of.content("a", 1) == a);
  std::string b = std::string(4096, '\0') + std::string(4096, 'b') + std::string(11808, '\0');
  BOOST_TEST(of.content("b", 1) == b);
  // The parent's "a" is cloned after this link's has changed and has another name.
  BOOST_REQUIRE_EQUAL(
      of.add(incremental('\x02', move_name("a", "c") +
                                     write_data(1, "c", 0, std::string(16384, 'z')) +
                                     make(command_mkfile, "a", 300) +
                                     clone_range("a", 0, 8192, '\x01', "a", 4096))),
      "");
  BOOST_TEST(of.content("a", 2) == a.substr(4096, 8192));
  BOOST_TEST(of.content("c", 2) == std::string(16384, 'z'));
  BOOST_TEST(of.content("a", 1) == a);
}

BOOST_AUTO_TEST_CASE(a_part_of_an_encoded_extent_knows_what_to_skip) {
  chain of;
  BOOST_REQUIRE_EQUAL(
      of.add(full(make(command_mkfile, "a", 257) +
                      encoded_write("a", 0, 65536, 131072, 4096, 2, std::string(100, 'p')) +
                      write_data(2, "a", 8192, "in the middle"),
                  2)),
      "");
  const auto extents = *of.in.extents(of.at("a", 1)->id, 1);
  BOOST_REQUIRE_EQUAL(extents.size(), 3u);
  BOOST_TEST((extents[0].bytes == 8192u && extents[0].skip == 4096u));
  BOOST_TEST((extents[1].bytes == 13u && extents[1].packed == encoding::none));
  BOOST_TEST((extents[2].offset == 8205u && extents[2].skip == 4096u + 8205u &&
              extents[2].bytes == 65536u - 8205u && extents[2].unpacked_bytes == 131072u));
  BOOST_TEST((extents[0].data == extents[2].data && extents[0].packed == encoding::zstd));
}

BOOST_AUTO_TEST_CASE(reservations_and_holes_change_no_bytes_that_stay) {
  const auto reserve = [](std::uint64_t mode, std::uint64_t offset, std::uint64_t bytes) {
    return send::command(command_fallocate, send::path("a") + u32(attribute_fallocate_mode, mode) +
                                                u64(attribute_file_offset, offset) +
                                                u64(attribute_size, bytes));
  };
  chain of;
  BOOST_REQUIRE_EQUAL(
      of.add(full(make(command_mkfile, "a", 257) + write_data(2, "a", 0, std::string(10000, 'a')) +
                      reserve(1, 0, 50000) + reserve(3, 4096, 4096) + reserve(0, 8000, 4000),
                  2)),
      "");
  std::string text(10000, 'a');
  text.replace(4096, 4096, std::string(4096, '\0'));
  text.resize(12000, '\0');
  BOOST_TEST(of.content("a", 1) == text);
}

BOOST_AUTO_TEST_CASE(chown_and_writing_take_away_what_they_take_away) {
  chain of;
  BOOST_REQUIRE_EQUAL(
      of.add(full(make(command_mkfile, "a", 257) + set_mode("a", 06755) +
                  set_xattr("a", "security.capability", "c") + set_xattr("a", "user.k", "v") +
                  set_owner("a", 1, 1) + make(command_mkdir, "d", 258) + set_mode("d", 02775) +
                  set_owner("d", 1, 1))),
      "");
  BOOST_TEST(of.at("a", 1)->mode == 0755u);
  BOOST_TEST(of.at("d", 1)->mode == 02775u);
  BOOST_TEST(of.in.xattrs(of.at("a", 1)->id, 1)->size() == 1u);
}

BOOST_AUTO_TEST_CASE(the_last_link_can_be_taken_away_again) {
  chain of;
  BOOST_REQUIRE_EQUAL(of.add(full(some_tree())), "");
  const std::string commands = move_name("d", "e") + write_data(1, "e/f", 100, "new") +
                               take_away(command_unlink, "e/g") + remove_xattr("e/f", "user.k") +
                               make(command_mkfile, "new", 400);
  BOOST_REQUIRE_EQUAL(of.add(incremental('\x02', commands)), "");
  BOOST_REQUIRE(of.in.remove_last().has_value());
  of.streams.pop_back();
  BOOST_TEST(*of.in.last_link() == 1u);
  BOOST_REQUIRE_EQUAL(of.add(incremental('\x02', commands)), "");
  BOOST_TEST(of.listing("", 2) == "c e new s");
  BOOST_TEST(of.content("e/f", 2).substr(99, 5) == "anewa");
}

BOOST_AUTO_TEST_CASE(whatever_is_applied_leaves_a_tree) {
  any_commands commands;
  chain of(5);
  BOOST_REQUIRE_EQUAL(of.add(full(make(command_mkdir, "a", 5) + make(command_mkdir, "b", 6), 2)),
                      "");
  unsigned refused = 0;
  for (char id = 2; id < 100;) {
    if (!of.add(incremental(id, commands.next(), 2)).empty()) {
      ++refused;
      continue;
    }
    require_a_tree(of, static_cast<link_number>(id));
    ++id;
  }
  BOOST_TEST(refused > 10u);
}

BOOST_AUTO_TEST_CASE(questions_are_answered) {
  chain of;
  BOOST_REQUIRE_EQUAL(of.add(full(some_tree())), "");
  BOOST_REQUIRE_EQUAL(
      of.add(incremental('\x02', move_name("d", "e") + write_data(1, "e/f", 0, "b"))), "");
  BOOST_REQUIRE_EQUAL(of.add(incremental('\x03', set_mode("e/f", 0600))), "");
  BOOST_REQUIRE_EQUAL(of.add(incremental('\x04', take_away(command_unlink, "e/f"))), "");
  BOOST_REQUIRE_EQUAL(of.add(incremental('\x05', make(command_mkfile, "e/f", 500))), "");
  const auto events = *history(of.in, "e/f");
  BOOST_REQUIRE_EQUAL(events.size(), 4u);
  BOOST_TEST((events[0].link == 2u && events[0].kind == event_kind::appeared));
  BOOST_TEST((events[1].link == 3u && events[1].kind == event_kind::attributes));
  BOOST_TEST((events[2].link == 4u && events[2].kind == event_kind::disappeared));
  BOOST_TEST((events[3].link == 5u && events[3].kind == event_kind::appeared));
  const auto found = [&](const search_terms& terms) {
    std::string paths;
    BOOST_REQUIRE(search(of.in, "", 1, terms, [&](const std::string& path, const node&) {
                    paths += path + " ";
                    return true;
                  }).has_value());
    return paths;
  };
  search_terms terms;
  terms.glob = "[fg]";
  BOOST_TEST(found(terms) == "d/f d/g ");
  terms.glob = "d/*";
  BOOST_TEST(found(terms) == "d/f d/g d/sub ");
  terms = {};
  terms.size_min = 8192;
  terms.modified_from = 1000;
  terms.modified_to = 1000;
  BOOST_TEST(found(terms) == "d/f d/g ");
  terms.size_max = 8191;
  BOOST_TEST(found(terms) == "");
  std::map<std::string, difference> differing;
  BOOST_REQUIRE(differences(of.in, 1, 3, [&](const difference& one) {
                  differing[one.paths_before.empty() ? "" : one.paths_before.front()] = one;
                }).has_value());
  BOOST_REQUIRE_EQUAL(differing.size(), 2u);
  BOOST_TEST((differing["d"].renamed && !differing["d"].attributes));
  BOOST_TEST(
      (differing["d/f"].content && differing["d/f"].attributes && !differing["d/f"].renamed));
  BOOST_TEST(differing["d/f"].paths_after.front() == "e/f");
  BOOST_TEST((of.in.paths(of.at("e/g", 5)->id, 1)->size() == 2u));
}

BOOST_AUTO_TEST_CASE(
    a_file_of_the_cache_is_private_and_survives_and_one_of_another_kind_is_refused) {
  const auto path =
      std::filesystem::temp_directory_path() / ("bts3-catalogue-" + std::to_string(::getpid()));
  std::filesystem::remove(path);
  {
    auto in = catalogue::open(path.string());
    BOOST_REQUIRE_MESSAGE(in.has_value(), error_text(in));
    auto file = open_text(index_of(full(some_tree())));
    BOOST_REQUIRE(in->add(*file).has_value());
  }
  struct stat info{};
  BOOST_REQUIRE(::stat(path.c_str(), &info) == 0);
  BOOST_TEST((info.st_mode & 0777) == 0600u);
  {
    auto in = catalogue::open(path.string());
    BOOST_REQUIRE_MESSAGE(in.has_value(), error_text(in));
    BOOST_TEST(*in->find("d/f", 1) != no_node);
  }
  std::ofstream(path, std::ios::binary) << std::string(10000, 'x');
  auto damaged = catalogue::open(path.string());
  BOOST_TEST(error_text(damaged).find("delete it") != std::string::npos);
  std::filesystem::remove(path);
}

// A model of a parent: what `btrfs send --no-data` tells, and incrementals as they are.
BOOST_AUTO_TEST_CASE(without_content_a_stream_without_data_is_enough_to_judge_the_next) {
  for (const std::size_t held : {100'000, 0}) {
    chain of(held, false);
    const std::string described = make(command_mkdir, "d", 257) + make(command_mkfile, "d/f", 258) +
                                  tell_extent("d/f", 0, 4096) + tell_extent("d/f", 4096, 4096) +
                                  set_mode("d/f", 0640) + make(command_mkfile, "d/short", 259) +
                                  tell_extent("d/short", 0, 4096) + set_size("d/short", 100) +
                                  make(command_mkfile, "holes", 260) + set_size("holes", 1 << 20);
    BOOST_TEST(of.add(full(described)) == "");
    BOOST_TEST(of.at("d/f", 1)->size == 8192u);
    BOOST_TEST(of.at("d/short", 1)->size == 100u);
    BOOST_TEST(of.at("holes", 1)->size == 1u << 20);
    BOOST_TEST(says(of.add(incremental('\x02', take_away(command_rmdir, "d"))), "not empty"));
    BOOST_TEST(says(of.add(incremental('\x02', move_name("e", "g"))), "there is no \"e\""));
    BOOST_TEST(says(of.add(incremental('\x02', make(command_mkdir, "d", 270))), "there already"));
    BOOST_TEST(
        says(of.add(incremental('\x02', clone_range("d/short", 4096, 8192, '\x01', "d/f", 4096))),
             "of a file that has 8192"));
    BOOST_TEST(of.add(incremental('\x02', clone_range("d/short", 4096, 4096, '\x01', "d/f", 4096) +
                                              write_data(1, "d/f", 8192, std::string(50, 'x')) +
                                              move_name("d", "e"))) == "");
    BOOST_TEST(of.at("e/short", 2)->size == 8192u);
    BOOST_TEST(of.at("e/f", 2)->size == 8242u);
    BOOST_TEST(of.in.extents(of.at("e/f", 2)->id, 2)->empty());
    // It may be taken away again: the next one has the same parent.
    BOOST_REQUIRE(of.in.remove_last().has_value());
    BOOST_TEST(of.add(incremental('\x02', take_away(command_unlink, "d/f"))) == "");
    BOOST_TEST(of.listing("d", 2) == "short");
  }
}

BOOST_AUTO_TEST_CASE(with_content_what_a_stream_without_data_says_of_extents_is_nothing) {
  chain of;
  BOOST_TEST(of.add(full(make(command_mkfile, "f", 257) + tell_extent("f", 0, 4096))) == "");
  BOOST_TEST(of.at("f", 1)->size == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
