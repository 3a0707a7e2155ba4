// From extents to bytes of streams and back, with numbers that nobody could have meant.
#include "btrfs/index/stream_ranges.hh"

#include "btrfs/index/catalogue.hh"
#include "tests/btrfs/index/support.hh"

#include <boost/test/unit_test.hpp>

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::btrfs::index;
using namespace bts3::btrfs::index::testing;

namespace {

std::string packed_by_zlib(const std::string& text) {
  uLongf bytes = compressBound(text.size());
  std::string made(bytes, '\0');
  BOOST_REQUIRE(compress(reinterpret_cast<Bytef*>(made.data()), &bytes,
                         reinterpret_cast<const Bytef*>(text.data()), text.size()) == Z_OK);
  return made.substr(0, bytes);
}

// A file of every kind of extent, and what it should be.
struct scene {
  explicit scene(unsigned version) : stream_version(version) {
    unsigned seed = 3;
    std::string whole = send::noise(40'000, seed);
    const std::string text(131'072, 'q');
    stream = send::header(version) + send::subvol("home") + make(command_mkfile, "f", 257);
    stream += write_data(version, "f", 0, whole);
    content = whole;
    if (version >= 2) {
      // 10,000 bytes from the middle of what is packed.
      stream += encoded_write("f", 40'960, 10'000, text.size(), 60'000, 1, packed_by_zlib(text));
      content.resize(40'960);
      content += text.substr(60'000, 10'000);
    }
    stream += clone_range("f", 65'536, 4096, '\x01', "f", 8192);
    content.resize(65'536);
    content += whole.substr(8192, 4096);
    const std::string over = send::noise(100, seed);
    stream += write_data(version, "f", 20'000, over);
    content.replace(20'000, 100, over);
    stream += set_size("f", 80'000) + send::end();
    content.resize(80'000);
    auto index = open_text(index_of(stream));
    BOOST_REQUIRE(index);
    auto opened = catalogue::open(":memory:");
    BOOST_REQUIRE(opened);
    auto added = opened->add(*index);
    BOOST_REQUIRE(added);
    BOOST_REQUIRE(!*added);
    extents = *opened->extents(*opened->find("f", 1), 1);
  }

  unsigned stream_version;
  std::string stream;
  std::string content;
  std::vector<extent> extents;
};

extent some() {
  extent one;
  one.bytes = one.data_bytes = one.unpacked_bytes = 100;
  one.link = 1;
  one.command = 1000;
  one.data = 1040;
  return one;
}

stream_range at(std::uint64_t begin, std::uint64_t end, link_number link = 1) {
  return {link, begin, end};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(stream_ranges_suite)

BOOST_AUTO_TEST_CASE(a_file_is_what_its_commands_hold) {
  for (const unsigned version : {1U, 2U, 3U}) {
    const scene a(version);
    BOOST_TEST(a.extents.size() > 3);
    std::string made(a.content.size(), '\0');
    for (const extent& one : a.extents) {
      const auto range = command_of(one, 1);
      BOOST_REQUIRE(range);
      const auto bytes = bytes_of(a.stream).subspan(range->begin, range->bytes());
      const auto data = data_in(bytes, one, version);
      BOOST_REQUIRE(data);
      std::vector<std::byte> text(data->begin(), data->end());
      if (one.packed != encoding::none) {
        text.assign(one.unpacked_bytes, std::byte{1});
        BOOST_REQUIRE(unpack_extent(one, *data, text));
      }
      std::memcpy(made.data() + one.offset, text.data() + one.skip, one.bytes);
    }
    BOOST_TEST((made == a.content));
  }
}

BOOST_AUTO_TEST_CASE(any_bit_of_a_command_that_is_another_is_found) {
  for (const unsigned version : {1U, 2U}) {
    const scene a(version);
    for (const extent& one : a.extents) {
      const auto range = command_of(one, 1);
      std::string command = a.stream.substr(range->begin, range->bytes());
      for (std::size_t i = 0; i < command.size(); i += i < 100 ? 1 : 997) {
        command[i] = static_cast<char>(command[i] ^ 4);
        const auto data = data_in(bytes_of(command), one, version);
        BOOST_REQUIRE(!data);
        BOOST_TEST((data.error().why == engine::reason::integrity));
        command[i] = static_cast<char>(command[i] ^ 4);
      }
      BOOST_TEST(data_in(bytes_of(command), one, version).has_value());
    }
  }
}

BOOST_AUTO_TEST_CASE(a_sound_command_that_is_not_the_described_one_is_refused) {
  const std::string write = write_data(1, "f", 0, "0123456789");
  extent one;
  one.bytes = one.data_bytes = one.unpacked_bytes = 10;
  one.link = 1;
  one.data = write.size() - 10;
  BOOST_TEST(data_in(bytes_of(write), one, 1).has_value());
  BOOST_TEST(!data_in(bytes_of(write), one, 2));  // as if it were of another version
  extent other = one;
  other.data += 2;
  other.data_bytes -= 2;
  BOOST_TEST(!data_in(bytes_of(write), other, 1));
  other = one;
  other.packed = encoding::zstd;
  BOOST_TEST(!data_in(bytes_of(write), other, 1));
  const std::string name = set_xattr("f", "user.x", "0123456789");
  other = one;
  other.data = name.size() - 10;
  BOOST_TEST(!data_in(bytes_of(name), other, 1));
}

BOOST_AUTO_TEST_CASE(numbers_that_no_command_has_are_refused) {
  BOOST_REQUIRE(command_of(some(), 1));
  BOOST_TEST((*command_of(some(), 1) == at(1000, 1140)));
  const auto refused = [](auto change) {
    extent one = some();
    change(one);
    const auto range = command_of(one, 3);
    return !range && range.error().why == engine::reason::integrity;
  };
  BOOST_TEST(refused([](extent& one) { one.link = 0; }));
  BOOST_TEST(refused([](extent& one) { one.link = 4; }));
  BOOST_TEST(refused([](extent& one) { one.data = 999; }));
  BOOST_TEST(refused([](extent& one) { one.data = 1011; }));
  BOOST_TEST(refused([](extent& one) { one.data = UINT64_MAX; }));
  BOOST_TEST(refused([](extent& one) { one.command = UINT64_MAX; }));
  BOOST_TEST(refused([](extent& one) {
    one.command = UINT64_MAX - 100;
    one.data = UINT64_MAX - 50;
  }));
  BOOST_TEST(refused([](extent& one) { one.data_bytes = UINT64_MAX; }));
  BOOST_TEST(refused([](extent& one) { one.data_bytes = one.unpacked_bytes = 300'000; }));
  BOOST_TEST(refused([](extent& one) { one.unpacked_bytes = 200; }));
  BOOST_TEST(refused([](extent& one) { one.skip = 1; }));
  BOOST_TEST(refused([](extent& one) { one.skip = UINT64_MAX; }));
  BOOST_TEST(refused([](extent& one) { one.bytes = UINT64_MAX; }));
  BOOST_TEST(refused([](extent& one) { one.packed = static_cast<encoding>(8); }));
  BOOST_TEST(refused([](extent& one) {
    one.packed = encoding::zstd;
    one.unpacked_bytes = std::uint64_t{1} << 40;
  }));
}

BOOST_AUTO_TEST_CASE(neighbours_become_one_request) {
  const merging how;
  const std::vector<stream_range> wanted = {at(5000, 6000), at(0, 1000), at(1000, 2000),
                                            at(5500, 7000)};
  const auto found = merged(wanted, how);
  BOOST_REQUIRE(found.size() == 1);
  BOOST_TEST((found[0].all == at(0, 7000)));
  BOOST_TEST(found[0].wanted == (std::vector<std::size_t>{1, 2, 0, 3}));
  BOOST_TEST(merged({}, how).empty());
}

BOOST_AUTO_TEST_CASE(what_lies_apart_or_in_another_link_is_another_request) {
  const merging how;
  const std::uint64_t mib = 1 << 20;
  // As much as is wanted so far may be read along; at most a MiB.
  BOOST_TEST(merged(std::vector{at(0, mib), at(3 * mib / 2, 2 * mib)}, how).size() == 1);
  BOOST_TEST(merged(std::vector{at(0, 3 * mib), at(4 * mib, 5 * mib)}, how).size() == 1);
  BOOST_TEST(merged(std::vector{at(0, 3 * mib), at(4 * mib + 1, 5 * mib)}, how).size() == 2);
  BOOST_TEST(merged(std::vector{at(0, 10'000), at(100'000, 110'000)}, how).size() == 2);
  BOOST_TEST(merged(std::vector{at(0, 10), at(10 + 4096, 5000)}, how).size() == 1);
  BOOST_TEST(merged(std::vector{at(0, 10, 2), at(10, 20, 1)}, how).size() == 2);
  BOOST_TEST(merged(std::vector{at(0, 10, 2), at(10, 20, 1)}, how)[0].all.link == 1);
}

BOOST_AUTO_TEST_CASE(no_request_is_larger_than_it_may_be) {
  merging how;
  how.bytes_max = 1000;
  std::vector<stream_range> wanted;
  for (std::uint64_t i = 0; i < 50; ++i) {
    wanted.push_back(at(i * 300, i * 300 + 300));
  }
  wanted.push_back(at(100'000, 105'000));  // by itself
  const auto found = merged(wanted, how);
  std::size_t count = 0;
  for (const merged_range& one : found) {
    BOOST_TEST((one.all.bytes() <= 1000 || one.wanted.size() == 1));
    for (const std::size_t index : one.wanted) {
      BOOST_TEST((wanted[index].begin >= one.all.begin && wanted[index].end <= one.all.end));
    }
    count += one.wanted.size();
  }
  BOOST_TEST(count == wanted.size());
  BOOST_TEST(found.size() == 18);
}

BOOST_AUTO_TEST_CASE(not_more_than_what_is_wanted_is_read_along) {
  unsigned seed = 7;
  for (int round = 0; round < 200; ++round) {
    std::vector<stream_range> wanted;
    stream_set set;
    std::uint64_t place = 0;
    for (int i = 0; i < 60; ++i) {
      seed = seed * 1664525 + 1013904223;
      place += seed % 600'000;
      const std::uint64_t bytes = 5000 + seed / 7 % 200'000;
      wanted.push_back(at(place, place + bytes));
      set.add(wanted.back());
      place += bytes;
    }
    std::uint64_t read = 0;
    for (const merged_range& one : merged(wanted, merging())) {
      read += one.all.bytes();
    }
    BOOST_TEST(read >= set.bytes());
    BOOST_TEST(read <= 2 * set.bytes() + 60 * merging().gap_free);
  }
}

BOOST_AUTO_TEST_CASE(a_set_of_bytes_counts_each_once) {
  stream_set set;
  set.add(at(10, 20));
  set.add(at(30, 40));
  set.add(at(20, 25));
  set.add(at(5, 12, 2));
  set.add(at(7, 7));
  BOOST_TEST(set.bytes() == 32);
  BOOST_REQUIRE(set.ranges().size() == 3);
  BOOST_TEST((set.ranges()[0] == at(10, 25)));
  set.add(at(0, 100));
  BOOST_TEST(set.bytes() == 107);
  BOOST_TEST((set.ranges()[0] == at(0, 100)));
  set.add(at(50, 60));
  set.add(at(100, UINT64_MAX));
  BOOST_TEST(set.ranges().size() == 2);
}

BOOST_AUTO_TEST_SUITE_END()
