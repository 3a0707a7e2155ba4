// Against the published check value, and against another implementation.
#include "engine/crc32.hh"

#include <boost/test/unit_test.hpp>
#include <libdeflate.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

using namespace bts3;

namespace {

std::uint32_t of(std::string_view text) {
  return engine::crc32(0, std::as_bytes(std::span(text)));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(crc32_suite)

// "check" of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
BOOST_AUTO_TEST_CASE(the_published_check_value) {
  BOOST_TEST(of("123456789") == 0xcbf43926U);
  BOOST_TEST(of("") == 0U);
}

// Lengths and places around every step that a vector implementation takes.
BOOST_AUTO_TEST_CASE(every_length_and_alignment_agrees_with_another_implementation) {
  std::vector<std::byte> data(4096 + 64);
  std::uint32_t next = 1;
  for (std::byte& one : data) {
    next = next * 1'664'525U + 1'013'904'223U;
    one = static_cast<std::byte>(next >> 24);
  }
  std::size_t wrong = 0;
  for (std::size_t start = 0; start < 64; start += 7) {
    for (std::size_t length = 0; length <= 4096; length += length < 600 ? 1 : 61) {
      const auto bytes = std::span(std::as_const(data)).subspan(start, length);
      wrong += engine::crc32(0, bytes) != ::libdeflate_crc32(0, bytes.data(), length) ? 1U : 0U;
      const std::size_t cut = length / 3;
      const std::uint32_t in_two =
          engine::crc32(engine::crc32(0, bytes.first(cut)), bytes.subspan(cut));
      wrong += in_two != engine::crc32(0, bytes) ? 1U : 0U;
    }
  }
  BOOST_TEST(wrong == 0U);
}

// "check" of CRC-32/ISCSI in that catalogue, which inverts before and after.
BOOST_AUTO_TEST_CASE(the_published_check_value_of_castagnolis_polynomial) {
  const std::string_view text = "123456789";
  BOOST_TEST(~engine::crc32c(~0U, std::as_bytes(std::span(text))) == 0xe3069283U);
  BOOST_TEST(engine::crc32c(0, {}) == 0U);
}

BOOST_AUTO_TEST_CASE(castagnolis_polynomial_by_bits_gives_the_same_at_every_length_and_cut) {
  std::vector<std::byte> data(3000);
  std::uint32_t next = 7;
  for (std::byte& one : data) {
    next = next * 1'664'525U + 1'013'904'223U;
    one = static_cast<std::byte>(next >> 24);
  }
  std::uint32_t by_bits = 0;
  std::size_t wrong = 0;
  for (std::size_t length = 1; length <= data.size(); ++length) {
    by_bits ^= std::to_integer<std::uint32_t>(data[length - 1]);
    for (int bit = 0; bit < 8; ++bit) {
      by_bits = by_bits >> 1 ^ ((by_bits & 1U) != 0 ? 0x82f63b78U : 0U);
    }
    const auto bytes = std::span(std::as_const(data)).first(length);
    const std::uint32_t in_two =
        engine::crc32c(engine::crc32c(0, bytes.first(length / 3)), bytes.subspan(length / 3));
    wrong += engine::crc32c(0, bytes) != by_bits || in_two != by_bits ? 1U : 0U;
  }
  BOOST_TEST(wrong == 0U);
}

BOOST_AUTO_TEST_SUITE_END()
