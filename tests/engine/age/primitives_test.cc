// Published vectors of what everything else is made of.
#include "engine/age/primitives.hh"

#include "engine/age/base64.hh"
#include "engine/age/hex.hh"
#include "engine/age/plain_fingerprint.hh"
#include "tests/engine/age/support.hh"

using namespace bts3;
using namespace bts3::age;
using namespace bts3::age::testing;

BOOST_AUTO_TEST_SUITE(primitives)

BOOST_AUTO_TEST_CASE(hkdf_gives_what_rfc_5869_says) {
  const bytes input(22, std::byte{0x0b});
  const bytes info = from_hex("f0f1f2f3f4f5f6f7f8f9");
  const auto first =
      value_of(hkdf_sha256(input, from_hex("000102030405060708090a0b0c"), text_of(info)));
  BOOST_TEST(hex_of(first.view()) ==
             "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
  const auto without = value_of(hkdf_sha256(input, {}, ""));
  BOOST_TEST(hex_of(without.view()) ==
             "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
}

BOOST_AUTO_TEST_CASE(x25519_gives_what_rfc_7748_says) {
  const bytes alice = from_hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
  const bytes bob = from_hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
  const curve_point of_bob = value_of(x25519_point(fixed<32>(bob)));
  BOOST_TEST(hex_of(of_bob) == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  const curve_point of_alice = value_of(x25519_point(fixed<32>(alice)));
  BOOST_TEST(hex_of(of_alice) ==
             "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  const auto one = value_of(x25519_shared(fixed<32>(alice), of_bob));
  const auto other = value_of(x25519_shared(fixed<32>(bob), of_alice));
  BOOST_TEST(hex_of(one.view()) ==
             "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
  BOOST_TEST(same_bytes(one.view(), other.view()));
}

// Points of small order: RFC 7748 section 6.1, https://cr.yp.to/ecdh.html.
BOOST_AUTO_TEST_CASE(x25519_refuses_points_that_give_nothing) {
  const bytes secret = random_bytes(32, 7);
  for (const char* const text :
       {"0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"}) {
    const bytes other = from_hex(text);
    BOOST_TEST(fault_in(x25519_shared(fixed<32>(secret), fixed<32>(other))) == fault::header);
  }
}

BOOST_AUTO_TEST_CASE(scrypt_gives_what_rfc_7914_says) {
  const auto found = value_of(scrypt("pleaseletmein", bytes_of("SodiumChloride"), 14));
  BOOST_TEST(hex_of(found.view()) ==
             "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
}

BOOST_AUTO_TEST_CASE(hmac_gives_what_rfc_4231_says) {
  // Test case 1: the key there has 20 bytes, and zeros behind it change nothing.
  bytes key(20, std::byte{0x0b});
  key.resize(32);
  const auto found = value_of(hmac_sha256(fixed<32>(key), bytes_of("Hi There")));
  BOOST_TEST(hex_of(found) == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
}

BOOST_AUTO_TEST_CASE(ed25519_gives_what_rfc_8032_says) {
  struct row {
    const char* seed;
    const char* key;
    const char* message;
    const char* signature;
  };
  const row rows[] = {{"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                       "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
                       "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a"
                       "33bacc61e39701cf9"
                       "b46bd25bf5f0595bbe24655141438e7a100b"},
                      {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                       "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
                       "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e1"
                       "5996e458f3613d0f1"
                       "1d8c387b2eaeb4302aeeb00d291612bb0c00"},
                      {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                       "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
                       "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d1"
                       "6f290ae67f760984d"
                       "c6594a7c15e9716ed28dc027beceea1ec40a"}};
  for (const row& one : rows) {
    const bytes seed = from_hex(one.seed);
    const bytes message = from_hex(one.message);
    const curve_point key = value_of(ed25519_point(fixed<32>(seed)));
    BOOST_TEST(hex_of(key) == one.key);
    auto signature = value_of(ed25519_sign(fixed<32>(seed), message));
    BOOST_TEST(hex_of(signature) == one.signature);
    BOOST_TEST(value_of(ed25519_verify(key, signature, message)));
    for (std::size_t bit = 0; bit < 8 * signature.size(); ++bit) {
      auto changed = signature;
      changed.at(bit / 8) ^= static_cast<std::byte>(1U << bit % 8);
      BOOST_TEST(!value_of(ed25519_verify(key, changed, message)));
    }
    bytes other = message;
    other.push_back(std::byte{0});
    BOOST_TEST(!value_of(ed25519_verify(key, signature, other)));
  }
}

// RFC 8439 section 2.5.2.
BOOST_AUTO_TEST_CASE(poly1305_gives_what_rfc_8439_says) {
  const std::string key = "85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b";
  const auto known = recorded_fingerprint::parse(key + "a8061dc1305136c6c22b8baf0c0127a9");
  BOOST_REQUIRE(known.has_value());
  auto made = value_of(plain_fingerprint::like(*known));
  require(made.update(bytes_of("Cryptographic Forum ")));
  require(made.update(bytes_of("Research Group")));
  BOOST_TEST((value_of(made.finish()) == *known));
}

// RFC 4648 section 10, and what its section 3.5 forbids.
BOOST_AUTO_TEST_CASE(base64_has_one_text_for_some_bytes) {
  const std::pair<std::string, std::string> rows[] = {{"", ""},
                                                      {"f", "Zg=="},
                                                      {"fo", "Zm8="},
                                                      {"foo", "Zm9v"},
                                                      {"foob", "Zm9vYg=="},
                                                      {"fooba", "Zm9vYmE="},
                                                      {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : rows) {
    BOOST_TEST(base64_encode(bytes_of(plain), padding::filled) == text);
    const std::string brief = text.substr(0, text.find('='));
    BOOST_TEST(base64_encode(bytes_of(plain), padding::none) == brief);
    BOOST_TEST(base64_size(plain.size(), padding::filled) == text.size());
    BOOST_TEST(base64_size(plain.size(), padding::none) == brief.size());
    BOOST_TEST(text_of(base64_decode(text, padding::filled).value()) == plain);
    BOOST_TEST(text_of(base64_decode(brief, padding::none).value()) == plain);
    BOOST_TEST((base64_decode_secret(text, padding::filled).value() == plain));
    if (brief != text) {
      BOOST_TEST(!base64_decode(text, padding::none).has_value());
      BOOST_TEST(!base64_decode(brief, padding::filled).has_value());
    }
  }
  for (const char* const text :
       {"Zh", "Zm9", "Z", "Zm9v\n", " Zm9v", "Zm9v=", "Zm-v", "Zm_v", "Zg="}) {
    BOOST_TEST(!base64_decode(text, padding::none).has_value(), text);
  }
  for (const char* const text : {"Zh==", "Zm9=", "====", "Z===", "Zg=a", "Zg==Zg==", "=Zg="}) {
    BOOST_TEST(!base64_decode(text, padding::filled).has_value(), text);
  }
}

BOOST_AUTO_TEST_CASE(a_random_source_that_fails_is_an_error) {
  bytes to(32, std::byte{9});
  BOOST_TEST(fault_in(fill_random([](std::span<std::byte>) { return false; }, to)) ==
             fault::random);
  BOOST_TEST((to == bytes(32)));
  BOOST_TEST(fault_in(fill_random({}, to)) == fault::random);
  // One that says that it has, and has not.
  bytes zeros(32);
  BOOST_TEST(fault_in(fill_random([](std::span<std::byte>) { return true; }, zeros)) ==
             fault::random);
  bytes one(32);
  bytes two(32);
  require(fill_random(system_random(), one));
  require(fill_random(system_random(), two));
  BOOST_TEST((one != two));
}

BOOST_AUTO_TEST_SUITE_END()
