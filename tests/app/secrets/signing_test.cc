#include "app/secrets/signing.hh"

#include "engine/age/ssh_signature.hh"
#include "tests/app/secrets/key_place.hh"

using namespace bts3;
using namespace bts3::app;
using bts3::testing::key_place;

namespace {

template <typename T>
std::string refusal(const engine::result<T>& outcome) {
  BOOST_REQUIRE_MESSAGE(!outcome.has_value(), "it was not refused");
  BOOST_TEST((outcome.error().why == engine::reason::configuration));
  return outcome.error().text();
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(signing_of_people)

BOOST_AUTO_TEST_CASE(what_ssh_keygen_writes_signs_and_is_trusted) {
  const key_place here;
  here.must(
      "ssh-keygen -q -t ed25519 -N '' -C me@here -f key && (printf '* '; cat key.pub) >signers");
  const auto key = read_signing_key(here / "key");
  BOOST_REQUIRE_MESSAGE(key.has_value(), bts3::testing::error_text(key));
  const auto signature = age::testing::value_of(
      age::sign_message(*key, age::bytes_of("text"), age::signature_namespace));
  here.write("text", "text");
  here.write("text.sig", signature);
  here.must("ssh-keygen -Y verify -f signers -I me -n btrfs_to_s3 -s text.sig <text");
  for (const char* const file : {"signers", "key.pub"}) {
    const auto signers = read_trusted_signers(here / file);
    BOOST_REQUIRE_MESSAGE(signers.has_value(), bts3::testing::error_text(signers));
    BOOST_TEST(age::verify_message(signature, age::bytes_of("text"), age::signature_namespace,
                                   *signers, {})
                   .has_value());
  }
}

BOOST_AUTO_TEST_CASE(a_signing_key_that_cannot_be_used_is_refused_by_name) {
  const key_place here;
  here.must("ssh-keygen -q -t ed25519 -N secret -f locked && ssh-keygen -q -t rsa -N '' -f rsa");
  here.must("ssh-keygen -q -t ed25519 -N '' -f open && chmod 644 open");
  BOOST_TEST(has(refusal(read_signing_key(here / "locked")), "passphrase"));
  BOOST_TEST(has(refusal(read_signing_key(here / "locked")), here / "locked"));
  BOOST_TEST(has(refusal(read_signing_key(here / "rsa")), "not of type ssh-ed25519"));
  BOOST_TEST(has(refusal(read_signing_key(here / "open")), "others can read"));
  BOOST_TEST(has(refusal(read_signing_key(here / "none")), here / "none"));
}

BOOST_AUTO_TEST_CASE(trusted_signers_are_refused_where_others_may_change_them) {
  const key_place here;
  here.must("ssh-keygen -q -t ed25519 -N '' -f key");
  here.must("chmod 666 key.pub");
  BOOST_TEST(has(refusal(read_trusted_signers(here / "key.pub")), "others can write to"));
  BOOST_TEST(has(refusal(read_trusted_signers(here.write("list", "# none\n"))), here / "list"));
  BOOST_TEST(has(refusal(read_trusted_signers(here.write("list", "me what ssh-ed25519 AAAA\n"))),
                 "line 1"));
}

BOOST_AUTO_TEST_CASE(times_of_signers_are_of_this_hosts_zone_unless_they_say_otherwise) {
  const key_place here;
  here.must("ssh-keygen -q -t ed25519 -N '' -f key");
  const std::string key = bts3::testing::content_of(here / "key.pub");
  const auto signers =
      read_trusted_signers(here.write("list", "a valid-after=\"20260102030405Z\" " + key +
                                                  "b valid-after=\"20260102030405\" " + key));
  BOOST_REQUIRE(signers.has_value());
  const std::chrono::sys_seconds universal =
      std::chrono::sys_days(std::chrono::year(2026) / 1 / 2) + std::chrono::seconds(11'045);
  BOOST_TEST((signers->at(0).valid_after == universal));
  std::tm local{};
  local.tm_year = 126;
  local.tm_mday = 2;
  local.tm_hour = 3;
  local.tm_min = 4;
  local.tm_sec = 5;
  local.tm_isdst = -1;
  BOOST_TEST((signers->at(1).valid_after ==
              std::chrono::sys_seconds(std::chrono::seconds(std::mktime(&local)))));
}

BOOST_AUTO_TEST_SUITE_END()
