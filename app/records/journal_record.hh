// What a journal tells of a backup in the making, as a value: what a later run needs to finish,
// resume or undo it.
#pragma once

#include "engine/age/part_stanza.hh"
#include "engine/age/x25519.hh"
#include "engine/sha256.hh"
#include "planner/manifest.hh"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

// How a backup is sealed. Nothing of it is secret: who has it can seal, and open nothing.
struct sealing_intent {
  sealing_intent(const age::backup_id& id, const age::x25519_recipient& to, std::string at,
                 std::vector<std::byte> keys, std::vector<std::string> for_whom)
      : backup(id),
        recipient(to),
        keys_key(std::move(at)),
        keys_object(std::move(keys)),
        recipients(std::move(for_whom)) {}
  age::backup_id backup;
  age::x25519_recipient recipient;      // the public half of the backup's key
  std::string keys_key;                 // where its keys object belongs
  std::vector<std::byte> keys_object;   // as it is to be stored
  std::vector<std::string> recipients;  // fingerprints of those who can open that

  bool operator==(const sealing_intent&) const = default;
};

// What a backup set out to do.
struct backup_intent {
  std::string subvolume;
  std::string source;  // path of the live subvolume
  planner::backup_kind kind = planner::backup_kind::full;
  planner::timestamp when;
  std::string snapshot_path;
  std::string snapshot_name;
  std::string manifest_key;
  std::string keys_root;  // ".../subvol/{name}/"
  std::string chunk_tag;  // in its chunks' keys; empty in journals of older versions: none there
  std::optional<std::string> parent_manifest;
  std::string parent_snapshot;  // path; empty for a full
  // The text of current.json before; nullopt when there was none.
  std::optional<std::string> pointer_before;
  std::string endpoint_url;  // as configured; empty: AWS
  std::string region;
  std::string bucket;
  int protocol = 1;
  bool compressed_data = false;
  std::uint64_t part_size = 0;            // bytes
  std::uint64_t chunk_size = 0;           // bytes, the limit
  bool local_only = false;                // --no-s3
  std::optional<sealing_intent> sealing;  // nullopt: it is not sealed
};

struct snapshot_identity {
  std::string uuid;
  std::uint64_t ctransid = 0;
};

struct journalled_part {
  std::uint64_t size = 0;
  std::string etag;
  std::uint32_t crc32 = 0;
  std::optional<engine::sha256_state> state;  // of the chunk after this part
  engine::sha256_state digest;                // of the chunk, if it ends with this part
  std::optional<planner::timestamp> at;       // when it was acknowledged
  // Of what the stream has in it, where the backup is sealed; all else is of the part as stored.
  std::string fingerprint;
};

struct journalled_chunk {
  bool upload_begun = false;  // an upload may be open, whether its id is known or not
  std::string upload_id;      // empty: none was recorded
  bool checksums = false;     // the upload was created with CRC32 declared
  // Storage class and encryption that it was or is to be written with, as one text; nullopt in
  // journals of older versions.
  std::optional<std::string> written_as;
  std::map<std::uint32_t, journalled_part> parts;
  std::optional<std::uint64_t> size;  // known once the stream was proven whole
  std::string sha256;
  bool stored = false;  // the object exists
  std::string etag;
};

struct journal_record {
  backup_intent intent;
  std::optional<snapshot_identity> snapshot;
  std::map<std::uint32_t, journalled_chunk> chunks;
  std::optional<planner::index_record> index;  // it may be in the bucket
  // When the last part was acknowledged, also of a chunk that was discarded since.
  std::optional<planner::timestamp> last_progress;
};

}  // namespace bts3::app
