// What an earlier run wrote and did not come to sign: signed where it is what the journal has, and
// nothing else.
#include "app/upload/late_signature.hh"

#include "app/store/manifest_signature.hh"
#include "tests/app/secrets/key_place.hh"
#include "tests/app/survey/bucket_of_backups.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <functional>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::bucket_of_backups;
using bts3::testing::error_text;
using bts3::testing::key_place;

namespace {

constexpr const char* uuid = "11111111-2222-3333-4444-555555555555";

// A full, and an incremental whose run died before it was signed.
struct scene : bucket_of_backups {
  key_place here;
  std::vector<std::string> chain = add_generation({6, 2});
  manifest_signer signer{made_key("ours"), {}};
  journal_record record;

  scene() {
    planner::manifest value = manifest();
    value.snapshot.uuid = uuid;
    put(value);
    record.intent.subvolume = value.subvolume;
    record.intent.kind = value.kind;
    record.intent.when = value.created_at;
    record.intent.manifest_key = chain[1];
    record.intent.keys_root = keys.root();
    record.intent.parent_manifest = value.parent_manifest;
    record.intent.part_size = part_bytes;
    record.snapshot = {uuid, 1};
    for (std::uint32_t index = 0; index < value.chunks.size(); ++index) {
      const planner::chunk_record& from = value.chunks[index];
      journalled_chunk chunk;
      chunk.stored = true;
      chunk.size = from.size;
      chunk.sha256 = from.sha256;
      for (std::uint32_t part = 0; part < from.part_crc32.size(); ++part) {
        journalled_part made;
        made.crc32 = from.part_crc32[part];
        if (part < from.part_states.size()) {
          made.state = engine::sha256_state{from.part_states[part]};
        }
        chunk.parts[part + 1] = made;
      }
      record.chunks[index] = std::move(chunk);
    }
  }

