#include "engine/age/stream.hh"

#include "engine/age/header.hh"
#include "tests/engine/age/support.hh"

#include <algorithm>

using namespace bts3;
using namespace bts3::age;
using namespace bts3::age::testing;

// The arithmetic is for the compiler: what each of these means is in the header.
static_assert(segments_of(0) == 1 && segments_of(1) == 1);
static_assert(segments_of(65536) == 1 && segments_of(65537) == 2);
static_assert(sealed_bytes(0) == 16 && sealed_bytes(1) == 17);
static_assert(sealed_bytes(65536) == 65552 && sealed_bytes(65537) == 65552 + 17);
static_assert(opened_bytes(16) == 0 && opened_bytes(17) == 1 && opened_bytes(65552) == 65536);
static_assert(!opened_bytes(0) && !opened_bytes(15));
static_assert(!opened_bytes(65552 + 16) && opened_bytes(65552 + 17) == 65537);
static_assert(!opened_bytes(65553) && !opened_bytes(2 * 65552 + 1));
static_assert(!plain_capacity(15) && plain_capacity(16) == 0 && plain_capacity(17) == 1);
static_assert(plain_capacity(65552) == 65536 && plain_capacity(65552 + 16) == 65536);
static_assert(plain_capacity(65552 + 17) == 65537);
static_assert(place_of(0) == segment_place{0, 0, 0});
static_assert(place_of(65535) == segment_place{0, 65535, 0});
static_assert(place_of(65536) == segment_place{1, 0, 65552});
static_assert(place_of((std::uint64_t{1} << 40) + 5).within == 5);

