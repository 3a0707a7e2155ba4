#include "app/secrets/key_file.hh"

#include "tests/app/secrets/key_place.hh"

using namespace bts3;
using namespace bts3::app;
using bts3::testing::key_place;

namespace {

std::string refusal(const engine::result<engine::secret_string>& outcome) {
  BOOST_REQUIRE_MESSAGE(!outcome.has_value(), "it was not refused");
  BOOST_TEST((outcome.error().why == engine::reason::configuration));
  BOOST_TEST(!outcome.error().remedy.empty());
  return outcome.error().message;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(key_files_of_people)

BOOST_AUTO_TEST_CASE(a_secret_that_others_can_read_is_refused_as_ssh_does) {
  const key_place here;
  for (const mode_t mode : {0600, 0400, 0700}) {
    const auto read = read_secret_file(here.write("key", "secret", mode));
    BOOST_REQUIRE(read.has_value());
    BOOST_TEST((*read == "secret"));
  }
  for (const mode_t mode : {0640, 0604, 0644, 0660, 0777}) {
    const std::string said = refusal(read_secret_file(here.write("key", "secret", mode)));
    BOOST_TEST(said.find("others can read " + (here / "key")) == 0U, said);
  }
  BOOST_TEST(refusal(read_secret_file(here.write("key", "secret", 0640))).find("mode is 0640") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_is_trusted_may_be_read_by_all_and_written_by_nobody_else) {
  const key_place here;
  for (const mode_t mode : {0600, 0644, 0444}) {
    BOOST_TEST(read_trusted_file(here.write("list", "x", mode)).has_value());
  }
  for (const mode_t mode : {0664, 0646, 0666}) {
    const std::string said = refusal(read_trusted_file(here.write("list", "x", mode)));
    BOOST_TEST(said.find("others can write to " + (here / "list")) == 0U, said);
  }
}

BOOST_AUTO_TEST_CASE(only_a_regular_file_is_read_and_nothing_is_waited_for) {
  const key_place here;
  here.must("mkfifo -m 600 pipe && mkdir folder && ln -s key link");
  here.write("key", "secret");
  BOOST_TEST(refusal(read_secret_file(here / "pipe")) ==
             (here / "pipe") + " is a pipe, and no file");
  BOOST_TEST(refusal(read_secret_file(here / "folder")) ==
             (here / "folder") + " is a directory, and no file");
  BOOST_TEST(refusal(read_secret_file("/dev/zero")) == "/dev/zero is a device, and no file");
  BOOST_TEST(refusal(read_secret_file(here / "none")).find("reading " + (here / "none")) == 0U);
  BOOST_TEST(read_secret_file(here / "link").has_value());
}

BOOST_AUTO_TEST_CASE(a_file_that_is_too_large_for_keys_is_not_read) {
  const key_place here;
  here.write("key", std::string(key_file_bytes_max, 'x'));
  BOOST_TEST(read_secret_file(here / "key").has_value());
  here.must("truncate -s 100G key");
  BOOST_TEST(refusal(read_secret_file(here / "key")).find("has more than 1 MiB") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_empty_file_is_an_empty_text) {
  const key_place here;
  const auto read = read_secret_file(here.write("key", ""));
  BOOST_REQUIRE(read.has_value());
  BOOST_TEST(read->empty());
}

BOOST_AUTO_TEST_SUITE_END()
