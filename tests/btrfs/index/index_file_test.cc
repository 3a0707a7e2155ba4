#include "btrfs/index/index_file.hh"

#include "btrfs/index/index_format.hh"
#include "tests/btrfs/index/support.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>
#include <zstd.h>

#include <array>
#include <map>
#include <random>
#include <vector>

using namespace bts3::btrfs;
using namespace bts3::btrfs::index;
using namespace bts3::btrfs::index::testing;
using bts3::testing::error_text;
using namespace std::string_literals;

namespace {

// What an observer was told, kept.
struct told_command {
  observed_command command;
  std::map<unsigned, std::string> values;
};

class keeper : public command_observer {
 public:
  void on_command(const observed_command& command) override {
    told_command one{command, {}};
    for (unsigned i = 1; i <= attribute_max; ++i) {
      if (command.has(i)) {
        one.values[i] = std::string(command.value(i));
      }
    }
    told.push_back(std::move(one));
  }
  std::vector<told_command> told;
};

std::vector<told_command> told_of(const std::string& stream, std::size_t piece = SIZE_MAX) {
  keeper kept;
  stream_inspector inspector;
  inspector.observe(&kept);
  for (std::size_t at = 0; at < stream.size(); at += std::min(piece, stream.size() - at)) {
    BOOST_REQUIRE(inspector.feed(bytes_of(std::string_view(stream).substr(at, piece))).has_value());
  }
  return std::move(kept.told);
}

std::vector<record> records_of(const std::string& index) {
  auto file = open_text(index);
  BOOST_REQUIRE_MESSAGE(file.has_value(), error_text(file));
  std::vector<record> all;
  auto read = file->each([&](const record& one) {
    all.push_back(one);
    return bts3::engine::ok();
  });
  BOOST_REQUIRE_MESSAGE(read.has_value(), error_text(read));
  return all;
}

std::string value_of(const record& one, const field& what) {
  switch (what.how) {
    case packing::number:
    case packing::ino:
    case packing::file_offset:
    case packing::size:
      return send::number(one.numbers[what.attribute], what.bytes);
    case packing::time:
      return send::number(one.numbers[what.attribute], 8) +
             send::number(one.nanoseconds[what.attribute], 4);
    case packing::data:
      return "";
    default:
      return one.texts[what.attribute];
  }
}

void equal(const told_command& told, const record& one) {
  BOOST_TEST_INFO("command " << one.number);
  BOOST_REQUIRE_EQUAL(told.command.type, one.type);
  BOOST_TEST(told.command.number == one.number);
  BOOST_TEST(told.command.offset == one.offset);
  BOOST_TEST(told.command.end == one.end);
  BOOST_TEST(told.command.data_bytes == one.data_bytes);
  if (told.command.has(attribute_data)) {
    BOOST_TEST(told.command.data_offset == one.data_offset);
  }
  for (const field& what : fields_of(one.type)) {
    BOOST_REQUIRE_EQUAL(told.values.contains(what.attribute), one.with(what.attribute));
    if (one.with(what.attribute)) {
      BOOST_TEST(told.values.at(what.attribute) == value_of(one, what));
    }
  }
}

// A frame around records, its checksum right, with a directory.
std::string framed(const std::string& plain) {
  std::string packed(ZSTD_compressBound(plain.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), 1));
  return packed + send::number(skippable_magic, 4) + send::number(17, 4) +
         send::number(packed.size(), 4) + send::number(plain.size(), 4) + send::number(1, 4) +
         send::number(0, 1) + send::number(directory_magic, 4);
}

std::string unpacked(const std::string& index) {
  std::string plain(1 << 22, '\0');
  plain.resize(ZSTD_decompress(plain.data(), plain.size(), index.data(), index.size()));
  return plain;
}