namespace {

struct sealed {
  file_key key;
  payload_nonce nonce{};
  bytes stream;
};

sealed seal_all(const bytes& plain, std::uint64_t seed) {
  sealed made;
  require(fill_random(seeded(seed), made.key.writable()));
  require(fill_random(seeded(seed + 1), made.nonce));
  auto sealer = value_of(stream_sealer::make(made.key, made.nonce));
  made.stream.resize(sealed_bytes(plain.size()));
  const std::uint64_t segments = segments_of(plain.size());
  for (std::uint64_t index = 0; index < segments; ++index) {
    const std::size_t from = index * segment_plain_bytes;
    const std::size_t here = std::min(segment_plain_bytes, plain.size() - from);
    const auto room = std::span(made.stream).subspan(index * segment_bytes);
    std::copy_n(plain.begin() + static_cast<std::ptrdiff_t>(from), here, room.begin());
    BOOST_TEST(!sealer.done());
    require(sealer.seal(room, here, index + 1 == segments));
  }
  BOOST_TEST(sealer.done());
  return made;
}

// What opens before the first failure; whether all did.
std::pair<bytes, bool> open_all(const sealed& from, bytes stream) {
  auto opener = value_of(stream_opener::make(from.key, from.nonce));
  bytes plain;
  std::span<std::byte> rest(stream);
  for (std::uint64_t index = 0;; ++index) {
    const auto segment = rest.first(std::min(rest.size(), segment_bytes));
    const bool last = segment.size() == rest.size();
    const auto text = opener.open(segment, index, last);
    if (!text) {
      BOOST_TEST(fault_in(text) == fault::payload);
      // Nothing of what could not be verified is left to be used by mistake.
      const auto may_be_tag = segment.size() < tag_bytes ? 0 : segment.size() - tag_bytes;
      BOOST_TEST(std::all_of(segment.begin(),
                             segment.begin() + static_cast<std::ptrdiff_t>(may_be_tag),
                             [](std::byte one) { return one == std::byte{0}; }));
      return {plain, false};
    }
    plain.insert(plain.end(), text->begin(), text->end());
    if (last) {
      return {plain, true};
    }
    rest = rest.subspan(segment_bytes);
  }
}

bytes swapped(bytes stream, std::size_t one, std::size_t other) {
  std::swap_ranges(stream.begin() + static_cast<std::ptrdiff_t>(one * segment_bytes),
                   stream.begin() + static_cast<std::ptrdiff_t>((one + 1) * segment_bytes),
                   stream.begin() + static_cast<std::ptrdiff_t>(other * segment_bytes));
  return stream;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(stream)

BOOST_AUTO_TEST_CASE(the_functions_of_sizes_agree_at_every_border) {
  for (std::uint64_t whole = 0; whole < 4; ++whole) {
    for (std::uint64_t more = 0; more < 40; ++more) {
      for (const std::uint64_t plain :
           {whole * segment_plain_bytes + more, (whole + 1) * segment_plain_bytes - more}) {
        const std::uint64_t size = sealed_bytes(plain);
        BOOST_TEST(opened_bytes(size).value() == plain);
        BOOST_TEST(plain_capacity(size).value() == plain);
        const segment_place place = place_of(plain);
        BOOST_TEST(place.index * segment_plain_bytes + place.within == plain);
        BOOST_TEST(place.start == place.index * segment_bytes);
      }
      const std::uint64_t room = whole * segment_bytes + more;
      if (const auto fits = plain_capacity(room)) {
        BOOST_TEST(sealed_bytes(*fits) <= room);
        BOOST_TEST(sealed_bytes(*fits + 1) > room);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(what_was_sealed_is_opened) {
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, segment_plain_bytes - 1, segment_plain_bytes,
        segment_plain_bytes + 1, 3 * segment_plain_bytes, 3 * segment_plain_bytes + 17}) {
    const bytes plain = random_bytes(size, size);
    const sealed made = seal_all(plain, size + 1);
    const auto [text, whole] = open_all(made, made.stream);
    BOOST_TEST(whole);
    BOOST_TEST((text == plain));
  }
}

BOOST_AUTO_TEST_CASE(segments_open_alone_and_in_any_order) {
  const bytes plain = random_bytes(4 * segment_plain_bytes - 5, 3);
  sealed made = seal_all(plain, 5);
  auto opener = value_of(stream_opener::make(made.key, made.nonce));
  for (const std::size_t index : {2U, 0U, 3U, 1U}) {
    const auto from = std::span(made.stream).subspan(index * segment_bytes);
    const auto text =
        value_of(opener.open(from.first(std::min(from.size(), segment_bytes)), index, index == 3));
    BOOST_TEST(
        std::equal(text.begin(), text.end(),
                   plain.begin() + static_cast<std::ptrdiff_t>(index * segment_plain_bytes)));
  }
}

BOOST_AUTO_TEST_CASE(a_flipped_bit_anywhere_is_noticed) {
  const bytes plain = random_bytes(segment_plain_bytes + 90, 4);
  const sealed made = seal_all(plain, 6);
  // Each bit of the short segment, and some of the whole one.
  for (std::size_t bit = 0; bit < 8 * made.stream.size();
       bit += bit < 8 * segment_bytes ? 7919 : 1) {
    bytes changed = made.stream;
    changed[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    const auto [text, whole] = open_all(made, changed);
    BOOST_TEST(!whole);
    BOOST_TEST(text.size() == (bit < 8 * segment_bytes ? 0 : segment_plain_bytes));
  }
}

BOOST_AUTO_TEST_CASE(cut_reordered_repeated_and_appended_segments_are_refused) {
  const bytes plain = random_bytes(3 * segment_plain_bytes, 8);
  const sealed made = seal_all(plain, 9);
  const auto is_refused = [&](bytes stream) { return !open_all(made, std::move(stream)).second; };
  BOOST_TEST(is_refused(swapped(made.stream, 0, 1)));
  BOOST_TEST(is_refused(swapped(made.stream, 1, 2)));
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{15}, std::size_t{16}, segment_bytes - 1,
        segment_bytes, segment_bytes + 1, 2 * segment_bytes, 3 * segment_bytes - 1}) {
    BOOST_TEST(is_refused(
        bytes(made.stream.begin(), made.stream.begin() + static_cast<std::ptrdiff_t>(size))));
  }
  for (const std::size_t more : {std::size_t{1}, std::size_t{16}, std::size_t{17}, segment_bytes}) {
    bytes longer = made.stream;
    longer.resize(longer.size() + more);
    BOOST_TEST(is_refused(longer));
  }
  bytes twice = made.stream;
  twice.insert(twice.end(), made.stream.begin() + 2 * segment_bytes, made.stream.end());
  BOOST_TEST(is_refused(twice));
  bytes without_first(made.stream.begin() + segment_bytes, made.stream.end());
  BOOST_TEST(is_refused(without_first));
}

BOOST_AUTO_TEST_CASE(another_key_or_nonce_opens_nothing) {
  sealed made = seal_all(random_bytes(100, 1), 10);
  sealed other = seal_all(random_bytes(100, 1), 20);
  BOOST_TEST(!open_all(other, made.stream).second);
  other.key = file_key(made.key.view());
  BOOST_TEST(!open_all(other, made.stream).second);
  other.nonce = made.nonce;
  BOOST_TEST(open_all(other, made.stream).second);
}

// Under one key, equal segments are sealed to bytes that have nothing in common.
BOOST_AUTO_TEST_CASE(no_segment_is_sealed_like_another) {
  const sealed made = seal_all(bytes(3 * segment_plain_bytes), 11);
  for (std::size_t at = 0; at + 16 <= segment_bytes; at += 16) {
    const auto begin = made.stream.begin() + static_cast<std::ptrdiff_t>(at);
    BOOST_TEST_REQUIRE(!std::equal(begin, begin + 16, begin + segment_bytes));
    BOOST_TEST_REQUIRE(!std::equal(begin, begin + 16, begin + 2 * segment_bytes));
  }
}

BOOST_AUTO_TEST_SUITE_END()
