// Keys and passphrases that people gave are nowhere in memory once they are not needed:
// tests/support/memory_search.hh looks.
#include "app/secrets/identities.hh"
#include "engine/age/key_files.hh"
#include "engine/age/sealed_file.hh"
#include "tests/app/secrets/key_place.hh"
#include "tests/support/memory_search.hh"

#include <optional>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::key_place;
using bts3::testing::sought;

namespace {

constexpr std::uint64_t key_seed = 71'000;
constexpr std::uint64_t passphrase_seed = 72'000;

char spelt_as_identity(std::uint64_t seed, std::size_t index) {
  unsigned value = 0;
  for (std::size_t bit = 5 * index; bit < 5 * index + 5; ++bit) {
    const auto one = static_cast<unsigned char>(sought::letter(seed, bit / 8));
    value = value << 1U | (one >> (7 - bit % 8) & 1U);
  }
  return "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"[value];
}

const sought key(key_seed, 32);
const sought key_text(key_seed, 51, spelt_as_identity);
const sought passphrase(passphrase_seed);

age::random_source lettered() {
  return [](std::span<std::byte> to) {
    for (std::size_t index = 0; index < to.size(); ++index) {
      to[index] = static_cast<std::byte>(sought::letter(key_seed, index));
    }
    return true;
  };
}

engine::secret_string file_of_key() {
  const auto made = age::testing::value_of(age::x25519_identity::generate(lettered()));
  return age::identity_file(made, {});
}

// Reads it, looks, and lets it go.
void read_and_drop(const key_place& here, const std::string& path) {
  const auto loop = age::testing::value_of(engine::reactor::create());
  bts3::testing::played_environment environment;
  environment.variables[std::string(passphrase_file_variable)] = here / "passphrase";
  std::optional<std::vector<age::x25519_identity>> found = age::testing::value_of(
      loop->run(read_identities(secret_access(*loop, {}, environment), {path})));
  BOOST_REQUIRE(found->size() == 1U);
  BOOST_TEST(key.has_copies(1));
  BOOST_TEST(key_text.has_copies(0));
  BOOST_TEST(passphrase.has_copies(0));
  found.reset();
  BOOST_TEST(key.has_copies(0));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(secrets_wiped)

BOOST_AUTO_TEST_CASE(an_identity_from_a_file_is_in_memory_once_and_then_not_at_all) {
  const key_place here;
  here.write("key", file_of_key().view());
  BOOST_TEST(key_text.has_copies(0));
  read_and_drop(here, here / "key");
}

BOOST_AUTO_TEST_CASE(neither_is_a_sealed_one_nor_its_passphrase) {
  const key_place here;
  {
    std::string words = passphrase.text();
    const engine::wiped afterwards(words);
    const auto sealed = age::testing::value_of(
        age::seal_file_with_passphrase(file_of_key().bytes(), words, age::testing::seeded(9), 10));
    here.write("key", age::text_of(sealed));
    here.write("passphrase", words);
  }
  BOOST_TEST(passphrase.has_copies(0));
  read_and_drop(here, here / "key");
}

BOOST_AUTO_TEST_CASE(the_search_would_see_what_was_left) {
  std::string left = passphrase.text();
  BOOST_TEST(passphrase.has_copies(1));
  engine::wipe(left);
  BOOST_TEST(passphrase.has_copies(0));
}

BOOST_AUTO_TEST_SUITE_END()