// As a tree of small files comes: some were copied with their times, most were made one after
// another.
std::string small_files(unsigned count, unsigned version) {
  std::mt19937_64 random(1);
  std::string made = send::header(version) + send::subvol("home");
  std::uint64_t now = 1'700'000'000'000'000'000;
  for (unsigned i = 0; i < count; ++i) {
    now += 20'000 + random() % 200'000;
    const std::string orphan = "o" + std::to_string(257 + i) + "-1234-0";
    if (i % 100 == 0) {
      made += make(command_mkdir, orphan, 257 + i) +
              move_name(orphan, "dir-" + std::to_string(i / 100));
      continue;
    }
    std::string name = "dir-" + std::to_string(i / 100) + "/";
    for (int k = 0; k < 10; ++k) {
      name += static_cast<char>('a' + random() % 26);
    }
    name += ".dat";
    made += make(command_mkfile, orphan, 257 + i) + move_name(orphan, name);
    made += write_data(version, name, 0, std::string(random() % 300, 'x'));
    made += set_owner(name, 1000, 1000) + set_mode(name, 0644);
    const std::uint64_t changed = now + random() % 10'000'000;
    const auto at = [](unsigned attribute, std::uint64_t t) {
      return time_of(attribute, t / 1'000'000'000, static_cast<std::uint32_t>(t % 1'000'000'000));
    };
    made += send::command(
        command_utimes,
        send::path(name) + at(attribute_atime, now) +
            at(attribute_mtime, i % 3 == 0 ? now - random() % (1ull << 55) : changed) +
            at(attribute_ctime, changed) +
            (version >= 2 ? at(attribute_otime, now) : std::string()));
  }
  return made + send::end();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(index_file_suite)

