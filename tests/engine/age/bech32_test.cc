// The vectors of BIP 173, and keys in that form.
#include "engine/age/bech32.hh"

#include "engine/age/x25519.hh"
#include "tests/engine/age/support.hh"

#include <algorithm>
#include <cctype>

using namespace bts3;
using namespace bts3::age;
using namespace bts3::age::testing;

namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char one) { return std::tolower(one); });
  return text;
}

// C2SP age.md, "The X25519 recipient type".
const std::string identity_of_the_document =
    "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
const std::string recipient_of_the_document =
    "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

}  // namespace

BOOST_AUTO_TEST_SUITE(bech32)

BOOST_AUTO_TEST_CASE(what_the_standard_calls_valid_is_read_and_written_again) {
  const std::vector<std::string> valid{
      "A12UEL5L",
      "a12uel5l",
      "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
      "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
      "11" + std::string(82, 'q') + "c8247j",
      "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
      "?1ezyfcl"};
  for (const std::string& text : valid) {
    const auto read = bech32_decode(text);
    BOOST_REQUIRE_MESSAGE(read.has_value(), text);
    BOOST_TEST(read->prefix == text.substr(0, text.rfind('1')));
    const std::string again(bech32_encode(read->prefix, read->data.bytes()).view());
    BOOST_TEST(again == text);
    // Written in the other case it is the same, and in both cases it is nothing.
    const auto small = bech32_decode(lower(text));
    BOOST_REQUIRE(small.has_value());
    BOOST_TEST((small->data == read->data));
  }
}

BOOST_AUTO_TEST_CASE(what_the_standard_calls_invalid_is_refused) {
  const std::vector<std::string> invalid{
      "\x20"
      "1nwldj5",
      "\x7f"
      "1axkwrx",
      "\x80"
      "1eym55h",
      "an84characterslonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1569pvx",
      "pzry9x0s0muk",
      "1pzry9x0s0muk",
      "x1b4n0q5v",
      "li1dgmt3",
      "de1lg7wt\xff",
      "A1G7SGD8",
      "10a06t8",
      "1qzzfhee",
      "A12UEl5L",  // both cases
      "A1LQFN3A",  // Bech32m
      "",
      "1",
      "a1"};
  for (const std::string& text : invalid) {
    BOOST_TEST(!bech32_decode(text).has_value(), text);
  }
}

BOOST_AUTO_TEST_CASE(every_changed_character_is_noticed) {
  const std::string text = recipient_of_the_document;
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (const char other : {'q', 'p', '1', 'b', 'A', ' ', '\0'}) {
      std::string changed = text;
      if (changed[at] == other) {
        continue;
      }
      changed[at] = other;
      BOOST_TEST(!bech32_decode(changed).has_value(), changed);
    }
  }
  for (std::size_t size = 0; size < text.size(); ++size) {
    BOOST_TEST(!bech32_decode(text.substr(0, size)).has_value());
  }
}

BOOST_AUTO_TEST_CASE(left_over_bits_must_be_zero_and_few) {
  // Bytes are groups of five bits with up to four zero bits behind: of 53 groups for 32 bytes, the
  // last has four. A text with other bits there has a right checksum all the same.
  const auto with_groups = [](const std::vector<unsigned>& groups) {
    // A checksum that is found by trying would take long: it is computed as BIP 173 says.
    constexpr std::string_view alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    std::vector<unsigned> values{3, 3, 3, 0, 1, 7, 5};  // "age"
    values.insert(values.end(), groups.begin(), groups.end());
    values.insert(values.end(), 6, 0);
    unsigned state = 1;
    for (const unsigned value : values) {
      const unsigned top = state >> 25U;
      state = (state & 0x1ffffffU) << 5U ^ value;
      for (unsigned bit = 0; bit < 5; ++bit) {
        constexpr unsigned generator[5] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd,
                                           0x2a1462b3};
        state ^= (top >> bit & 1U) != 0 ? generator[bit] : 0;
      }
    }
    state ^= 1U;
    std::string text = "age1";
    for (const unsigned group : groups) {
      text += alphabet[group];
    }
    for (unsigned index = 0; index < 6; ++index) {
      text += alphabet[state >> (5 * (5 - index)) & 31U];
    }
    return text;
  };
  BOOST_TEST(bech32_decode(with_groups({1, 4})).has_value());      // 8 bits and 2 zero bits
  BOOST_TEST(!bech32_decode(with_groups({1, 5})).has_value());     // 8 bits and 01
  BOOST_TEST(!bech32_decode(with_groups({1, 4, 0})).has_value());  // 7 left over
  BOOST_TEST(!bech32_decode(with_groups({0})).has_value());        // 5 left over
  BOOST_TEST(bech32_decode(with_groups({})).has_value());
}

