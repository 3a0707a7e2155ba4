// Whose manifests are believed: signatures of ours and of ssh-keygen's, and every way of spoiling
// them.
#include "app/store/manifest_signature.hh"

#include "engine/age/ssh_signature.hh"
#include "tests/app/secrets/key_place.hh"
#include "tests/app/survey/bucket_of_backups.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::bucket_of_backups;
using bts3::testing::error_text;
using bts3::testing::key_place;

namespace {

using strings = std::vector<std::string>;

// A key of ssh-keygen's in a file of its own, and the line that trusts it.
struct signing_key {
  explicit signing_key(const key_place& here, const std::string& name) : file(here / name.c_str()) {
    here.must("ssh-keygen -q -t ed25519 -N '' -C " + name + " -f " + name);
    public_line = bts3::testing::content_of(file + ".pub");
  }
  [[nodiscard]] age::ssh_private_key key() const {
    auto read = read_signing_key(file);
    BOOST_REQUIRE_MESSAGE(read.has_value(), error_text(read));
    return std::move(*read);
  }
  std::string file;
  std::string public_line;
};

// A full and two incrementals, signed one after the other as they are published.
struct scene : bucket_of_backups {
  key_place here;
  signing_key ours{here, "ours"};
  signing_key other{here, "other"};
  manifest_signer signer{ours.key(), {}};
  strings chain = add_generation({20, 13, 6});

  scene() { publish_all(signer); }

  // Each with the digest of the one before, where that is signed.
  void publish_all(const manifest_signer& by) {
    for (std::size_t i = 0; i < chain.size(); ++i) {
      planner::manifest value = manifest_at(chain[i]);
      value.parent_manifest_sha256.reset();
      if (i > 0) {
        auto digest = loop->run(digest_of_signed(with, signer, store, strings{chain[i - 1]}));
        BOOST_REQUIRE_MESSAGE(digest.has_value(), error_text(digest));
        value.parent_manifest_sha256 = *digest;
      }
      put(chain[i], planner::write_manifest(value), by);
    }
  }
  void put(const std::string& key, const std::string& text, const manifest_signer& by) {
    store.put(key, text);
    store.put(planner::signature_of(key), age::testing::value_of(by.sign(text)));
  }
  planner::manifest manifest_at(const std::string& key) {
    auto read = planner::parse_manifest(store.find(key)->body);
    BOOST_REQUIRE(read.has_value());
    return std::move(*read);
  }
  std::string text_at(const std::string& key) { return store.find(key)->body; }

