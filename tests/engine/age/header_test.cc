#include "engine/age/header.hh"

#include "engine/age/passphrase.hh"
#include "engine/age/sealed_file.hh"
#include "engine/age/x25519.hh"
#include "tests/engine/age/support.hh"

#include <algorithm>
#include <array>

using namespace bts3;
using namespace bts3::age;
using namespace bts3::age::testing;

namespace {

file_key key_of(std::uint64_t seed) {
  file_key made;
  require(fill_random(seeded(seed), made.writable()));
  return made;
}

stanza of_body(std::size_t size) {
  stanza made;
  made.arguments = {"example.com/type", "a", "!~"};
  made.body = random_bytes(size, size + 1);
  return made;
}

const std::string document_header =
    "age-encryption.org/v1\n"
    "-> X25519 XEl0dJ6y3C7KZkgmgWUicg63EyXJiwBJW8PdYJ/cYBE\n"
    "qRS0AMjdjPvZ/WT08U2KL4G+PIooA3hy38SvLpvaC1E\n"
    "--- HK2NmOBN9Dpq0Gw6xMCuhFcQlQLvZ/wQUi/2scLG75s\n";

// What is as it was is opened; each change is refused in one of the ways that it may be.
bool is_refused(const bytes& file, const x25519_identity& by) {
  const auto opened = open_file(file, std::span(&by, 1));
  if (opened) {
    return false;
  }
  const fault what = fault_in(opened);
  return what == fault::header || what == fault::mac || what == fault::no_match ||
         what == fault::payload;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(age_header)

BOOST_AUTO_TEST_CASE(the_header_of_the_document_is_read_and_written_again) {
  const auto read = value_of(read_header(bytes_of(document_header + "what follows")));
  BOOST_REQUIRE(read.stanzas.size() == 1U);
  BOOST_TEST(read.stanzas[0].type() == "X25519");
  BOOST_TEST(read.stanzas[0].body.size() == 32U);
  BOOST_TEST(read.bytes == document_header.size());
  BOOST_TEST(read.covered == document_header.find("---") + 3);
  BOOST_TEST("age-encryption.org/v1\n" + read.stanzas[0].text() ==
             document_header.substr(0, document_header.find("---")));
}

BOOST_AUTO_TEST_CASE(bodies_of_every_length_come_back) {
  const file_key key = key_of(1);
  for (std::size_t size = 0; size < 200; ++size) {
    const std::vector<stanza> stanzas{of_body(size), of_body(0), of_body(size / 2)};
    const std::string text = value_of(write_header(stanzas, key));
    const auto read = value_of(read_header(bytes_of(text)));
    BOOST_TEST((read.stanzas == stanzas));
    BOOST_TEST(read.bytes == text.size());
    require(check_header(read, bytes_of(text), key));
    BOOST_TEST(fault_in(check_header(read, bytes_of(text), key_of(2))) == fault::mac);
  }
}

BOOST_AUTO_TEST_CASE(a_header_that_is_cut_is_refused_wherever) {
  for (std::size_t size = 0; size < document_header.size(); ++size) {
    BOOST_TEST(fault_in(read_header(bytes_of(document_header.substr(0, size)))) == fault::header);
  }
}

BOOST_AUTO_TEST_CASE(no_header_is_read_beyond_its_limit) {
  std::string endless = "age-encryption.org/v1\n-> a\n";
  for (int line = 0; line < 2000; ++line) {
    endless += std::string(64, 'A') + "\n";
  }
  endless += "\n" + document_header.substr(document_header.find("---"));
  BOOST_TEST(fault_in(read_header(bytes_of(endless))) == fault::header);
  std::string many = "age-encryption.org/v1\n";
  while (many.size() <= header_bytes_max) {
    many += "-> a\n\n";
  }
  many += document_header.substr(document_header.find("---"));
  BOOST_TEST(fault_in(read_header(bytes_of(many))) == fault::header);
}

BOOST_AUTO_TEST_CASE(another_version_is_told_from_another_file) {
  const auto newer = read_header(bytes_of("age-encryption.org/v2\n"));
  BOOST_TEST(fault_in(newer) == fault::header);
  BOOST_TEST(newer.error().message.find("version") != std::string::npos);
  const auto other = read_header(bytes_of("btrfs-stream"));
  BOOST_TEST(fault_in(other) == fault::header);
  BOOST_TEST(other.error().message.find("not an age file") != std::string::npos);
}

// Every bit of a small file: header, stanza, MAC, nonce and segment.
BOOST_AUTO_TEST_CASE(a_flipped_bit_anywhere_is_refused) {
  const auto identity = value_of(x25519_identity::generate(seeded(3)));
  const bytes file =
      value_of(seal_file(bytes_of("a text"), std::array{identity.recipient()}, seeded(4)));
  BOOST_TEST((value_of(open_file(file, std::span(&identity, 1))) == "a text"));
  for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
    bytes changed = file;
    changed[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    BOOST_TEST(is_refused(changed, identity), "bit " << bit);
  }
  for (std::size_t size = 0; size < file.size(); ++size) {
    BOOST_TEST(is_refused(bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)),
                          identity));
  }
  for (const std::byte more : {std::byte{0}, std::byte{'\n'}}) {
    bytes longer = file;
    longer.push_back(more);
    BOOST_TEST(is_refused(longer, identity));
  }
}

