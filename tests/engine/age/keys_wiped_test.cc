// Keys are nowhere in memory once they are not needed: tests/support/memory_search.hh looks.
#include "engine/age/backup_keys.hh"
#include "engine/age/base64.hh"
#include "engine/age/key_files.hh"
#include "engine/age/passphrase.hh"
#include "engine/age/sealed_file.hh"
#include "engine/age/sealed_part.hh"
#include "engine/age/ssh_key.hh"
#include "engine/age/ssh_signature.hh"
#include "tests/engine/age/support.hh"
#include "tests/support/memory_search.hh"

#include <array>
#include <memory>
#include <optional>

using namespace bts3;
using namespace bts3::age;
using namespace bts3::age::testing;
using bts3::testing::sought;

namespace {

// The n-th time that it is asked (from 0), it gives what `sought(first + 100 * n, ...)` looks for:
// those of neighbouring seeds are the same text from another letter on.
random_source lettered(std::uint64_t first) {
  return [next = std::make_shared<std::uint64_t>(first)](std::span<std::byte> to) {
    for (std::size_t index = 0; index < to.size(); ++index) {
      to[index] = static_cast<std::byte>(sought::letter(*next, index));
    }
    *next += 100;
    return true;
  };
}

// What such a key of 32 bytes has behind "AGE-SECRET-KEY-1".
char spelt_as_identity(std::uint64_t seed, std::size_t index) {
  unsigned value = 0;
  for (std::size_t bit = 5 * index; bit < 5 * index + 5; ++bit) {
    const auto one = static_cast<unsigned char>(sought::letter(seed, bit / 8));
    value = value << 1U | (one >> (7 - bit % 8) & 1U);
  }
  return "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"[value];
}

sought key_of(std::uint64_t seed) {
  return sought(seed, 32);
}
sought file_key_of(std::uint64_t seed) {
  return sought(seed, file_key_bytes);
}
sought text_of_key(std::uint64_t seed) {
  return sought(seed, 51, spelt_as_identity);
}

// A key that is derived, kept with each of its bits turned.
std::array<unsigned char, 32> turned_key;

char spelt_as_turned(std::uint64_t, std::size_t index) {
  return static_cast<char>(turned_key.at(index) ^ 0xffU);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(keys_wiped)

BOOST_AUTO_TEST_CASE(an_identity_is_in_memory_once_and_then_not_at_all) {
  constexpr std::uint64_t seed = 1000;
  std::optional<x25519_identity> one(value_of(x25519_identity::generate(lettered(seed))));
  BOOST_TEST(key_of(seed).has_copies(1));
  {
    const engine::secret_string text = one->text();
    BOOST_TEST(text_of_key(seed).has_copies(1));
    const auto again = value_of(x25519_identity::parse(text.view()));
    BOOST_TEST(key_of(seed).has_copies(2));
    BOOST_TEST(text_of_key(seed).has_copies(1));
  }
  BOOST_TEST(text_of_key(seed).has_copies(0));
  BOOST_TEST(key_of(seed).has_copies(1));
  const auto moved = std::make_unique<x25519_identity>(std::move(*one));
  one.reset();
  BOOST_TEST(key_of(seed).has_copies(1));
}

BOOST_AUTO_TEST_CASE(an_identity_that_is_misspelt_is_not_left_either) {
  constexpr std::uint64_t seed = 1050;
  const auto one = value_of(x25519_identity::generate(lettered(seed)));
  const engine::secret_string right = one.text();
  engine::secret_string wrong = right;
  wrong.writable()[70] =
      std::byte{'1'};  // which is not of the alphabet, and looks like the separator
  BOOST_TEST(text_of_key(seed).has_copies(2));
  BOOST_TEST(fault_in(x25519_identity::parse(wrong.view())) == fault::key);
  BOOST_TEST(fault_in(x25519_recipient::parse(wrong.view())) == fault::key);
  BOOST_TEST(text_of_key(seed).has_copies(2));
}

BOOST_AUTO_TEST_CASE(the_search_would_see_an_identity_that_was_left) {
  constexpr std::uint64_t seed = 1100;
  {
    const auto one = value_of(x25519_identity::generate(lettered(seed)));
  }
  BOOST_TEST(key_of(seed).has_copies(0));
  std::string left = key_of(seed).text();
  BOOST_TEST(key_of(seed).has_copies(1));
  engine::wipe(left);
  BOOST_TEST(key_of(seed).has_copies(0));
}

BOOST_AUTO_TEST_CASE(a_new_backups_secret_is_gone_when_its_keys_object_is_made) {
  constexpr std::uint64_t seed = 2000;
  const auto user = value_of(x25519_identity::generate(seeded(1)));
  const new_backup made = value_of(make_backup_keys(std::array{user.recipient()}, lettered(seed)));
  // In this order: the id, the identity, the file key of the object, an ephemeral key, a nonce.
  BOOST_TEST(key_of(seed + 100).has_copies(0));
  BOOST_TEST(text_of_key(seed + 100).has_copies(0));
  BOOST_TEST(file_key_of(seed + 200).has_copies(0));
  BOOST_TEST(key_of(seed + 300).has_copies(0));
  {
    const auto opened = value_of(open_backup_keys(made.keys_object, std::span(&user, 1), made.id));
    BOOST_TEST(key_of(seed + 100).has_copies(1));
    BOOST_TEST(text_of_key(seed + 100).has_copies(0));
    BOOST_TEST(file_key_of(seed + 200).has_copies(0));
  }
  BOOST_TEST(key_of(seed + 100).has_copies(0));
  const auto rewrapped =
      rewrap_backup_keys(made.keys_object, std::span(&user, 1), made.id,
                         std::array{named_recipient(user.recipient(), "SHA256:x")}, seeded(2));
  BOOST_TEST(rewrapped.has_value());
  BOOST_TEST(key_of(seed + 100).has_copies(0));
  BOOST_TEST(text_of_key(seed + 100).has_copies(0));
}

BOOST_AUTO_TEST_CASE(the_key_of_a_part_is_gone_when_it_is_sealed) {
  constexpr std::uint64_t seed = 3000;
  const auto of_backup = value_of(x25519_identity::generate(seeded(3)));
  const backup_id id = value_of(backup_id::make(seeded(4)));
  const part_sealer sealer(of_backup.recipient(), id, lettered(seed));
  bytes slot(part_sealed_bytes(1000));
  {
    auto part = value_of(sealer.begin(1, 1, 0));
    BOOST_TEST(file_key_of(seed).has_copies(1));
    BOOST_TEST(key_of(seed + 200).has_copies(0));  // the ephemeral one
    require(part.seal(std::span(slot).subspan(part_segments_at), 1000, true));
    require(part.write_header(std::span(slot).first<part_segments_at>()));
    BOOST_TEST(file_key_of(seed).has_copies(0));
  }
  BOOST_TEST(file_key_of(seed).has_copies(0));
  const part_opener opener(value_of(x25519_identity::parse(of_backup.text().view())));
  auto opening = value_of(opener.begin(std::span(slot).first<part_segments_at>(), slot.size(),
                                       part_place{id, 1, 1, 0}));
  BOOST_TEST(file_key_of(seed).has_copies(0));
  BOOST_TEST(opening.open(std::span(slot).subspan(part_segments_at), 0).has_value());
}

// OpenSSL has it in memory of its own while segments are sealed, and clears it.
BOOST_AUTO_TEST_CASE(the_key_of_a_payload_is_gone_with_its_part) {
  constexpr std::uint64_t seed = 3500;
  const auto of_backup = value_of(x25519_identity::generate(seeded(3)));
  const part_sealer sealer(of_backup.recipient(), value_of(backup_id::make(seeded(4))),
                           lettered(seed));
  {
    // The first two things that are asked for: the file key and the nonce of the payload.
    const auto random = lettered(seed);
    file_key key;
    payload_nonce nonce{};
    require(fill_random(random, key.writable()));
    require(fill_random(random, nonce));
    const auto derived = value_of(hkdf_sha256(key.view(), nonce, "payload"));
    for (std::size_t index = 0; index < turned_key.size(); ++index) {
      turned_key.at(index) =
          static_cast<unsigned char>(std::to_integer<unsigned>(derived.view()[index]) ^ 0xffU);
    }
  }
  const sought payload_key(0, 32, spelt_as_turned);
  BOOST_TEST(payload_key.has_copies(0));
  bytes slot(part_sealed_bytes(1000));
  {
    auto part = value_of(sealer.begin(1, 1, 0));
    BOOST_TEST(payload_key.has_copies(1));
    require(part.seal(std::span(slot).subspan(part_segments_at), 1000, true));
    BOOST_TEST(payload_key.has_copies(1));
  }
  BOOST_TEST(payload_key.has_copies(0));
}

BOOST_AUTO_TEST_CASE(a_passphrase_is_nowhere_but_with_whoever_gave_it) {
  constexpr std::uint64_t seed = 4000;
  const sought passphrase(seed);
  std::string text = passphrase.text();
  {
    const engine::wiped afterwards(text);
    const bytes file = value_of(seal_file_with_passphrase(bytes_of("x"), text, lettered(4500), 8));
    BOOST_TEST((value_of(open_file_with_passphrase(file, text)) == "x"));
    BOOST_TEST(file_key_of(4500).has_copies(0));
    BOOST_TEST(passphrase.has_copies(1));
  }
  BOOST_TEST(passphrase.has_copies(0));
}

BOOST_AUTO_TEST_CASE(what_was_opened_is_gone_with_its_string) {
  constexpr std::uint64_t seed = 5000;
  const sought secret(seed);
  const auto user = value_of(x25519_identity::generate(seeded(5)));
  bytes file;
  {
    std::string plain = secret.text();
    const engine::wiped afterwards(plain);
    file = value_of(seal_file(bytes_of(plain), std::array{user.recipient()}, seeded(6)));
  }
  BOOST_TEST(secret.has_copies(0));
  {
    const auto opened = value_of(open_file(file, std::span(&user, 1)));
    BOOST_TEST(secret.has_copies(1));
  }
  BOOST_TEST(secret.has_copies(0));
}

BOOST_AUTO_TEST_CASE(a_signing_key_is_gone_with_its_value) {
  constexpr std::uint64_t seed = 6000;
  std::optional<ssh_private_key> key;
  {
    // The file as ssh-keygen writes it, of a seed of letters.
    secret_bytes<32> secret;
    require(fill_random(lettered(seed), secret.writable()));
    const ssh_public_key its(value_of(ed25519_point(secret.view())));
    bytes section;
    section.reserve(1000);
    append_ssh_number(section, 7);
    append_ssh_number(section, 7);
    append_ssh_string(section, bytes_of(ed25519_type));
    append_ssh_string(section, its.public_point());
    append_ssh_number(section, 64);
    section.insert(section.end(), secret.view().begin(), secret.view().end());
    section.insert(section.end(), its.public_point().begin(), its.public_point().end());
    append_ssh_string(section, bytes_of("x"));
    for (unsigned pad = 1; section.size() % 8 != 0; ++pad) {
      section.push_back(static_cast<std::byte>(pad));
    }
    bytes whole;
    whole.reserve(1000);
    const auto magic = bytes_of(std::string_view("openssh-key-v1\0", 15));
    whole.insert(whole.end(), magic.begin(), magic.end());
    append_ssh_string(whole, bytes_of("none"));
    append_ssh_string(whole, bytes_of("none"));
    append_ssh_string(whole, {});
    append_ssh_number(whole, 1);
    append_ssh_string(whole, its.blob());
    append_ssh_string(whole, section);
    std::string body = base64_encode(whole, padding::filled);
    std::string file;
    file.reserve(1000);
    const engine::wiped file_afterwards(file);
    file += "-----BEGIN OPENSSH PRIVATE KEY-----\n";
    file += body;
    file += "\n-----END OPENSSH PRIVATE KEY-----\n";
    key = value_of(ssh_private_key::parse(file));
    engine::wipe(body);
    engine::wipe(section);
    engine::wipe(whole);
  }
  BOOST_TEST(key_of(seed).has_copies(1));
  BOOST_TEST(sign_message(*key, bytes_of("x"), signature_namespace).has_value());
  BOOST_TEST(key_of(seed).has_copies(1));
  key.reset();
  BOOST_TEST(key_of(seed).has_copies(0));
}

BOOST_AUTO_TEST_SUITE_END()
