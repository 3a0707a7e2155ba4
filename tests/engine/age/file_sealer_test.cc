// Age files made piece by piece are what sealed_file.hh makes in one piece.
#include "engine/age/file_sealer.hh"

#include "engine/age/header.hh"
#include "engine/age/sealed_file.hh"
#include "tests/engine/age/support.hh"

#include <algorithm>
#include <array>
#include <string>

using namespace bts3::age;
using namespace bts3::age::testing;

namespace {

// `plain` in pieces of `piece` bytes.
bytes sealed_in_pieces(const bytes& plain, std::size_t piece, const x25519_recipient& to) {
  bytes file;
  file_sealer sealer = value_of(file_sealer::begin(to, seeded(7), file));
  for (std::size_t at = 0; at < plain.size(); at += piece) {
    require(sealer.update(std::span(plain).subspan(at, std::min(piece, plain.size() - at)), file));
  }
  require(sealer.finish(file));
  return file;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(file_sealer_suite)

BOOST_AUTO_TEST_CASE(a_file_in_pieces_is_the_file_in_one_piece) {
  const x25519_identity identity = value_of(x25519_identity::generate(seeded(1)));
  const std::array to{identity.recipient()};
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, segment_plain_bytes - 1, segment_plain_bytes,
        segment_plain_bytes + 1, 2 * segment_plain_bytes, 3 * segment_plain_bytes + 5}) {
    const bytes plain = random_bytes(size, size);
    const bytes whole = value_of(seal_file(plain, to, seeded(7)));
    for (const std::size_t piece : {std::size_t{1000}, segment_plain_bytes, std::size_t{100'000}}) {
      const bytes file = sealed_in_pieces(plain, piece, identity.recipient());
      BOOST_TEST((file == whole), size << " bytes in pieces of " << piece);
    }
    const auto opened = value_of(open_file(whole, std::span(&identity, 1)));
    BOOST_TEST((opened == text_of(plain)), size);
  }
}

BOOST_AUTO_TEST_CASE(nothing_of_a_segment_comes_out_before_it_is_sealed) {
  const x25519_identity identity = value_of(x25519_identity::generate(seeded(1)));
  bytes file;
  file_sealer sealer = value_of(file_sealer::begin(identity.recipient(), seeded(7), file));
  const std::size_t head = file.size();
  const bytes plain(segment_plain_bytes, std::byte{'p'});
  require(sealer.update(plain, file));
  BOOST_TEST(file.size() == head);  // it may be the last one
  require(sealer.update(std::span(plain).first(1), file));
  BOOST_TEST(file.size() == head + segment_bytes);
  BOOST_TEST(text_of(file).find("pppppppp") == std::string_view::npos);
}

BOOST_AUTO_TEST_CASE(without_randomness_there_is_no_file) {
  const x25519_identity identity = value_of(x25519_identity::generate(seeded(1)));
  for (int calls = 0; calls < 3; ++calls) {
    bytes file;
    const random_source fails = [left = calls](std::span<std::byte> to) mutable {
      std::fill(to.begin(), to.end(), std::byte{1});
      return left-- > 0;
    };
    BOOST_TEST(fault_in(file_sealer::begin(identity.recipient(), fails, file)) == fault::random);
    BOOST_TEST(file.empty());
  }
}

BOOST_AUTO_TEST_SUITE_END()
