#include "engine/age/key_files.hh"

#include "engine/age/armor.hh"
#include "tests/engine/age/support.hh"

using namespace bts3;
using namespace bts3::age;
using namespace bts3::age::testing;

namespace {

std::string text_of_identity(std::uint64_t seed) {
  return std::string(value_of(x25519_identity::generate(seeded(seed))).text().view());
}
std::string text_of_recipient(std::uint64_t seed) {
  return value_of(x25519_identity::generate(seeded(seed))).recipient().text();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(key_files)

BOOST_AUTO_TEST_CASE(identities_are_read_line_by_line) {
  const std::string file = "# created: 2026-01-02T03:04:05Z\n# public key: age1...\n" +
                           text_of_identity(1) + "\n\n#" + text_of_identity(2) + "\r\n" +
                           text_of_identity(3) + "\r\n" + text_of_identity(4);
  const auto found = value_of(parse_identities(file));
  BOOST_REQUIRE(found.size() == 3U);
  BOOST_TEST(found[0].recipient().text() == text_of_recipient(1));
  BOOST_TEST(found[1].recipient().text() == text_of_recipient(3));
  BOOST_TEST(found[2].recipient().text() == text_of_recipient(4));
}

BOOST_AUTO_TEST_CASE(a_bad_line_is_named_and_not_quoted) {
  const std::string bad = text_of_identity(1).substr(0, 60);
  const auto refused = parse_identities("# one\n" + text_of_identity(2) + "\n" + bad + "\n");
  BOOST_TEST(fault_in(refused) == fault::key);
  BOOST_TEST(refused.error().message.find("line 3") == 0U);
  BOOST_TEST(refused.error().text().find(bad.substr(16, 10)) == std::string::npos);
  BOOST_TEST(fault_in(parse_identities(" " + text_of_identity(2))) == fault::key);
  BOOST_TEST(fault_in(parse_identities("")) == fault::key);
  BOOST_TEST(fault_in(parse_identities("# nothing\n\n")) == fault::key);
}

BOOST_AUTO_TEST_CASE(recipients_are_read_and_each_counts_once) {
  const auto found = value_of(parse_recipients("# of us\n" + text_of_recipient(1) + "\n" +
                                               text_of_recipient(2) + "\n" + text_of_recipient(1)));
  BOOST_TEST(found.size() == 2U);
  const auto refused = parse_recipients(text_of_recipient(1) + "\nssh-ed25519 AAAA\n");
  BOOST_TEST(fault_in(refused) == fault::key);
  BOOST_TEST(refused.error().message.find("line 2") == 0U);
  BOOST_TEST(fault_in(parse_recipients("\n")) == fault::key);
  std::string many;
  for (std::size_t line = 0; line <= keys_in_a_file_max; ++line) {
    many += text_of_recipient(1) + "\n";
  }
  BOOST_TEST(fault_in(parse_recipients(many)) == fault::key);
}

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  const auto one = value_of(x25519_identity::generate(seeded(5)));
  const std::vector<std::string> comments{"created: today"};
  const auto file = identity_file(one, comments);
  BOOST_TEST(file.view().starts_with("# created: today\n# public key: age1"));
  BOOST_TEST(!is_sealed(file.view()));
  const auto found = value_of(parse_identities(file.view()));
  BOOST_REQUIRE(found.size() == 1U);
  BOOST_TEST((found.front().recipient() == one.recipient()));
}

BOOST_AUTO_TEST_CASE(a_file_with_a_passphrase_is_opened_binary_and_armored) {
  const auto one = value_of(x25519_identity::generate(seeded(6)));
  const auto plain = identity_file(one, {});
  const bytes binary = value_of(seal_file_with_passphrase(plain.bytes(), "secret", seeded(7), 5));
  const std::string text = "\n" + armor(binary) + "\n";
  for (const std::string_view file : {text_of(binary), std::string_view(text)}) {
    BOOST_TEST(is_sealed(file));
    BOOST_TEST(value_of(wants_passphrase(bytes_of(file))));
    const auto found = value_of(open_identities(file, "secret"));
    BOOST_REQUIRE(found.size() == 1U);
    BOOST_TEST((found.front().recipient() == one.recipient()));
    BOOST_TEST(fault_in(open_identities(file, "Secret")) == fault::no_match);
  }
}

BOOST_AUTO_TEST_CASE(armor_is_of_one_form) {
  for (std::size_t size = 0; size < 200; ++size) {
    const bytes file = random_bytes(size, size);
    const std::string text = armor(file);
    BOOST_TEST(is_armored(text));
    BOOST_TEST((value_of(unarmor(text)) == file));
    for (std::size_t at = 0; at + 1 < text.size(); ++at) {
      if (size % 16 == 0) {
        BOOST_TEST(fault_in(unarmor(std::string_view(text).substr(0, at))) == fault::armor);
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