  age::ssh_private_key made_key(const std::string& name) const {
    here.must("ssh-keygen -q -t ed25519 -N '' -C c -f " + name);
    auto key = read_signing_key(here / name.c_str());
    BOOST_REQUIRE_MESSAGE(key.has_value(), error_text(key));
    return std::move(*key);
  }
  [[nodiscard]] planner::manifest manifest() const {
    auto read = planner::parse_manifest(store.find(chain[1])->body);
    BOOST_REQUIRE(read.has_value());
    return std::move(*read);
  }
  void put(const planner::manifest& value) { store.put(chain[1], planner::write_manifest(value)); }
  engine::result<void> sign() { return loop->run(sign_late(with, signer, store, record)); }
  [[nodiscard]] const testing::memory_store::stored_object* signature() const {
    return store.find(planner::signature_of(chain[1]));
  }
  // Refused, nothing written, and named.
  void refuses(const char* what) {
    const auto outcome = sign();
    BOOST_REQUIRE_MESSAGE(!outcome.has_value(), what);
    BOOST_TEST((outcome.error().why == engine::reason::integrity), what);
    BOOST_TEST(outcome.error().message.find(chain[1]) != std::string::npos, what);
    BOOST_TEST(signature() == nullptr, what);
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(late_signature_suite, scene)

BOOST_AUTO_TEST_CASE(what_is_as_the_journal_has_it_is_signed_byte_for_byte) {
  const std::string text = store.find(chain[1])->body;
  const auto outcome = sign();
  BOOST_REQUIRE_MESSAGE(outcome.has_value(), error_text(outcome));
  BOOST_REQUIRE(signature() != nullptr);
  const auto judged = judge_signature(text, signature()->body, signer.accepted(), now.when());
  BOOST_TEST((judged.is == signature_finding::what::trusted), judged.problem);
  BOOST_TEST(store.find(chain[1])->body == text);
  // Once more writes nothing.
  store.forget_calls();
  BOOST_TEST(sign().has_value());
  BOOST_TEST(store.count("PutObject") == 0U);
}

BOOST_AUTO_TEST_CASE(whatever_decides_what_a_restore_receives_has_to_be_as_in_the_journal) {
  const planner::manifest sound = manifest();
  using change = std::function<void(planner::manifest&)>;
  const std::vector<std::pair<const char*, change>> changes = {
      {"kind", [](auto& of) { of.kind = planner::backup_kind::full, of.parent_manifest.reset(); }},
      {"time", [&](auto& of) { of.created_at = now; }},
      {"another parent", [](auto& of) { of.parent_manifest = "p/subvol/data/full/other.json"; }},
      {"another snapshot",
       [](auto& of) { of.snapshot.uuid = "99999999-2222-3333-4444-555555555555"; }},
      {"no uuid", [](auto& of) { of.snapshot.uuid.reset(); }},
      {"a chunk less",
       [](auto& of) {
         of.total_bytes -= of.chunks.back().size;
         of.chunks.pop_back();
       }},
      {"a chunk twice",
       [](auto& of) {
         of.total_bytes += of.chunks.back().size;
         of.chunks.push_back(of.chunks.back());
       }},
      {"the order of chunks", [](auto& of) { std::swap(of.chunks[0], of.chunks[1]); }},
      {"another digest", [](auto& of) { of.chunks[0].sha256 = std::string(64, 'b'); }},
      {"another key", [](auto& of) { of.chunks[0].key += ".copy"; }},
      {"another checksum", [](auto& of) { of.chunks[0].part_crc32[0] ^= 1U; }},
      {"another state", [](auto& of) { of.chunks[0].part_states[0][0] ^= 1U; }},
  };
  for (const auto& [what, apply] : changes) {
    planner::manifest changed = sound;
    apply(changed);
    put(changed);
    refuses(what);
  }
  put(sound);
  BOOST_TEST(sign().has_value());
}

BOOST_AUTO_TEST_CASE(members_that_this_version_does_not_read_are_not_signed) {
  std::string text = store.find(chain[1])->body;
  text.insert(text.find('{') + 1, "\"unknown\":1,");
  store.put(chain[1], text);
  refuses("an unknown member");
}

BOOST_AUTO_TEST_CASE(a_sealed_one_has_to_be_sealed_as_the_journal_has_it) {
  planner::manifest value = manifest();
  // A plain manifest where the journal has seals.
  const auto of_backup = age::x25519_identity::generate(age::system_random());
  const auto id = age::backup_id::make(age::system_random());
  BOOST_REQUIRE((of_backup && id));
  record.intent.sealing.emplace(*id, of_backup->recipient(), "p/keys.age", std::vector<std::byte>(),
                                std::vector<std::string>{"SHA256:x"});
  BOOST_TEST(!is_as_journalled(value, record));
  value.encryption.emplace();
  value.encryption->backup_id = id->text();
  value.encryption->keys_key = "p/keys.age";
  value.encryption->recipients = {"SHA256:x"};
  BOOST_TEST(is_as_journalled(value, record));
  for (const auto& apply : std::vector<std::function<void(planner::encryption_record&)>>{
           [](auto& of) { of.backup_id = std::string(32, '0'); },
           [](auto& of) { of.keys_key += "x"; }, [](auto& of) { of.recipients.clear(); }}) {
    planner::manifest changed = value;
    apply(*changed.encryption);
    BOOST_TEST(!is_as_journalled(changed, record));
  }
  record.intent.sealing.reset();
  BOOST_TEST(!is_as_journalled(value, record));
}

BOOST_AUTO_TEST_CASE(chunks_that_the_journal_has_not_seen_stored_are_not_vouched_for) {
  for (const auto& apply : std::vector<std::function<void(journal_record&)>>{
           [](auto& of) { of.chunks[0].stored = false; }, [](auto& of) { of.chunks[0].size = 1; },
           [](auto& of) { of.chunks.erase(1); }, [](auto& of) { of.snapshot.reset(); },
           [](auto& of) { of.intent.part_size = 256; }}) {
    journal_record other = record;
    apply(other);
    BOOST_TEST(!is_as_journalled(manifest(), other));
  }
  BOOST_TEST(is_as_journalled(manifest(), record));
}

BOOST_AUTO_TEST_CASE(what_another_has_signed_stays_his) {
  const manifest_signer other(made_key("other"), {});
  const std::string text = store.find(chain[1])->body;
  const auto his = other.sign(text);
  BOOST_REQUIRE(his.has_value());
  store.put(planner::signature_of(chain[1]), *his);
  BOOST_TEST(sign().has_value());
  BOOST_TEST(signature()->body == *his);
  BOOST_TEST(log.events == std::vector<std::string>{"signed_by_another"},
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_digest_of_its_parent_has_to_be_that_of_a_signed_parent) {
  planner::manifest value = manifest();
  // The parent is signed, and has that digest.
  const std::string parent = store.find(chain[0])->body;
  const auto signature_of_parent = signer.sign(parent);
  BOOST_REQUIRE(signature_of_parent.has_value());
  store.put(planner::signature_of(chain[0]), *signature_of_parent);
  value.parent_manifest_sha256 = std::string(64, 'c');
  put(value);
  refuses("another digest of the parent");
  value.parent_manifest_sha256 = digest_of(parent).value();
  put(value);
  const auto outcome = sign();
  BOOST_TEST(outcome.has_value(), error_text(outcome));
}

BOOST_AUTO_TEST_SUITE_END()
