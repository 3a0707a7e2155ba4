#include "engine/part_seal.hh"
#include "engine/part_stream.hh"

#include <boost/test/unit_test.hpp>

#include <vector>

using namespace bts3::engine;

namespace {

constexpr seal_layout none;
constexpr seal_layout age_layout{528, 65'552, 16};
static_assert(age_layout.sealed_bytes(2047 * 65'536 + 32'240) == std::uint64_t{128} << 20U);
static_assert(age_layout.plain_bytes_max(std::uint64_t{128} << 20U) == 2047 * 65'536 + 32'240);
static_assert(age_layout.place_of(65'536) == 528 + 65'552);
static_assert(none.sealed_bytes(5) == 5 && none.plain_bytes_max(5) == 5 && none.place_of(5) == 5);
static_assert(none.readable(3, 9) == seal_layout::range{3, 9});

}  // namespace

BOOST_AUTO_TEST_SUITE(part_seal_suite)

// Against a part that is drawn byte by byte: 'h' head, a number for a plain byte, 't' tag.
BOOST_AUTO_TEST_CASE(the_arithmetic_is_that_of_a_part_that_is_drawn) {
  for (const seal_layout& layout :
       {seal_layout{32, 100, 8}, seal_layout{5, 7, 3}, seal_layout{40, 41, 1}}) {
    for (std::uint64_t plain = 1; plain < 400; ++plain) {
      std::vector<std::int64_t> drawn(layout.head, -1);
      std::vector<std::uint64_t> place;
      for (std::uint64_t at = 0; at < plain; ++at) {
        if (at > 0 && at % layout.segment_plain() == 0) {
          drawn.insert(drawn.end(), layout.gap, -2);
        }
        BOOST_TEST_REQUIRE(layout.plain_before(drawn.size()) == at);
        place.push_back(drawn.size());
        drawn.push_back(static_cast<std::int64_t>(at));
      }
      drawn.insert(drawn.end(), layout.gap, -2);
      BOOST_TEST_REQUIRE(layout.sealed_bytes(plain) == drawn.size());
      for (std::uint64_t at = 0; at < plain; ++at) {
        BOOST_TEST_REQUIRE(layout.place_of(at) == place[at]);
        const auto range = layout.readable(at, plain - at);
        BOOST_TEST_REQUIRE(range.offset == place[at]);
        for (std::uint64_t within = 0; within < range.length; ++within) {
          BOOST_TEST_REQUIRE(drawn[range.offset + within] ==
                             static_cast<std::int64_t>(at + within));
        }
        const std::uint64_t behind = range.offset + range.length;
        BOOST_TEST_REQUIRE((at + range.length == plain || drawn[behind] == -2));
      }
      // The most that fits is the most that fits.
      BOOST_TEST_REQUIRE(layout.plain_bytes_max(drawn.size()) == plain);
    }
    for (std::uint64_t room = 0; room < 500; ++room) {
      const std::uint64_t most = layout.plain_bytes_max(room);
      BOOST_TEST_REQUIRE(layout.sealed_bytes(most) <= room);
      BOOST_TEST_REQUIRE(layout.sealed_bytes(most + 1) > room);
    }
  }
}

// Every cut of a stream that never ends: sizes, offsets, chunks.
BOOST_AUTO_TEST_CASE(full_parts_are_equal_and_of_whole_blocks_and_chunks_keep_their_limit) {
  const seal_layout layout{32, 100, 8};
  for (std::size_t part_bytes = 64; part_bytes <= 1280; part_bytes += 64) {
    for (std::uint64_t chunk_bytes = part_bytes; chunk_bytes < 4 * part_bytes + 200;
         chunk_bytes += 7) {
      part_stream_limits limits;
      limits.part_bytes = part_bytes;
      limits.chunk_bytes = chunk_bytes;
      part_cutter cutter(limits, layout);
      std::uint64_t plain = 0;
      std::uint64_t in_chunk = 0;
      std::uint32_t chunk = 0;
      std::size_t full_size = 0;
      for (int count = 0; count < 40; ++count) {
        const std::size_t most = cutter.plain_bytes_max();
        BOOST_TEST_REQUIRE(most > 0U);
        BOOST_TEST_REQUIRE(cutter.order({}, true).plain_offset == plain);
        BOOST_TEST_REQUIRE(cutter.order({}, true).chunk_bytes_before == in_chunk);
        const auto where = cutter.cut(most);
        BOOST_TEST_REQUIRE(where.full);
        BOOST_TEST_REQUIRE(where.bytes == layout.sealed_bytes(most));
        BOOST_TEST_REQUIRE(where.chunk_index == chunk);
        plain += most;
        in_chunk += where.bytes;
        BOOST_TEST_REQUIRE(in_chunk <= chunk_bytes);
        if (!where.fills_chunk) {
          full_size = full_size == 0 ? where.bytes : full_size;
          BOOST_TEST_REQUIRE(where.bytes == full_size);
          BOOST_TEST_REQUIRE(where.bytes % 64 == 0U);
          BOOST_TEST_REQUIRE(part_bytes - where.bytes <= 64U);
        } else {
          // No part would have fitted behind it.
          BOOST_TEST_REQUIRE(layout.plain_bytes_max(chunk_bytes - in_chunk) == 0U);
          in_chunk = 0;
          ++chunk;
        }
      }
      BOOST_TEST_REQUIRE(cutter.plain_total_bytes() == plain);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
