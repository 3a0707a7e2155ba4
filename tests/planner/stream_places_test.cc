// Ranges of a stream as ranges of its chunks, compared with a text that was really cut and sealed.
#include "planner/stream_places.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

using namespace bts3::planner;

namespace {

chunk_record chunk_of(std::uint64_t size, std::uint64_t part_size = 0) {
  chunk_record one;
  one.key = "k";
  one.size = size;
  if (part_size != 0) {
    one.part_size = part_size;
  }
  return one;
}

manifest plain(std::vector<std::uint64_t> sizes) {
  manifest made;
  for (const std::uint64_t size : sizes) {
    made.chunks.push_back(chunk_of(size));
  }
  return made;
}

constexpr std::uint64_t part_size = 528 + 2 * 65552 + 1040;  // two whole segments and one of 1,024
constexpr std::uint64_t part_plain = 2 * 65536 + 1024;

// Two whole parts and one with 10 bytes, then a chunk of one part with 70,000.
manifest sealed() {
  manifest made;
  made.encryption.emplace();
  made.chunks.push_back(chunk_of(2 * part_size + 528 + 26, part_size));
  made.chunks.push_back(chunk_of(528 + 65552 + 70000 - 65536 + 16, part_size));
  return made;
}

// The number of the stream's byte that each byte of a chunk holds; UINT64_MAX: none.
std::vector<std::vector<std::uint64_t>> laid_out(const manifest& backup) {
  std::vector<std::vector<std::uint64_t>> all;
  std::uint64_t next = 0;
  for (const chunk_record& one : backup.chunks) {
    std::vector<std::uint64_t> bytes(one.size, UINT64_MAX);
    for (std::uint64_t part = 0; part < one.size; part += part_size) {
      const std::uint64_t end = std::min(one.size, part + part_size);
      for (std::uint64_t segment = part + 528; segment < end; segment += 65552) {
        for (std::uint64_t i = segment; i < std::min(end, segment + 65552) - 16; ++i) {
          bytes[i] = next++;
        }
      }
    }
    all.push_back(std::move(bytes));
  }
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(stream_places_suite)

BOOST_AUTO_TEST_CASE(a_range_of_a_plain_stream_is_one_of_each_chunk) {
  const auto places = stream_places::of(plain({10, 5, 7}));
  BOOST_REQUIRE(places);
  BOOST_TEST(places->stream_bytes() == 22);
  const auto found = places->find(8, 9);
  BOOST_REQUIRE(found);
  BOOST_REQUIRE(found->size() == 3);
  BOOST_TEST((*found)[0].chunk == 0);
  BOOST_TEST((*found)[0].offset == 8);
  BOOST_TEST((*found)[0].bytes == 2);
  BOOST_TEST((*found)[1].chunk == 1);
  BOOST_TEST((*found)[1].offset == 0);
  BOOST_TEST((*found)[1].bytes == 5);
  BOOST_TEST((*found)[2].chunk == 2);
  BOOST_TEST((*found)[2].bytes == 2);
  BOOST_TEST(places->find(10, 1)->front().chunk == 1);
  BOOST_TEST(places->find(22, 0)->empty());
}

BOOST_AUTO_TEST_CASE(what_the_stream_does_not_have_is_an_error) {
  const auto places = stream_places::of(plain({10, 5}));
  BOOST_TEST(!places->find(15, 1));
  BOOST_TEST(!places->find(16, 0));
  BOOST_TEST(!places->find(14, 2));
  BOOST_TEST(!places->find(UINT64_MAX, 1));
  BOOST_TEST(!places->find(5, UINT64_MAX));
  BOOST_TEST(!places->find(UINT64_MAX, UINT64_MAX));
  BOOST_TEST(!stream_places::of(plain({}))->find(0, 1));
  BOOST_TEST(stream_places::of(plain({10, 5}))->find(14, 2).error().text() ==
             "2 bytes at byte 14 are wanted of a stream of 15");
}

BOOST_AUTO_TEST_CASE(sizes_that_no_chunks_have_are_refused) {
  BOOST_TEST(!stream_places::of(plain({5, 0})));
  BOOST_TEST(!stream_places::of(plain({UINT64_MAX})));
  std::vector<std::uint64_t> many(1025, chunk_bytes_max);
  BOOST_TEST(!stream_places::of(plain(many)));
  manifest backup = sealed();
  backup.chunks[1].part_size.reset();
  BOOST_TEST(!stream_places::of(backup));
  backup = sealed();
  backup.chunks[0].size = 2 * part_size + 528 + 16;  // a part without text
  BOOST_TEST(!stream_places::of(backup));
  backup.chunks[0].size = part_size;
  backup.chunks[0].part_size = 0;
  BOOST_TEST(!stream_places::of(backup));
}

BOOST_AUTO_TEST_CASE(a_range_of_a_sealed_stream_is_whole_segments_of_each_part) {
  const manifest backup = sealed();
  const auto places = stream_places::of(backup);
  BOOST_REQUIRE(places);
  BOOST_TEST(places->stream_bytes() == 2 * part_plain + 10 + 70000);
  const auto bytes = laid_out(backup);
  std::vector<std::uint64_t> edges = {0, 1, 65535, 65536, 65537, 131071, 131072, 131073};
  for (const std::uint64_t near : {part_plain, 2 * part_plain, 2 * part_plain + 10,
                                   2 * part_plain + 10 + 65536, 2 * part_plain + 10 + 70000}) {
    edges.insert(edges.end(), {near - 1, near, near + 1});
  }
  edges.pop_back();
  std::sort(edges.begin(), edges.end());
  for (const std::uint64_t from : edges) {
    for (const std::uint64_t to : edges) {
      if (to < from) {
        continue;
      }
      const auto found = places->find(from, to - from);
      BOOST_REQUIRE(found);
      std::uint64_t next = from;
      for (const stored_range& one : *found) {
        // As whoever opens them: segment by segment, the front left out.
        BOOST_TEST((one.offset - one.part_offset - 528) % 65552 == 0);
        BOOST_TEST((one.offset - one.part_offset - 528) / 65552 == one.segment);
        BOOST_TEST(one.part_offset == (one.part - 1) * part_size);
        BOOST_TEST(one.offset + one.bytes <= one.part_offset + one.part_bytes);
        BOOST_TEST(bytes[one.chunk][one.part_offset + 528] == one.part_plain);
        std::vector<std::uint64_t> text;
        for (std::uint64_t i = one.offset; i < one.offset + one.bytes; ++i) {
          if (bytes[one.chunk][i] != UINT64_MAX) {
            text.push_back(bytes[one.chunk][i]);
          }
        }
        BOOST_REQUIRE(one.skip + one.plain_bytes <= text.size());
        BOOST_TEST(text.size() - one.skip - one.plain_bytes < 65536);
        BOOST_TEST(one.skip < 65536);
        BOOST_TEST(text[one.skip] == next);
        BOOST_TEST(text[one.skip + one.plain_bytes - 1] == next + one.plain_bytes - 1);
        next += one.plain_bytes;
      }
      BOOST_TEST(next == to);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
