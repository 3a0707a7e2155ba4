#include "app/secrets/recipients.hh"

#include "tests/app/secrets/key_place.hh"

using namespace bts3;
using namespace bts3::app;
using bts3::testing::key_place;

namespace {

std::string recipient(std::uint64_t seed) {
  return age::testing::value_of(age::x25519_identity::generate(age::testing::seeded(seed)))
      .recipient()
      .text();
}

std::string refusal(const std::vector<std::string>& listed, const std::string& file) {
  const auto outcome = read_recipients(listed, "encryption.recipients", file);
  BOOST_REQUIRE_MESSAGE(!outcome.has_value(), "it was not refused");
  BOOST_TEST((outcome.error().why == engine::reason::configuration));
  return outcome.error().text();
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(recipients_of_people)

BOOST_AUTO_TEST_CASE(list_and_file_are_one_and_each_counts_once) {
  const key_place here;
  const std::string file =
      here.write("list", "# of the office\n\n" + recipient(2) + "\r\n" + recipient(3) + "\n", 0644);
  const auto found = read_recipients({recipient(1), recipient(2)}, "encryption.recipients", file);
  BOOST_REQUIRE(found.has_value());
  BOOST_REQUIRE(found->size() == 3U);
  BOOST_TEST((*found)[0].text() == recipient(1));
  BOOST_TEST((*found)[2].text() == recipient(3));
  const auto none = read_recipients({}, "encryption.recipients", "");
  BOOST_TEST((none.has_value() && none->empty()));
}

BOOST_AUTO_TEST_CASE(a_bad_one_is_named_by_its_place) {
  const key_place here;
  BOOST_TEST(has(refusal({recipient(1), "age1xyz"}, ""), "encryption.recipients[2]: recipient"));
  const std::string file = here.write("list", "# one\n" + recipient(1) + "\nnonsense\n");
  BOOST_TEST(has(refusal({}, file), file + ": line 3: "));
  BOOST_TEST(has(refusal({}, here.write("empty", "# none\n")), "there is no recipient"));
  BOOST_TEST(has(refusal({}, here / "missing"), here / "missing"));
  BOOST_TEST(has(refusal({}, here.write("open", recipient(1), 0666)), "others can write to"));
}

BOOST_AUTO_TEST_CASE(keys_of_other_kinds_are_refused_with_what_they_are) {
  BOOST_TEST(has(refusal({"age1pq1" + std::string(1900, 'q')}, ""), "OpenSSL 3.5"));
  BOOST_TEST(has(refusal({"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"}, ""), "a key of SSH"));
  BOOST_TEST(has(refusal({"age1yubikey1qwerty"}, ""), "plugin"));
  const std::string secret(
      age::testing::value_of(age::x25519_identity::generate(age::testing::seeded(5)))
          .text()
          .view());
  const std::string said = refusal({secret}, "");
  BOOST_TEST(has(said, "secret identity"));
  BOOST_TEST(!has(said, secret.substr(20, 20)));
}

BOOST_AUTO_TEST_SUITE_END()
