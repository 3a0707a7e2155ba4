// The keys object of a backup, and the sealed member of its manifest.
#include "app/store/keys_object.hh"

#include "engine/age/backup_keys.hh"
#include "engine/age/base64.hh"
#include "engine/age/sealed_file.hh"
#include "tests/engine/support.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <array>
#include <memory>
#include <span>
#include <string>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::error_text;
using bts3::testing::memory_store;

namespace {

age::x25519_identity some_identity() {
  return std::move(*age::x25519_identity::generate(age::system_random()));
}

struct scene {
  scene() {
    link.key = "p/subvol/data/full/manifest-20260102T030405Z.json";
    link.value.encryption.emplace();
    link.value.encryption->backup_id = made.id.text();
    link.value.encryption->keys_key = recorded;
  }
  void store_at(const std::string& key) {
    objects.put(key, std::string(reinterpret_cast<const char*>(made.keys_object.data()),
                                 made.keys_object.size()));
  }
  engine::result<age::x25519_identity> read(const age::x25519_identity& by) {
    return loop->run(read_backup_identity(objects, link, std::span(&by, 1), {}));
  }

  const std::string recorded = "p/subvol/data/full/keys-20260102T030405Z-0011aabb.age";
  std::unique_ptr<engine::reactor> loop = engine::testing::make_reactor();
  memory_store objects{*loop};
  age::x25519_identity user = some_identity();
  age::new_backup made =
      std::move(*age::make_backup_keys(std::array{user.recipient()}, age::system_random()));
  chain_link link;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(keys_object_suite, scene)

BOOST_AUTO_TEST_CASE(its_key_is_read_by_an_identity_that_it_was_sealed_for) {
  store_at(recorded);
  const auto identity = read(user);
  BOOST_REQUIRE_MESSAGE(identity.has_value(), error_text(identity));
  BOOST_TEST((identity->recipient() == made.recipient));
}

BOOST_AUTO_TEST_CASE(in_a_copied_bucket_it_is_looked_for_beside_its_manifest_first) {
  link.key = "copy/subvol/data/full/manifest-20260102T030405Z.json";
  store_at(recorded);
  BOOST_TEST(read(user).has_value());
  objects.put("copy/subvol/data/full/keys-20260102T030405Z-0011aabb.age", "damaged");
  const auto damaged = read(user);
  BOOST_REQUIRE(!damaged.has_value());
  BOOST_TEST(damaged.error().text().find("copy/subvol/data/full/keys-") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_keeps_it_closed_is_told_apart) {
  const auto missing = read(user);
  BOOST_REQUIRE(!missing.has_value());
  BOOST_TEST((missing.error().what_now == engine::disposition::not_found));
  BOOST_TEST(missing.error().text().find(recorded) != std::string::npos);
  store_at(recorded);
  const auto other = read(some_identity());
  BOOST_REQUIRE(!other.has_value());
  BOOST_TEST((other.error().why == engine::reason::access));
  BOOST_TEST(other.error().text().find("none of the identities") != std::string::npos);
  link.value.encryption->backup_id = std::string(32, '1');
  const auto exchanged = read(user);
  BOOST_REQUIRE(!exchanged.has_value());
  BOOST_TEST(exchanged.error().text().find("is not that of backup") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_bit_that_flips_anywhere_in_it_is_noticed) {
  for (std::size_t at = 0; at < made.keys_object.size(); at += 7) {
    made.keys_object[at] ^= std::byte{1};
    store_at(recorded);
    BOOST_TEST(!read(user).has_value(), at);
    made.keys_object[at] ^= std::byte{1};
  }
}

BOOST_AUTO_TEST_CASE(the_sealed_member_is_opened_by_the_backups_key_alone) {
  store_at(recorded);
  const sealed_member what{"/srv/data", "/srv/snapshots/data__1__full", "alpha"};
  const auto text = seal_member(what, made.recipient, age::system_random());
  BOOST_REQUIRE_MESSAGE(text.has_value(), error_text(text));
  BOOST_TEST(text->size() <= planner::sealed_text_bytes_max);
  const auto file = age::base64_decode(*text, age::padding::filled);
  BOOST_REQUIRE(file.has_value());
  const auto key = read(user);
  BOOST_REQUIRE_MESSAGE(key.has_value(), error_text(key));
  const auto opened = age::open_file(*file, std::span(&*key, 1));
  BOOST_REQUIRE_MESSAGE(opened.has_value(), error_text(opened));
  BOOST_TEST(opened->view() ==
             R"({"source":"/srv/data","snapshot_path":"/srv/snapshots/data__1__full",)"
             R"("host_name":"alpha"})");
  BOOST_TEST(!age::open_file(*file, std::span(&user, 1)).has_value());
}

BOOST_AUTO_TEST_CASE(paths_as_long_as_there_can_be_fit_into_a_manifest) {
  sealed_member what{"/" + std::string(4095, '"'), "/" + std::string(4095, '\\'), "alpha"};
  BOOST_TEST(seal_member(what, made.recipient, age::system_random()).has_value());
  what.source = std::string(4096, '\x01');
  what.snapshot_path = std::string(4096, '\x01');
  const auto endless = seal_member(what, made.recipient, age::system_random());
  BOOST_REQUIRE(!endless.has_value());
  BOOST_TEST((endless.error().why == engine::reason::configuration));
}

BOOST_AUTO_TEST_SUITE_END()