  engine::result<std::vector<chain_link>> believe(const std::string& signers) {
    auto trusted = read_trusted_signers(here.write("signers", signers));
    BOOST_REQUIRE_MESSAGE(trusted.has_value(), error_text(trusted));
    std::vector<chain_link> read;
    for (const std::string& key : chain) {
      chain_link link;
      link.key = key;
      link.value.subvolume = "data";
      read.push_back(std::move(link));
    }
    return loop->run(trusted_chain(with, store, std::move(read), std::move(*trusted)));
  }
  void refuses(const std::string& key, std::string_view why) {
    refuses(key, why, ours.public_line);
  }
  void refuses(const std::string& key, std::string_view why, const std::string& signers) {
    const auto outcome = believe(signers);
    BOOST_REQUIRE_MESSAGE(!outcome.has_value(), "it was believed: " << why);
    BOOST_TEST((outcome.error().why == engine::reason::integrity));
    BOOST_TEST(outcome.error().message.find("manifest " + key) == 0U, outcome.error().message);
    BOOST_TEST(outcome.error().message.find(why) != std::string::npos, outcome.error().message);
    BOOST_TEST(!outcome.error().remedy.empty());
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(manifest_signatures)

BOOST_AUTO_TEST_CASE(a_chain_that_was_signed_link_by_link_is_believed) {
  scene made;
  const auto believed = made.believe("* " + made.ours.public_line);
  BOOST_REQUIRE_MESSAGE(believed.has_value(), error_text(believed));
  BOOST_REQUIRE(believed->size() == 3U);
  BOOST_TEST(believed->at(2).value.chunks.size() == 2U);
  BOOST_TEST(believed->at(2).key == made.chain[2]);
}

BOOST_AUTO_TEST_CASE(ssh_keygen_verifies_ours_and_its_own_are_taken) {
  scene made;
  made.here.write("signers", "me " + made.ours.public_line);
  for (const std::string& key : made.chain) {
    made.here.write("manifest", made.text_at(key));
    made.here.write("manifest.sig", made.text_at(planner::signature_of(key)));
    made.here.must(
        "ssh-keygen -Y verify -f signers -I me -n btrfs_to_s3 -s manifest.sig <manifest");
    made.here.must("rm manifest.sig && ssh-keygen -q -Y sign -f other -n btrfs_to_s3 manifest");
    made.store.put(planner::signature_of(key),
                   bts3::testing::content_of(made.here / "manifest.sig"));
  }
  BOOST_TEST(made.believe(made.other.public_line).has_value());
  made.refuses(made.chain[0], "its key is not among the trusted signers (SHA256:");
}

BOOST_AUTO_TEST_CASE(every_link_has_to_be_signed) {
  for (std::size_t at = 0; at < 3; ++at) {
    scene made;
    made.store.erase(planner::signature_of(made.chain[at]));
    made.refuses(made.chain[at], "it is not signed");
  }
}

BOOST_AUTO_TEST_CASE(a_flipped_bit_anywhere_is_seen) {
  for (std::size_t at = 0; at < 3; ++at) {
    scene made;
    const std::string text = made.text_at(made.chain[at]);
    // Of a chunk's digest, and still a digit.
    made.flip(made.chain[at], text.find_first_of("0123456789", text.find("\"sha256\":\"") + 10));
    made.refuses(made.chain[at], "its signature is not one of this manifest");
  }
  const std::size_t letters = scene().text_at(planner::signature_of(scene().chain[0])).size();
  for (std::size_t at = 0; at < letters; at += 31) {
    scene made;
    made.flip(planner::signature_of(made.chain[1]), at);
    const auto outcome = made.believe(made.ours.public_line);
    BOOST_REQUIRE(!outcome.has_value());
    BOOST_TEST(outcome.error().message.find("manifest " + made.chain[1]) == 0U);
  }
}

BOOST_AUTO_TEST_CASE(signatures_that_changed_places_and_pages_are_none) {
  scene made;
  const std::string one = planner::signature_of(made.chain[1]);
  const std::string two = planner::signature_of(made.chain[2]);
  const std::string first = made.text_at(one);
  made.store.put(one, made.text_at(two));
  made.store.put(two, first);
  made.refuses(made.chain[1], "its signature is not one of this manifest");
  made.store.put(one, "<html>");
  made.refuses(made.chain[1], "is none");
  made.store.put(one, std::string(20'000, 'x'));
  made.refuses(made.chain[1], "is none");
}

BOOST_AUTO_TEST_CASE(a_signature_for_something_else_does_not_count) {
  scene made;
  made.here.write("manifest", made.text_at(made.chain[1]));
  made.here.must("ssh-keygen -q -Y sign -f ours -n file manifest");
  made.store.put(planner::signature_of(made.chain[1]),
                 bts3::testing::content_of(made.here / "manifest.sig"));
  made.refuses(made.chain[1], "its signature is not one of this manifest");
}

BOOST_AUTO_TEST_CASE(a_key_counts_for_its_namespaces_and_its_time) {
  scene made;
  const std::string key = made.ours.public_line;
  made.refuses(made.chain[0], "other namespaces", "me namespaces=\"file,git\" " + key);
  BOOST_TEST(made.believe("me namespaces=\"git,btrfs_*\" " + key).has_value());
  // By the time at which a backup was made: a key that was given up goes on speaking for old ones.
  made.refuses(made.chain[0], "not valid when", "me valid-after=\"20261105000000Z\" " + key);
  made.refuses(made.chain[2], "not valid when", "me valid-before=\"20261110000000Z\" " + key);
  BOOST_TEST(made.believe("me valid-before=\"20261120000000Z\" " + key).has_value());
  BOOST_TEST(
      made.believe("old valid-before=\"20261110000000Z\" " + key + "new " + key).has_value());
}

BOOST_AUTO_TEST_CASE(a_parent_that_was_swapped_for_another_signed_one_is_seen) {
  scene made;
  planner::manifest changed = made.manifest_at(made.chain[0]);
  changed.tool_version = "another";
  made.put(made.chain[0], planner::write_manifest(changed), made.signer);
  made.refuses(made.chain[1], "its parent " + made.chain[0] + " is not the one");

  scene unlinked;
  planner::manifest without = unlinked.manifest_at(unlinked.chain[1]);
  without.parent_manifest_sha256.reset();
  unlinked.put(unlinked.chain[1], planner::write_manifest(without), unlinked.signer);
  unlinked.refuses(unlinked.chain[1], "does not say what its parent is");
}

BOOST_AUTO_TEST_CASE(a_signed_manifest_in_anothers_place_is_seen) {
  scene made;
  made.store.put(made.chain[2], made.text_at(made.chain[1]));
  made.store.put(planner::signature_of(made.chain[2]),
                 made.text_at(planner::signature_of(made.chain[1])));
  made.refuses(made.chain[2], "made for another place");
  scene foreign;
  planner::manifest theirs = foreign.manifest_at(foreign.chain[2]);
  theirs.subvolume = "home";
  foreign.put(foreign.chain[2], planner::write_manifest(theirs), foreign.signer);
  foreign.refuses(foreign.chain[2], "made for another place");
}

BOOST_AUTO_TEST_CASE(nothing_is_said_for_a_parent_that_nobody_signed) {
  scene made;
  made.store.erase(planner::signature_of(made.chain[0]));
  const auto digest =
      made.loop->run(digest_of_signed(made.with, made.signer, made.store, strings{made.chain[0]}));
  BOOST_REQUIRE_MESSAGE(digest.has_value(), error_text(digest));
  BOOST_TEST(!digest->has_value());
  BOOST_TEST(made.log.events == strings{"parent_not_signed"}, boost::test_tools::per_element());
  // After a change of keys the old one counts where it is trusted.
  const manifest_signer next(made.other.key(), age::testing::value_of(age::parse_allowed_signers(
                                                   made.ours.public_line, {})));
  const auto known =
      made.loop->run(digest_of_signed(made.with, next, made.store, strings{made.chain[1]}));
  BOOST_REQUIRE_MESSAGE(known.has_value(), error_text(known));
  BOOST_TEST(known->has_value());
  BOOST_TEST(made.believe(made.ours.public_line + made.other.public_line).has_value() == false);
}

BOOST_AUTO_TEST_SUITE_END()
