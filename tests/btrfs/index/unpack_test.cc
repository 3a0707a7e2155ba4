#include "btrfs/index/unpack.hh"

#include "tests/btrfs/index/support.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>
#include <zlib.h>
#include <zstd.h>

#include <random>

using namespace bts3::btrfs::index;
using namespace bts3::btrfs::index::testing;
using namespace std::string_literals;

namespace {

// As unpacked into `bytes`; "damaged" where it cannot be.
std::string unpacked(encoding how, const std::string& packed, std::size_t bytes) {
  std::string text(bytes, '?');
  const auto done = unpack(how, bytes_of(packed),
                           std::as_writable_bytes(std::span<char>(text.data(), text.size())));
  return done ? text : "damaged";
}

std::string some_text(std::size_t bytes) {
  std::string text;
  for (unsigned i = 0; text.size() < bytes; ++i) {
    text += "line " + std::to_string(i * i) + "\n";
  }
  return text.substr(0, bytes);
}

std::string zlib_of(const std::string& text) {
  std::string made(compressBound(text.size()), '\0');
  uLongf size = made.size();
  BOOST_REQUIRE(compress(reinterpret_cast<Bytef*>(made.data()), &size,
                         reinterpret_cast<const Bytef*>(text.data()), text.size()) == Z_OK);
  return made.substr(0, size);
}

std::string zstd_of(const std::string& text) {
  std::string made(ZSTD_compressBound(text.size()), '\0');
  return made.substr(0, ZSTD_compress(made.data(), made.size(), text.data(), text.size(), 3));
}

// One piece in Btrfs's frame.
std::string lzo_of(const std::string& piece) {
  return send::number(8 + piece.size(), 4) + send::number(piece.size(), 4) + piece;
}
// "abc", nine bytes from three before, the end.
const std::string repeated =
    "\x14"
    "abc\x27\x08\0\x11\0\0"s;

}  // namespace

BOOST_AUTO_TEST_SUITE(unpack_suite)

BOOST_AUTO_TEST_CASE(zlib_and_zstd_are_unpacked_and_the_rest_is_zero) {
  const std::string text = some_text(100'000);
  for (const auto& [how, packed] :
       {std::pair(encoding::zlib, zlib_of(text)), std::pair(encoding::zstd, zstd_of(text))}) {
    BOOST_TEST((unpacked(how, packed, text.size()) == text));
    BOOST_TEST((unpacked(how, packed + std::string(100, '\0'), text.size() + 5) ==
                text + std::string(5, '\0')));
    BOOST_TEST((unpacked(how, packed, 1000) == text.substr(0, 1000)));
    BOOST_TEST(unpacked(how, "nothing of the kind", 1000) == "damaged");
  }
}

BOOST_AUTO_TEST_CASE(lzo_is_unpacked) {
  BOOST_TEST(unpacked(encoding::lzo_4k, lzo_of(repeated), 14) == "abcabcabcabc\0\0"s);
  BOOST_TEST(unpacked(encoding::lzo_64k,
                      lzo_of("\x16"
                             "hello\x11\0\0"s),
                      5) == "hello");
  // A run of 3 + 15 + 255 + 2 literals.
  const std::string literals = some_text(275);
  BOOST_TEST(unpacked(encoding::lzo_4k, lzo_of("\0\0\x02"s + literals + "\x11\0\0"s), 275) ==
             literals);
}

BOOST_AUTO_TEST_CASE(lzo_that_makes_no_sense_is_refused) {
  for (const std::string& piece : {""s,
                                   "\x16"
                                   "hel"s,
                                   "\x14"
                                   "abc\x27\x10\0\x11\0\0"s,
                                   "\x14"
                                   "abc\x27"s,
                                   "\0\0\0\0"s, "\x11\0"s, repeated.substr(0, 7)}) {
    BOOST_TEST(unpacked(encoding::lzo_4k, lzo_of(piece), 100) == "damaged");
  }
  BOOST_TEST(unpacked(encoding::lzo_4k, lzo_of(repeated), 11) == "damaged");
  BOOST_TEST(unpacked(encoding::lzo_4k, "abc", 11) == "damaged");
  BOOST_TEST(unpacked(encoding::lzo_4k, send::number(0xffffffff, 4) + "abcd", 11) == "damaged");
  BOOST_TEST(unpacked(encoding::lzo_4k, send::number(9, 4) + send::number(2, 4) + "a", 11) ==
             "damaged");
}

BOOST_AUTO_TEST_CASE(whatever_is_packed_is_unpacked_or_refused) {
  std::mt19937_64 random(3);
  const std::string text = some_text(9000);
  const std::string seeds[] = {zlib_of(text), zstd_of(text), lzo_of(repeated),
                               lzo_of("\0\0\x02"s + some_text(275) + "\x11\0\0"s)};
  for (unsigned round = 0; round < 20'000; ++round) {
    const unsigned which = round % 4;
    std::string packed = seeds[which];
    for (unsigned change = 1 + random() % 3; change > 0; --change) {
      packed[random() % packed.size()] = static_cast<char>(random());
    }
    packed.resize(random() % 8 == 0 ? random() % packed.size() : packed.size());
    unpacked(which == 0   ? encoding::zlib
             : which == 1 ? encoding::zstd
                          : encoding::lzo_4k,
             packed, random() % 10'000);
  }
}

BOOST_AUTO_TEST_SUITE_END()
