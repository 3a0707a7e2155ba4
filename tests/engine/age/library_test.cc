// An OpenSSL that refuses everything: its configuration allows FIPS's algorithms alone, and it has
// no provider of these. Each call says so; none goes on without.
#include "engine/age/backup_keys.hh"
#include "engine/age/passphrase.hh"
#include "engine/age/plain_fingerprint.hh"
#include "engine/age/primitives.hh"
#include "engine/age/sealed_file.hh"
#include "engine/age/sealed_part.hh"
#include "engine/age/ssh_key.hh"
#include "engine/age/ssh_signature.hh"
#include "tests/engine/age/ssh_key_file.hh"
#include "tests/engine/age/support.hh"

#include <openssl/evp.h>

#include <array>

using namespace bts3;
using namespace bts3::age;
using namespace bts3::age::testing;

namespace {

class refusing_library {
 public:
  refusing_library() { BOOST_REQUIRE(::EVP_set_default_properties(nullptr, "fips=yes") == 1); }
  ~refusing_library() { BOOST_TEST(::EVP_set_default_properties(nullptr, "") == 1); }
  refusing_library(const refusing_library&) = delete;
  refusing_library& operator=(const refusing_library&) = delete;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(library)

BOOST_AUTO_TEST_CASE(primitives_that_are_refused_say_so) {
  const bytes key = random_bytes(32, 1);
  const curve_point other = value_of(x25519_point(fixed<32>(key)));
  const refusing_library from_now_on;
  BOOST_TEST(fault_in(hkdf_sha256(key, {}, "x")) == fault::library);
  BOOST_TEST(fault_in(hmac_sha256(fixed<32>(key), key)) == fault::library);
  BOOST_TEST(fault_in(x25519_point(fixed<32>(key))) == fault::library);
  BOOST_TEST(fault_in(x25519_shared(fixed<32>(key), other)) == fault::library);
  BOOST_TEST(fault_in(scrypt("x", key, 1)) == fault::library);
  BOOST_TEST(fault_in(sha256(key)) == fault::library);
  BOOST_TEST(fault_in(sha512(key)) == fault::library);
  BOOST_TEST(fault_in(ed25519_point(fixed<32>(key))) == fault::library);
  BOOST_TEST(fault_in(ed25519_sign(fixed<32>(key), key)) == fault::library);
  BOOST_TEST(fault_in(ed25519_verify(fixed<32>(key), {}, key)) == fault::library);
  BOOST_TEST(fault_in(aead::sealing(fixed<32>(key))) == fault::library);
  BOOST_TEST(fault_in(aead::opening(fixed<32>(key))) == fault::library);
  const auto refused = sha256(key);
  BOOST_TEST(refused.error().message.starts_with("OpenSSL refused a digest: "));
  BOOST_TEST(refused.error().remedy.find("FIPS") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(nothing_is_sealed_opened_or_signed_without_the_library) {
  const auto user = value_of(x25519_identity::generate(seeded(1)));
  const std::string secret(user.text().view());
  const std::array to{user.recipient()};
  const bytes file = value_of(seal_file(bytes_of("x"), to, seeded(2)));
  const bytes locked = value_of(seal_file_with_passphrase(bytes_of("x"), "y", seeded(2), 1));
  const new_backup backup = value_of(make_backup_keys(to, seeded(3)));
  const part_sealer sealer = backup.sealer(seeded(4));
  bytes slot(part_sealed_bytes(5));
  auto part = value_of(sealer.begin(1, 1, 0));
  require(part.seal(std::span(slot).subspan(part_segments_at), 5, true));
  const part_opener opener(
      value_of(open_backup_keys(backup.keys_object, std::span(&user, 1), backup.id)));
  const ssh_public_key its(user.recipient().public_point());
  file_key key;
  require(fill_random(seeded(5), key.writable()));
  const stanza wrapped = value_of(user.recipient().wrap(key, seeded(6)));

  const auto signing = value_of(ssh_private_key::parse(ssh_key_file(9)));
  const std::string signature = value_of(sign_message(signing, bytes_of("x"), signature_namespace));

  const refusing_library from_now_on;
  BOOST_TEST(fault_in(sign_message(signing, bytes_of("x"), signature_namespace)) == fault::library);
  BOOST_TEST(fault_in(verify_message(signature, bytes_of("x"), signature_namespace, {}, {})) ==
             fault::library);
  BOOST_TEST(fault_in(x25519_identity::generate(seeded(1))) == fault::library);
  BOOST_TEST(fault_in(x25519_identity::parse(secret)) == fault::library);
  BOOST_TEST(fault_in(user.recipient().wrap(key, seeded(6))) == fault::library);
  BOOST_TEST(fault_in(user.unwrap(wrapped)) == fault::library);
  BOOST_TEST(fault_in(write_header({wrapped}, key)) == fault::library);
  BOOST_TEST(fault_in(wrap_with_passphrase(key, "y", seeded(7), 1)) == fault::library);
  BOOST_TEST(fault_in(seal_file(bytes_of("x"), to, seeded(2))) == fault::library);
  BOOST_TEST(fault_in(seal_file_with_passphrase({}, "y", seeded(2), 1)) == fault::library);
  BOOST_TEST(fault_in(open_file(file, std::span(&user, 1))) == fault::library);
  BOOST_TEST(fault_in(open_file_with_passphrase(locked, "y")) == fault::library);
  BOOST_TEST(fault_in(stream_sealer::make(key, {})) == fault::library);
  BOOST_TEST(fault_in(stream_opener::make(key, {})) == fault::library);
  BOOST_TEST(fault_in(make_backup_keys(to, seeded(3))) == fault::library);
  BOOST_TEST(fault_in(sealer.begin(1, 2, 5)) == fault::library);
  BOOST_TEST(fault_in(part.write_header(std::span(slot).first<part_segments_at>())) ==
             fault::library);
  BOOST_TEST(fault_in(plain_fingerprint::fresh(seeded(8))) == fault::library);
  BOOST_TEST(fault_in(its.fingerprint()) == fault::library);
}

BOOST_AUTO_TEST_SUITE_END()