BOOST_AUTO_TEST_CASE(an_observer_is_told_whole_commands_wherever_the_stream_is_cut) {
  for (unsigned version = 1; version <= 3; ++version) {
    const std::string stream = every_command(version);
    const auto at_once = told_of(stream);
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{4096}}) {
      const auto in_pieces = told_of(stream, piece);
      BOOST_REQUIRE_EQUAL(at_once.size(), in_pieces.size());
      for (std::size_t i = 0; i < at_once.size(); ++i) {
        BOOST_REQUIRE(at_once[i].values == in_pieces[i].values);
        BOOST_REQUIRE_EQUAL(at_once[i].command.data_offset * at_once[i].command.data_bytes,
                            in_pieces[i].command.data_offset * in_pieces[i].command.data_bytes);
        BOOST_REQUIRE_EQUAL(at_once[i].command.end, in_pieces[i].command.end);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(an_observer_is_not_told_of_a_command_whose_checksum_is_wrong) {
  std::string stream = every_command(1);
  const auto right = told_of(stream);
  stream[right[5].command.end - 1] ^= 1;
  keeper kept;
  stream_inspector inspector;
  inspector.observe(&kept);
  BOOST_TEST(!inspector.feed(bytes_of(stream)).has_value());
  BOOST_TEST(kept.told.size() == 5u);
}

BOOST_AUTO_TEST_CASE(every_command_comes_back_with_its_attributes_and_its_place) {
  for (unsigned version = 1; version <= 3; ++version) {
    const std::string stream = every_command(version);
    const auto told = told_of(stream);
    index_summary summary;
    const std::string made = index_of(stream, &summary);
    const auto records = records_of(made);
    BOOST_REQUIRE_EQUAL(told.size(), records.size());
    for (std::size_t i = 0; i < told.size(); ++i) {
      equal(told[i], records[i]);
    }
    BOOST_TEST(summary.bytes == made.size());
    BOOST_TEST(summary.stream_bytes == stream.size());
    BOOST_TEST(summary.commands == told.size());
    auto file = open_text(made);
    BOOST_TEST(file->version() == version);
    BOOST_TEST(file->each([](const record&) { return bts3::engine::ok(); }).has_value());
    BOOST_TEST(file->sha256().hex() == summary.sha256.hex());
    BOOST_TEST(file->stream_bytes() == stream.size());
  }
}

BOOST_AUTO_TEST_CASE(data_is_found_in_the_stream_where_the_index_says) {
  const std::string stream = every_command(2);
  unsigned seen = 0;
  for (const record& one : records_of(index_of(stream))) {
    if (one.type == command_encoded_write) {
      BOOST_TEST(stream.substr(one.data_offset, one.data_bytes) == std::string(5000, 'z'));
      ++seen;
    } else if (one.type == command_write && one.value(attribute_file_offset) == 40000) {
      BOOST_TEST(stream.substr(one.data_offset, one.data_bytes) == "tail");
      ++seen;
    }
  }
  BOOST_TEST(seen == 2u);
}

BOOST_AUTO_TEST_CASE(what_the_kernel_does_not_make_keeps_its_place_too) {
  // Data that is not the last attribute, an attribute twice, one too many, one of a wrong size,
  // none.
  const std::string stream =
      send::header(1) + send::subvol("home") +
      send::command(command_write, send::attribute(attribute_data, "first") + send::path("f") +
                                       u64(attribute_file_offset, 5)) +
      send::command(command_chmod, send::path("f") + u64(attribute_mode, 1) +
                                       u64(attribute_mode, 2) + u64(attribute_ino, 3)) +
      send::command(command_chmod, send::path("f") + u32(attribute_mode, 1)) +
      send::command(command_truncate, send::path("f")) + send::end();
  const auto told = told_of(stream);
  const auto records = records_of(index_of(stream));
  BOOST_REQUIRE_EQUAL(records.size(), 6u);
  for (std::size_t i = 0; i < told.size(); ++i) {
    BOOST_TEST(told[i].command.offset == records[i].offset);
    BOOST_TEST(told[i].command.end == records[i].end);
  }
  BOOST_TEST(stream.substr(records[1].data_offset, records[1].data_bytes) == "first");
  BOOST_TEST(records[2].value(attribute_mode) == 2u);
  BOOST_TEST(!records[3].with(attribute_mode));
  BOOST_TEST(!records[4].with(attribute_size));
}

BOOST_AUTO_TEST_CASE(zstd_reads_it_as_one_and_any_frame_is_read_alone) {
  const std::string made = index_of(small_files(40'000, 2));
  const auto records = records_of(made);
  auto file = open_text(made);
  BOOST_REQUIRE_GT(file->frames(), 4u);
  BOOST_TEST(unpacked(made).starts_with("btrfs_to_s3 index 1\n"));
  for (const std::size_t wanted : {std::size_t{1}, records.size() / 2, records.size()}) {
    const record* const expected = &records[wanted - 1];
    bool found = false;
    std::size_t passed = 0;
    BOOST_REQUIRE(file->from(wanted,
                             [&](const record& one) {
                               ++passed;
                               found = one.number == wanted && one.offset == expected->offset &&
                                       one.text(attribute_path) == expected->text(attribute_path);
                               return one.number < wanted;
                             })
                      .has_value());
    BOOST_TEST(found);
    BOOST_TEST(passed < records.size() / 3);
  }
}

BOOST_AUTO_TEST_CASE(a_full_of_small_files_takes_at_most_60_bytes_a_file) {
  for (unsigned version = 1; version <= 2; ++version) {
    const std::string made = index_of(small_files(20'000, version));
    BOOST_TEST_MESSAGE(made.size() / 20'000.0 << " bytes a file");
    BOOST_TEST(made.size() <= 60u * 20'000u);
  }
}

BOOST_AUTO_TEST_CASE(an_output_that_fails_does_not_stop_the_stream) {
  writer into([](std::span<const std::byte>) -> bts3::engine::result<void> {
    return bts3::engine::system_error(ENOSPC, "spool");
  });
  stream_inspector inspector;
  inspector.observe(&into);
  BOOST_TEST(inspector.feed(bytes_of(small_files(20'000, 1))).has_value());
  BOOST_TEST(into.failed());
  BOOST_TEST(error_text(into.finish()).find("spool") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_stream_without_its_end_has_no_index) {
  const std::string stream = every_command(1);
  writer into([](std::span<const std::byte>) { return bts3::engine::ok(); });
  stream_inspector inspector;
  inspector.observe(&into);
  BOOST_TEST(inspector.feed(bytes_of(stream).first(stream.size() - 10)).has_value());
  BOOST_TEST(!into.finish().has_value());
}

BOOST_AUTO_TEST_CASE(every_changed_byte_and_every_cut_is_found) {
  index_summary summary;
  const std::string made = index_of(every_command(2), &summary);
  // A changed bit that zstd does not look at changes the digest alone.
  const auto understood = [&](const std::string& text) {
    auto file = open_text(text);
    return file && file->each([](const record&) { return bts3::engine::ok(); }) &&
           file->sha256() == summary.sha256;
  };
  BOOST_REQUIRE(understood(made));
  for (std::size_t at = 0; at < made.size(); ++at) {
    BOOST_REQUIRE(!understood(made.substr(0, at)));
    for (const char change : {'\x01', '\x80'}) {
      std::string changed = made;
      changed[at] ^= change;
      BOOST_REQUIRE_MESSAGE(!understood(changed), "byte " << at);
    }
  }
}

BOOST_AUTO_TEST_CASE(paths_that_lead_elsewhere_are_refused) {
  const std::string plain = unpacked(index_of(every_command(1)));
  const auto refused = [&](const std::string& text, const std::string& bad) {
    std::string changed = plain;
    const std::size_t at = changed.find(text);
    BOOST_REQUIRE(at != std::string::npos && text.size() == bad.size());
    changed.replace(at, text.size(), bad);
    auto file = open_text(framed(changed));
    BOOST_REQUIRE(file.has_value());
    return !file->each([](const record&) { return bts3::engine::ok(); }).has_value();
  };
  BOOST_TEST(!refused("/file", "/f.le"));
  // Behind "d", which the rename has in common with what comes before it.
  for (const std::string& bad : {"/../a"s, "//abc"s, "/./ab"s, "/a\0bc"s, "/abc/"s, "/ab/."s}) {
    BOOST_TEST(refused("/file", bad));
  }
  for (const std::string& bad : {"/etc"s, "../a"s, "a/.."s, "a//b"s}) {
    BOOST_TEST(refused("home", bad));
  }
}

BOOST_AUTO_TEST_CASE(whatever_stands_in_a_frame_is_read_or_refused) {
  std::mt19937_64 random(7);
  unsigned read = 0;
  const std::array<std::string, 3> sound = {unpacked(index_of(every_command(1))),
                                            unpacked(index_of(every_command(2))),
                                            unpacked(index_of(every_command(3)))};
  for (unsigned round = 0; round < 6000; ++round) {
    std::string plain = sound.at(round % sound.size());
    for (unsigned change = 1 + random() % 4; change > 0; --change) {
      const std::size_t at = 21 + random() % (plain.size() - 21);
      switch (random() % 4) {
        case 0:
          plain[at] = static_cast<char>(random());
          break;
        case 1:
          plain.insert(at, std::string(1 + random() % 11, '\xff'));
          break;
        case 2:
          plain.erase(at, 1 + random() % 8);
          break;
        default:
          plain.insert(at, plain.substr(random() % plain.size(), random() % 40));
          break;
      }
    }
    auto file = open_text(framed(plain));
    if (!file) {
      continue;
    }
    std::uint64_t end = stream_header_bytes;
    auto all = file->each([&](const record& one) {
      BOOST_REQUIRE_EQUAL(one.offset, end);
      BOOST_REQUIRE_LE(one.data_offset + one.data_bytes, std::max(one.end, one.data_offset));
      for (const unsigned path : {attribute_path, attribute_path_to, attribute_clone_path}) {
        BOOST_REQUIRE(plain_path(one.text(path)));
      }
      end = one.end;
      return bts3::engine::ok();
    });
    read += all.has_value() ? 1 : 0;
  }
  BOOST_TEST(read > 0u);
}

BOOST_AUTO_TEST_SUITE_END()