BOOST_AUTO_TEST_CASE(stanzas_that_are_not_known_are_passed_over) {
  const auto identity = value_of(x25519_identity::generate(seeded(5)));
  const file_key key = key_of(6);
  const stanza ours = value_of(identity.recipient().wrap(key, seeded(7)));
  const std::string text = value_of(write_header({of_body(70), ours, of_body(3)}, key));
  const auto opened = value_of(open_header(bytes_of(text), std::span(&identity, 1)));
  BOOST_TEST(same_bytes(opened.key.view(), key.view()));
  const auto other = value_of(x25519_identity::generate(seeded(8)));
  BOOST_TEST(fault_in(open_header(bytes_of(text), std::span(&other, 1))) == fault::no_match);
  // An exchange of stanzas keeps their bytes, and the MAC notices.
  const std::string turned = value_of(write_header({of_body(3), ours, of_body(70)}, key));
  const std::string mixed = turned.substr(0, turned.find("--- ")) + text.substr(text.find("--- "));
  BOOST_TEST(fault_in(open_header(bytes_of(mixed), std::span(&identity, 1))) == fault::mac);
}

BOOST_AUTO_TEST_CASE(each_wrapping_is_fresh) {
  const auto identity = value_of(x25519_identity::generate(seeded(9)));
  const file_key key = key_of(10);
  const auto random = seeded(11);
  const stanza one = value_of(identity.recipient().wrap(key, random));
  const stanza other = value_of(identity.recipient().wrap(key, random));
  BOOST_TEST(one.arguments[1] != other.arguments[1]);
  BOOST_TEST((one.body != other.body));
  for (const stanza& each : {one, other}) {
    auto found = value_of(identity.unwrap(each));
    BOOST_REQUIRE(found.has_value());
    BOOST_TEST(same_bytes(found->view(), key.view()));
  }
}

BOOST_AUTO_TEST_CASE(nothing_is_wrapped_without_random_bytes_or_for_nobody) {
  const auto identity = value_of(x25519_identity::generate(seeded(12)));
  const file_key key = key_of(13);
  const random_source none = [](std::span<std::byte>) { return false; };
  BOOST_TEST(fault_in(identity.recipient().wrap(key, none)) == fault::random);
  BOOST_TEST(fault_in(x25519_identity::generate(none)) == fault::random);
  BOOST_TEST(fault_in(wrap_with_passphrase(key, "secret", none, 1)) == fault::random);
  BOOST_TEST(fault_in(x25519_recipient(curve_point{}).wrap(key, seeded(14))) == fault::key);
  BOOST_TEST(fault_in(seal_file({}, {}, seeded(15))) == fault::key);
  // At each of the times that it is asked.
  int asked = 0;
  for (int good = 0; good < 10; ++good) {
    int left = good;
    const random_source fails_later = [&, real = seeded(16)](std::span<std::byte> to) {
      return left-- > 0 && real(to);
    };
    const auto made = seal_file(bytes_of("x"), std::array{identity.recipient()}, fails_later);
    if (made) {
      asked = good;
      break;
    }
    BOOST_TEST(fault_in(made) == fault::random);
  }
  BOOST_TEST(asked == 3);  // file key, ephemeral key, nonce of the payload
}

