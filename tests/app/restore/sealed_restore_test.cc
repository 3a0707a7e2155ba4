// Restores of sealed backups over played Btrfs: who has an identity gets what was sent, and whoever
// has none is told before anything is downloaded.
#include "engine/age/random.hh"
#include "engine/age/x25519.hh"
#include "tests/app/restore/restore_scene.hh"

#include <filesystem>
#include <string>
#include <utility>

using namespace bts3;
using namespace bts3::testing;

namespace {

age::x25519_identity some_identity() {
  return std::move(*age::x25519_identity::generate(age::system_random()));
}

struct user {
  [[nodiscard]] std::string recipient() const { return identity.recipient().text(); }
  // A file of age-keygen.
  void write_to(const std::string& path) const {
    write_file(path, "# created\n" + std::string(identity.text().view()) + "\n");
    std::filesystem::permissions(path, std::filesystem::perms(0600));
  }

  age::x25519_identity identity = some_identity();
};

struct sealed_scene : user, restore_scene {
  explicit sealed_scene(std::size_t links = 3, std::size_t sealed_from = 0)
      : restore_scene(links, {user::recipient()}, sealed_from) {}

  void give_identity() {
    identities = {rig.place / "identity"};
    write_to(identities.front());
  }
  // The target has what a restore of the same chain makes where nothing is sealed, to the byte.
  [[nodiscard]] bool holds_what_was_sent(std::size_t index) const {
    restore_scene plain(made.size());
    plain.request.wanted.manifest_key = plain.manifest_key_of(index);
    BOOST_REQUIRE(plain.restore_text() == "done");
    const std::string received = content_of(request.target + "/stream");
    return holds(index) && received == content_of(plain.request.target + "/stream");
  }
  void nothing_was_begun() const {
    BOOST_TEST(downloads() == 0U);
    BOOST_TEST(!is_there());
    BOOST_TEST(links_beside() == -1);
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(sealed_restore_suite)

BOOST_AUTO_TEST_CASE(a_sealed_chain_is_received_with_its_identity) {
  sealed_scene here;
  here.give_identity();
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.holds_what_was_sent(2));
  BOOST_TEST(here.totals.links == 3U);
}

BOOST_AUTO_TEST_CASE(a_chain_that_is_sealed_in_part_is_received_too) {
  sealed_scene here(3, 2);
  BOOST_REQUIRE(!here.made[1].encryption.has_value());
  BOOST_REQUIRE(here.made[2].encryption.has_value());
  here.give_identity();
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.holds_what_was_sent(2));
}

BOOST_AUTO_TEST_CASE(plain_links_alone_need_nobodys_identity) {
  sealed_scene here(3, 2);
  here.request.wanted.manifest_key = here.manifest_key_of(1);
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.holds_what_was_sent(1));
}

BOOST_AUTO_TEST_CASE(without_an_identity_nothing_is_downloaded_and_the_remedy_is_named) {
  for (const std::size_t sealed_from : {0, 2}) {
    sealed_scene here(3, sealed_from);
    const auto outcome = here.restore();
    BOOST_REQUIRE(!outcome);
    BOOST_TEST((outcome.error().why == engine::reason::configuration));
    const std::string said = outcome.error().text();
    BOOST_TEST(says(said, "backup " + here.manifest_key_of(sealed_from) + " is sealed"), said);
    BOOST_TEST(says(said, "--identity"), said);
    here.nothing_was_begun();
  }
}

BOOST_AUTO_TEST_CASE(an_identity_of_somebody_else_is_refused_before_anything_is_downloaded) {
  sealed_scene here;
  here.identities = {here.rig.place / "other"};
  user().write_to(here.identities.front());
  const std::string said = here.restore_text();
  BOOST_TEST(says(said, "none of the identities opens backup " + here.manifest_key_of(0)), said);
  here.nothing_was_begun();
  // Beside it the right one.
  here.identities.push_back(here.rig.place / "identity");
  here.write_to(here.identities.back());
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.holds_what_was_sent(2));
}

BOOST_AUTO_TEST_CASE(
    keys_that_are_gone_or_of_another_backup_are_told_before_anything_is_downloaded) {
  sealed_scene here;
  here.give_identity();
  const std::string& key = here.made[2].encryption->keys_key;
  const std::string own = here.objects->find(key)->body;
  here.objects->put(key, here.objects->find(here.made[1].encryption->keys_key)->body);
  const std::string said = here.restore_text();
  BOOST_TEST(says(said, "keys object " + key), said);
  here.nothing_was_begun();
  here.objects->erase(key);
  const std::string gone = here.restore_text();
  BOOST_TEST(says(gone, key), gone);
  BOOST_TEST(says(gone, "is missing"), gone);
  here.nothing_was_begun();
  here.objects->put(key, own);
  BOOST_TEST(here.restore_text() == "done");
}

BOOST_AUTO_TEST_CASE(a_dry_run_asks_for_no_identity) {
  sealed_scene here;
  here.request.dry_run = true;
  BOOST_TEST(here.restore_text() == "done");
  here.nothing_was_begun();
}

BOOST_AUTO_TEST_CASE(a_sealed_restore_that_was_interrupted_goes_on) {
  sealed_scene here;
  here.give_identity();
  here.rig.disk.receivers = {"cat > \"$0\"", "exit 1"};
  BOOST_TEST(here.restore_text() != "done");
  here.forget();
  BOOST_TEST(here.restore_text() == "done");
  BOOST_TEST(here.holds_what_was_sent(2));
  BOOST_TEST(here.downloads_of(0) == 0U);
}

BOOST_AUTO_TEST_SUITE_END()
