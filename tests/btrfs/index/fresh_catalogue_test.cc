// Catalogues that are made without a journal, and get their place when they are whole.
#include "btrfs/index/catalogue.hh"

#include "btrfs/index/queries.hh"
#include "tests/btrfs/index/chain.hh"
#include "tests/btrfs/index/support.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::btrfs;
using namespace bts3::btrfs::index;
using namespace bts3::btrfs::index::testing;

namespace {

// A file of its own that goes when it is over.
struct fresh_file {
  fresh_file()
      : path(std::filesystem::temp_directory_path() /
             ("bts3-fresh-" + std::to_string(::getpid()))) {
    std::filesystem::remove(path);
  }
  ~fresh_file() {
    for (const char* more : {"", "-wal", "-shm", "-journal"}) {
      std::filesystem::remove(path.string() + more);
    }
  }
  engine::result<catalogue> open(catalogue_settings::keeping kept, std::size_t held = 100'000) {
    return catalogue::open(path.string(), {held, 4096, kept});
  }
  std::filesystem::path path;
};

std::string add_to(catalogue& in, const std::string& stream) {
  auto file = open_text(index_of(stream));
  BOOST_REQUIRE_MESSAGE(file.has_value(), error_text(file));
  auto added = in.add(*file);
  BOOST_REQUIRE_MESSAGE(added.has_value(), error_text(added));
  return *added ? (*added)->text() : "";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(fresh_catalogue_suite)

BOOST_AUTO_TEST_CASE(a_fresh_one_describes_what_another_does) {
  std::string commands = some_tree();
  for (int i = 0; i < 40; ++i) {
    const std::string orphan = "o" + std::to_string(700 + i) + "-7-0";
    const std::string name = "d/n" + std::to_string(i);
    commands += make(command_mkfile, orphan, 700 + i) + move_name(orphan, name) +
                write_data(1, name, 0, "text") + set_xattr(name, "user.a", "b");
    if (i % 3 == 0) {
      commands += take_away(command_unlink, name) + make(command_mkfile, name, 900 + i);
    }
  }
  const std::vector<std::string> streams = {
      full(commands), incremental('\x02', move_name("d/n1", "n1") + set_mode("d/n2", 0600)),
      incremental('\x03', take_away(command_unlink, "d/n2") + remove_xattr("n1", "user.a"))};
  for (const std::size_t held : {std::size_t{3}, std::size_t{100'000}}) {
    chain usual(held);
    fresh_file there;
    {
      auto in = there.open(catalogue_settings::keeping::fresh, held);
      BOOST_REQUIRE_MESSAGE(in.has_value(), error_text(in));
      for (const std::string& stream : streams) {
        BOOST_TEST(usual.add(stream) == "");
        BOOST_TEST(add_to(*in, stream) == "");
      }
      BOOST_TEST(!in->torn());
      BOOST_REQUIRE(in->finish().has_value());
    }
    auto in = there.open(catalogue_settings::keeping::shared);
    BOOST_REQUIRE_MESSAGE(in.has_value(), error_text(in));
    for (link_number link = 1; link <= 3; ++link) {
      std::map<std::string, node_id> one;
      std::map<std::string, node_id> other;
      const auto into = [](std::map<std::string, node_id>& to) {
        return [&to](const std::string& path, const node& at) {
          to[path] = at.id;
          return true;
        };
      };
      BOOST_REQUIRE(walk(usual.in, "", link, into(one)).has_value());
      BOOST_REQUIRE(walk(*in, "", link, into(other)).has_value());
      BOOST_TEST(one.size() > 40u);
      BOOST_TEST((one == other));
      for (const auto& [path, id] : one) {
        BOOST_TEST((*in->paths(id, link) == *usual.in.paths(id, link)));
        BOOST_TEST((*in->extents(id, link) == *usual.in.extents(id, link)));
        BOOST_TEST((*in->xattrs(id, link) == *usual.in.xattrs(id, link)));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(
    a_fresh_one_keeps_the_links_before_one_that_is_refused_or_says_that_it_is_torn) {
  const std::string wrong = take_away(command_unlink, "nothing");
  {
    fresh_file there;
    auto in = there.open(catalogue_settings::keeping::fresh);
    BOOST_REQUIRE(in.has_value());
    BOOST_TEST(add_to(*in, full(some_tree())) == "");
    BOOST_TEST(add_to(*in, incremental('\x02', set_mode("d", 0700) + wrong)) != "");
    BOOST_TEST(!in->torn());
    BOOST_REQUIRE(in->finish().has_value());
    auto again = there.open(catalogue_settings::keeping::shared);
    BOOST_REQUIRE(again.has_value());
    BOOST_TEST(*again->last_link() == 1u);
    BOOST_TEST(*again->find("d/f", 1) != no_node);
    // And goes on.
    BOOST_TEST(add_to(*again, incremental('\x02', set_mode("d", 0711))) == "");
    BOOST_TEST((again->stat(*again->find("d", 2), 2)->value().mode == 0711u));
  }
  std::string many;
  for (int i = 0; i < 20; ++i) {
    many += make(command_mkfile, "m" + std::to_string(i), 800 + i);
  }
  fresh_file there;
  auto in = there.open(catalogue_settings::keeping::fresh, 5);
  BOOST_REQUIRE(in.has_value());
  BOOST_TEST(add_to(*in, full(some_tree())) == "");
  BOOST_TEST(!in->torn());
  BOOST_TEST(add_to(*in, incremental('\x02', many + wrong)) != "");
  BOOST_TEST(in->torn());
}

BOOST_AUTO_TEST_SUITE_END()