BOOST_AUTO_TEST_CASE(a_passphrase_is_the_only_way_into_its_file) {
  const bytes file = value_of(seal_file_with_passphrase(bytes_of("text"), "secret", seeded(17), 4));
  BOOST_TEST((value_of(open_file_with_passphrase(file, "secret")) == "text"));
  BOOST_TEST(value_of(wants_passphrase(file)));
  BOOST_TEST(fault_in(open_file_with_passphrase(file, "secre")) == fault::no_match);
  const auto identity = value_of(x25519_identity::generate(seeded(18)));
  BOOST_TEST(fault_in(open_file(file, std::span(&identity, 1))) == fault::no_match);
  const bytes other =
      value_of(seal_file(bytes_of("a text"), std::array{identity.recipient()}, seeded(4)));
  BOOST_TEST(!value_of(wants_passphrase(other)));
  BOOST_TEST(fault_in(open_file_with_passphrase(other, "secret")) == fault::no_match);
  BOOST_TEST(fault_in(seal_file_with_passphrase({}, "", seeded(17), 4)) == fault::key);
  // Beside another stanza it is refused, whoever asks.
  const file_key key = key_of(19);
  const stanza with = value_of(wrap_with_passphrase(key, "secret", seeded(20), 4));
  const std::string both =
      value_of(write_header({with, value_of(identity.recipient().wrap(key, seeded(21)))}, key));
  BOOST_TEST(fault_in(open_header(bytes_of(both), std::span(&identity, 1))) == fault::header);
  BOOST_TEST(fault_in(open_header_with_passphrase(bytes_of(both), "secret")) == fault::header);
}

BOOST_AUTO_TEST_CASE(too_much_work_for_a_passphrase_is_refused_before_it_is_done) {
  stanza with = value_of(wrap_with_passphrase(key_of(22), "secret", seeded(23), 4));
  BOOST_TEST(value_of(unwrap_with_passphrase(with, "secret")).has_value());
  BOOST_TEST(value_of(unwrap_with_passphrase(with, "secret", 4)).has_value());
  BOOST_TEST(fault_in(unwrap_with_passphrase(with, "secret", 3)) == fault::header);
  for (const char* const work : {"21", "63", "64", "4294967296", "99999999999999999999"}) {
    with.arguments[2] = work;
    const auto refused = unwrap_with_passphrase(with, "secret");
    BOOST_TEST(fault_in(refused) == fault::header);
  }
}

BOOST_AUTO_TEST_CASE(what_is_not_small_is_neither_sealed_nor_opened_whole) {
  const auto identity = value_of(x25519_identity::generate(seeded(30)));
  const bytes plain(small_plain_bytes_max + 1);
  const std::array to{identity.recipient()};
  BOOST_TEST(fault_in(seal_file(plain, to, seeded(31))) == fault::payload);
  BOOST_TEST(fault_in(seal_file_with_passphrase(plain, "x", seeded(31), 1)) == fault::payload);
  const auto whole = std::span(plain).first(small_plain_bytes_max);
  bytes file = value_of(seal_file(whole, to, seeded(32)));
  BOOST_TEST(value_of(open_file(file, std::span(&identity, 1))).size() == whole.size());
  file.resize(file.size() + segment_bytes);
  BOOST_TEST(fault_in(open_file(file, std::span(&identity, 1))) == fault::payload);
  BOOST_TEST(fault_in(wants_passphrase(bytes_of("x"))) == fault::header);
  BOOST_TEST(fault_in(wants_passphrase(bytes_of("-----BEGIN AGE ENCRYPTED FILE-----\nx"))) ==
             fault::armor);
  const random_source none = [](std::span<std::byte>) { return false; };
  BOOST_TEST(fault_in(seal_file_with_passphrase({}, "x", none, 1)) == fault::random);
}

BOOST_AUTO_TEST_CASE(files_are_for_each_of_many_recipients) {
  std::vector<x25519_identity> identities;
  std::vector<x25519_recipient> recipients;
  for (std::uint64_t seed = 100; seed < 100 + recipients_max; ++seed) {
    identities.push_back(value_of(x25519_identity::generate(seeded(seed))));
    recipients.push_back(identities.back().recipient());
  }
  const bytes file = value_of(seal_file(bytes_of("text"), recipients, seeded(24)));
  for (const std::size_t which : {std::size_t{0}, recipients_max / 2, recipients_max - 1}) {
    BOOST_TEST((value_of(open_file(file, std::span(&identities[which], 1))) == "text"));
  }
  recipients.push_back(recipients.front());
  BOOST_TEST(fault_in(seal_file(bytes_of("text"), recipients, seeded(24))) == fault::key);
}

BOOST_AUTO_TEST_SUITE_END()
