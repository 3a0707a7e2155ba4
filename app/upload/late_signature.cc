#include "app/upload/late_signature.hh"

#include "app/store/manifest_signature.hh"
#include "planner/keys.hh"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

bool is_same_part(const planner::chunk_record& chunk, std::uint32_t number,
                  const journalled_part& part) {
  const std::size_t index = number - std::size_t{1};
  if (index >= chunk.part_crc32.size() || chunk.part_crc32[index] != part.crc32) {
    return false;
  }
  return index >= chunk.part_states.size() || !part.state ||
         chunk.part_states[index] == part.state->words;
}

bool is_same_chunk(const planner::chunk_record& chunk, const backup_intent& intent,
                   std::uint32_t index, const journalled_chunk& known) {
  const planner::object_name name = planner::name_of(intent.keys_root, chunk.key);
  const bool placed = name.is == planner::object_name::what::chunk && name.kind == intent.kind &&
                      name.when == intent.when && name.tag == intent.chunk_tag &&
                      name.index == index;
  const bool sized = known.stored && known.size == chunk.size && known.sha256 == chunk.sha256 &&
                     chunk.part_size == intent.part_size;
  return placed && sized &&
         std::all_of(known.parts.begin(), known.parts.end(), [&](const auto& part) {
           return is_same_part(chunk, part.first, part.second);
         });
}

// The member that only its key opens stays unread.
bool is_same_seal(const planner::manifest& value, const backup_intent& intent) {
  if (!value.encryption || !intent.sealing) {
    return value.encryption.has_value() == intent.sealing.has_value();
  }
  return value.encryption->backup_id == intent.sealing->backup.text() &&
         value.encryption->keys_key == intent.sealing->keys_key &&
         value.encryption->recipients == intent.sealing->recipients;
}

error not_as_journalled(const std::string& key) {
  error failure;
  failure.why = reason::integrity;
  failure.message = "manifest " + key +
                    ", which an earlier run wrote, is not as its journal has it: it is not signed, "
                    "and not published";
  failure.remedy =
      "somebody else writes to this prefix: find out who; once the manifest is deleted, the next "
      "run goes on from what was uploaded";
  return failure;
}

// Whether what it says of its parent is what may be said. Where nothing is known of that (the
// parent is signed by nobody whom this host accepts), nobody who asks for signatures will take the
// parent.
task<result<bool>> names_its_parent(const services& with, const manifest_signer& signer,
                                    s3::object_store& store, std::string key,
                                    const planner::manifest& value) {
  if (!value.parent_manifest_sha256) {
    co_return true;
  }
  if (!value.parent_manifest) {
    co_return false;
  }
  auto asking =
      digest_of_signed(with, signer, store, planner::places_of(key, *value.parent_manifest));
  const auto digest = co_await std::move(asking);
  if (!digest) {
    co_return digest.error();
  }
  co_return !*digest || *digest == value.parent_manifest_sha256;
}

}  // namespace

bool is_as_journalled(const planner::manifest& value, const journal_record& record) {
  const backup_intent& intent = record.intent;
  const bool same = value.subvolume == intent.subvolume && value.kind == intent.kind &&
                    value.created_at == intent.when &&
                    value.parent_manifest == intent.parent_manifest && record.snapshot &&
                    value.snapshot.uuid == record.snapshot->uuid && is_same_seal(value, intent) &&
                    (!value.index || value.index == record.index) &&
                    value.chunks.size() == record.chunks.size();
  if (!same) {
    return false;
  }
  std::uint32_t index = 0;
  return std::all_of(
      value.chunks.begin(), value.chunks.end(), [&](const planner::chunk_record& chunk) {
        const auto known = record.chunks.find(index);
        return known != record.chunks.end() && is_same_chunk(chunk, intent, index++, known->second);
      });
}

task<result<void>> sign_late(const services& with, const manifest_signer& signer,
                             s3::object_store& store, const journal_record& record) {
  const std::string& key = record.intent.manifest_key;
  auto reading = read_signed(store, key, manifest_bound::of_host(with.settings), with.stop);
  auto found = co_await std::move(reading);
  if (!found) {
    co_return std::move(found.error());
  }
  const signature_finding judged = judge_signature(found->text, found->signature, signer.accepted(),
                                                   found->value.created_at.when());
  if (judged.is == signature_finding::what::trusted) {
    co_return engine::ok();
  }
  if (judged.is == signature_finding::what::other) {
    with.log.write(log_level::warning, "backup", "signed_by_another",
                   {{"manifest", key}, {"signer", judged.fingerprint}, {"reason", judged.problem}});
    co_return engine::ok();
  }
  // Nor may it have members that this version would not read.
  if (planner::write_manifest(found->value) != found->text ||
      !is_as_journalled(found->value, record)) {
    co_return not_as_journalled(key);
  }
  auto asking = names_its_parent(with, signer, store, key, found->value);
  const auto named = co_await std::move(asking);
  if (!named) {
    co_return named.error();
  }
  if (!*named) {
    co_return not_as_journalled(key);
  }
  auto signing = put_signature(with, signer, store, key, std::move(found->text));
  co_return co_await std::move(signing);
}

}  // namespace bts3::app
