// A chain of links in a catalogue, and the streams that it is of.
#pragma once

#include "btrfs/index/catalogue.hh"
#include "tests/btrfs/index/support.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::btrfs::index::testing {

using bts3::testing::error_text;

// UUIDs are the link's number, sixteen times.
inline std::string full(const std::string& commands, unsigned version = 1) {
  return send::header(version) + send::subvol("home", '\x01') + commands + send::end();
}
inline std::string incremental(char id, const std::string& commands, unsigned version = 1) {
  return send::header(version) + send::snapshot("home", id, 8, static_cast<char>(id - 1)) +
         commands + send::end();
}

// A chain, and the streams that it is of.
struct chain {
  explicit chain(std::size_t held = 100'000, bool content = true)
      : in(std::move(*catalogue::open(
            ":memory:", {held, 4096, catalogue_settings::keeping::journal, content}))) {}

  // What receive would refuse; empty: nothing.
  std::string add(const std::string& stream) {
    auto file = open_text(index_of(stream));
    BOOST_REQUIRE_MESSAGE(file.has_value(), error_text(file));
    auto added = in.add(*file);
    BOOST_REQUIRE_MESSAGE(added.has_value(), error_text(added));
    if (*added) {
      return (*added)->text();
    }
    streams.push_back(stream);
    return "";
  }

  std::optional<node> at(std::string_view path, link_number link) {
    return *in.stat(*in.find(path, link), link);
  }

  // Through the extents.
  std::string content(std::string_view path, link_number link) {
    const auto file = at(path, link);
    BOOST_REQUIRE(file.has_value());
    std::string text(file->size, '\0');
    const auto extents = *in.extents(file->id, link);
    for (const extent& one : extents) {
      BOOST_REQUIRE(one.packed == encoding::none);
      BOOST_REQUIRE_LE(one.offset + one.bytes, text.size());
      text.replace(one.offset, one.bytes,
                   streams.at(one.link - 1).substr(one.data + one.skip, one.bytes));
    }
    return text;
  }

  std::string listing(std::string_view path, link_number link) {
    std::string names;
    const auto entries = *in.list(*in.find(path, link), link);
    for (const entry& one : entries) {
      names += (names.empty() ? "" : " ") + one.name;
    }
    return names;
  }

  catalogue in;
  std::vector<std::string> streams;
};

inline bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

inline std::string some_tree() {
  return make(command_mkdir, "o257-7-0", 257) + move_name("o257-7-0", "d") +
         make(command_mkfile, "o258-7-0", 258) + move_name("o258-7-0", "d/f") +
         write_data(1, "d/f", 0, std::string(8192, 'a')) + set_mode("d/f", 0640) +
         set_owner("d/f", 5, 6) + set_xattr("d/f", "user.k", "v") + utimes("d/f", 1000, 5) +
         add_link("d/g", "d/f") + make(command_mkdir, "o259-7-0", 259) +
         move_name("o259-7-0", "d/sub") +
         make(command_symlink, "s", 260, send::attribute(attribute_path_link, "d/f")) +
         make(command_mknod, "c", 261, u64(attribute_rdev, 0x103) + u64(attribute_mode, 020600));
}

}  // namespace bts3::btrfs::index::testing