BOOST_AUTO_TEST_CASE(keys_of_the_document_are_each_others) {
  const auto identity = value_of(x25519_identity::parse(identity_of_the_document));
  BOOST_TEST(identity.recipient().text() == recipient_of_the_document);
  BOOST_TEST((identity.text() == identity_of_the_document));
  const auto recipient = value_of(x25519_recipient::parse(recipient_of_the_document));
  BOOST_TEST((recipient == identity.recipient()));
}

BOOST_AUTO_TEST_CASE(other_recipients_are_refused_with_what_they_are) {
  const std::vector<std::pair<std::string, std::string>> refused{
      {"age1pq1x34nzsvr0rxjsgdn8zgyhfe8j7ceq5r9rdelkjuh3y235jzxsh", "post-quantum"},
      {"age1tagpq1m3e4wvp6hzcrn9exhy0ae3xfx2sjymp594k3tg7j4dpmj922w", "post-quantum"},
      {"age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", "plugin"},
      {"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM", "SSH"},
      {"age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwk", "misspelt"},
      {recipient_of_the_document.substr(0, 40), "misspelt"},
      {identity_of_the_document, "secret identity"},
      {"github:somebody", "not a recipient"},
      {"", "not a recipient"}};
  for (const auto& [text, word] : refused) {
    const auto read = x25519_recipient::parse(text);
    BOOST_TEST(fault_in(read) == fault::key);
    BOOST_TEST(read.error().message.find(word) != std::string::npos, read.error().text());
    BOOST_TEST(read.error().remedy.find("age1 and 58 more") != std::string::npos);
  }
  // Of a right checksum, and not of 32 bytes.
  const std::string brief(bech32_encode("age", random_bytes(31, 1)).view());
  BOOST_TEST(fault_in(x25519_recipient::parse(brief)) == fault::key);
  const std::string mixed = "Age1" + recipient_of_the_document.substr(4);
  BOOST_TEST(fault_in(x25519_recipient::parse(mixed)) == fault::key);
}

BOOST_AUTO_TEST_CASE(a_refused_recipient_that_is_a_secret_is_not_quoted) {
  for (const std::string& text : {identity_of_the_document, lower(identity_of_the_document)}) {
    const auto read = x25519_recipient::parse(text);
    BOOST_REQUIRE(!read.has_value());
    BOOST_TEST(lower(read.error().text()).find("gfpyysjz") == std::string::npos);
    BOOST_TEST(read.error().message.find("secret identity") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(other_identities_are_refused_and_never_quoted) {
  const std::vector<std::pair<std::string, std::string>> refused{
      {"AGE-SECRET-KEY-PQ-1XX76JRALNLXDMEW0CRK45QMCCH4X06SE84UN3VPM33W6HWDX0H3SK3ZQFR",
       "post-quantum"},
      {"AGE-PLUGIN-YUBIKEY-1QGTYGQJQQ", "plugin"},
      {identity_of_the_document.substr(0, 60), "misspelt"},
      {lower(identity_of_the_document), "not an identity"},  // as age has it
      {recipient_of_the_document, "not an identity"},
      {"-----BEGIN OPENSSH PRIVATE KEY-----", "not an identity"}};
  const std::string brief(bech32_encode("AGE-SECRET-KEY-", random_bytes(31, 1)).view());
  BOOST_TEST(fault_in(x25519_identity::parse(brief)) == fault::key);
  for (const auto& [text, word] : refused) {
    const auto read = x25519_identity::parse(text);
    BOOST_TEST(fault_in(read) == fault::key);
    BOOST_TEST(read.error().message.find(word) != std::string::npos, read.error().text());
    BOOST_TEST(read.error().text().find(text.substr(16, 12)) == std::string::npos);
  }
}

BOOST_AUTO_TEST_SUITE_END()
