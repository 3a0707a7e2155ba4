// Layouts, texts and what must hold of a sealed stream, for the tests of sealed streams.
#pragma once

#include "tests/engine/played_seal.hh"
#include "tests/engine/sealed_streams.hh"
#include "tests/engine/support.hh"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace bts3::engine::testing {

inline constexpr seal_layout tiny{32, 100, 8};
inline constexpr seal_layout odd{33, 3001, 17};
// As age's in that a stride is no divisor of anything, and a slot is hardly more than a stride.
inline constexpr seal_layout wide{528, 4003, 16};

inline bytes text_of(std::size_t size, std::uint64_t seed = 7) {
  bytes made(size);
  std::mt19937_64 random(seed);
  std::generate(made.begin(), made.end(), [&] { return static_cast<std::byte>(random()); });
  return made;
}

inline stream_setup setup_of(played_factory& by, std::size_t part_bytes, std::uint64_t chunk_bytes,
                             std::size_t slot_bytes) {
  stream_setup made;
  made.by = &by;
  made.limits.part_bytes = part_bytes;
  made.limits.chunk_bytes = chunk_bytes;
  made.slot_bytes = slot_bytes;
  return made;
}

// Everything that must hold of a stream that was sent whole; `bodies` as they are in the store.
inline void check_stream(const sent_stream& seen, const std::vector<bytes>& bodies,
                         const bytes& text, const stream_setup& with) {
  const seal_layout layout = with.by->layout();
  BOOST_REQUIRE_MESSAGE(!seen.failure, seen.failure.value_or(error()).text());
  check_digests(seen, bodies, with.limits.payload_sha256);
  bytes plain;
  std::uint64_t chunk_filled = 0;
  std::size_t full_bytes = 0;
  for (std::size_t index = 0; index < bodies.size(); ++index) {
    const sent_part& part = seen.parts[index];
    BOOST_TEST((part.number == 1) == (chunk_filled == 0));
    const bytes opened = open_played(layout, bodies[index], part.chunk, part.number, plain.size());
    BOOST_TEST(opened.size() == part.plain_bytes);
    BOOST_TEST(!part.digest.fingerprint.empty());
    plain.insert(plain.end(), opened.begin(), opened.end());
    chunk_filled += part.length;
    BOOST_TEST(part.length <= with.limits.part_bytes);
    BOOST_TEST(chunk_filled <= with.limits.chunk_bytes);
    const bool last_of_chunk =
        index + 1 == bodies.size() || seen.parts[index + 1].chunk != part.chunk;
    BOOST_TEST((part.full || index + 1 == bodies.size()));
    if (!last_of_chunk) {
      full_bytes = full_bytes == 0 ? part.length : full_bytes;
      BOOST_TEST(part.length == full_bytes);
      BOOST_TEST(part.digest.state.has_value());
    }
    BOOST_TEST((!part.fills_chunk || last_of_chunk));
    if (part.fills_chunk) {
      BOOST_TEST(layout.plain_bytes_max(with.limits.chunk_bytes - chunk_filled) == 0U);
      chunk_filled = 0;
    }
  }
  BOOST_TEST((plain == text));
  BOOST_TEST(seen.plain_total == text.size());
}

}  // namespace bts3::engine::testing
