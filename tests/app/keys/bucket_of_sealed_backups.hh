// A bucket with sealed backups of one chunk of one part.
#pragma once

#include "app/secrets/recipients.hh"
#include "app/store/keys_object.hh"
#include "engine/age/backup_keys.hh"
#include "engine/age/random.hh"
#include "engine/age/sealed_part.hh"
#include "tests/app/survey/bucket_of_backups.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::testing {

inline age::x25519_identity new_identity() {
  return std::move(*age::x25519_identity::generate(age::system_random()));
}

inline std::vector<age::x25519_recipient> recipients_of(
    const std::vector<const age::x25519_identity*>& all) {
  std::vector<age::x25519_recipient> made;
  for (const age::x25519_identity* one : all) {
    made.push_back(one->recipient());
  }
  return made;
}

inline std::string fingerprint(const age::x25519_identity& one) {
  return app::fingerprint_of(one.recipient()).value();
}

struct bucket_of_sealed_backups : bucket_of_backups {
  struct made_backup {
    std::string manifest_key;
    std::string keys_key;
    age::new_backup keys;
  };

  // `plain`, of up to 64 KiB, as it is stored.
  static std::string sealed_part(const age::new_backup& by, std::string_view plain) {
    BOOST_REQUIRE(!plain.empty() && plain.size() <= age::segment_plain_bytes);
    auto part = by.sealer(age::system_random()).begin(0, 1, 0);
    BOOST_REQUIRE(part.has_value());
    std::vector<std::byte> body(age::part_sealed_bytes(plain.size()));
    BOOST_REQUIRE(part->write_header(std::span(body).first<age::part_segments_at>()).has_value());
    std::memcpy(body.data() + age::part_segments_at, plain.data(), plain.size());
    BOOST_REQUIRE(
        part->seal(std::span(body).subspan(age::part_segments_at), plain.size(), true).has_value());
    return text_of(body);
  }

  // Dated so many days ago, for these; of `stream`, or of a sound one.
  made_backup add_sealed(int days_ago, const std::vector<const age::x25519_identity*>& to,
                         const std::string& parent = {}, const std::string& subvolume = "data",
                         std::string stream = {}) {
    if (stream.empty()) {
      stream = stream_of(300, static_cast<unsigned>(days_ago) + 1);
    }
    const planner::key_layout layout("p", subvolume);
    const planner::timestamp when(now.when() - std::chrono::days(days_ago));
    const auto kind =
        parent.empty() ? planner::backup_kind::full : planner::backup_kind::incremental;
    auto keys_of = std::move(*age::make_backup_keys(recipients_of(to), age::system_random()));
    planner::manifest made;
    made.subvolume = subvolume;
    made.kind = kind;
    made.created_at = when;
    made.snapshot.name = subvolume + "__" + when.compact();
    made.storage_class = "STANDARD";
    made.host_id = app::this_host().id;
    made.chunk_size = 1024;
    if (!parent.empty()) {
      made.parent_manifest = parent;
    }
    planner::chunk_record chunk;
    chunk.key = layout.chunk(kind, when, 0);
    const std::string body = sealed_part(keys_of, stream);
    engine::sha256_hasher hasher;
    hasher.update(bytes_of(body));
    chunk.size = body.size();
    chunk.plain_size = stream.size();
    chunk.sha256 = hasher.digest().hex();
    chunk.part_size = 128 * 1024;
    chunk.part_crc32 = {::libdeflate_crc32(0, body.data(), body.size())};
    store.put(chunk.key, body, "STANDARD");
    made.total_bytes = chunk.size;
    made.chunks.push_back(std::move(chunk));
    const std::string root = layout.root() + std::string(planner::to_string(kind)) + "/";
    const std::string keys_key = root + "keys-" + when.compact() + "-0011aabb.age";
    made.encryption.emplace();
    made.encryption->backup_id = keys_of.id.text();
    made.encryption->keys_key = keys_key;
    made.encryption->recipients = app::fingerprints_of(recipients_of(to)).value();
    made.encryption->sealed =
        app::seal_member({"/srv/" + subvolume, "/s/" + made.snapshot.name, "alpha"},
                         keys_of.recipient, age::system_random())
            .value();
    const std::string manifest_key = layout.manifest(kind, when);
    store.put(keys_key, text_of(keys_of.keys_object), "STANDARD_IA");
    store.put(manifest_key, planner::write_manifest(made));
    BOOST_REQUIRE(planner::parse_manifest(store.find(manifest_key)->body).has_value());
    return {manifest_key, keys_key, std::move(keys_of)};
  }

  // Whether what lies there now gives that backup's own key to `by`.
  [[nodiscard]] bool opens(const made_backup& one, const age::x25519_identity& by) const {
    const auto* object = store.find(one.keys_key);
    if (object == nullptr) {
      return false;
    }
    const auto key = age::open_backup_keys(bytes_of(object->body), std::span(&by, 1), one.keys.id);
    return key && key->recipient() == one.keys.recipient;
  }

  static std::string text_of(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

}  // namespace bts3::testing
