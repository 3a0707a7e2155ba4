// The index of one backup on its way from the bucket into a catalogue: fetched as it is stored into
// a file without a name, its digest compared with the manifest's, and opened, where it is sealed, a
// segment at a time.
#pragma once

#include "app/indexes/index_cache.hh"
#include "app/store/backup_key.hh"
#include "app/store/chain_reader.hh"
#include "app/store/services.hh"
#include "app/text/progress.hh"
#include "btrfs/index/index_file.hh"
#include "engine/result.hh"
#include "engine/sha256.hh"
#include "engine/task.hh"
#include "engine/unique_fd.hh"
#include "s3/verbs/object_store.hh"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace bts3::app {

struct stored_index {
  engine::unique_fd file;
  std::uint64_t bytes = 0;                // as it is stored
  std::shared_ptr<const backup_key> key;  // of a sealed backup; null: it is plain
  engine::sha256_state sha256;            // of the index itself, as it has to be
};

// Of a link whose manifest names an index; the key is the caller's to add. Errors: it is missing
// (not_found), or has another size or digest than recorded (reason integrity). References must
// outlive the task; `shown` may be null.
engine::task<engine::result<stored_index>> fetch_index(const services& with,
                                                       s3::object_store& store,
                                                       const index_cache& cache,
                                                       const chain_link& link, progress* shown);

// All of `bytes` at the end of the cache's file `file`. Blocks.
engine::result<void> write_index(int file, std::span<const std::byte> bytes);

// `from` must outlive what is read, which ends with `cancelled` once `stopped` is true. Reason
// integrity for what is no index.
engine::result<btrfs::index::index_file> open_index(const stored_index& from,
                                                    const std::atomic<bool>& stopped);

}  // namespace bts3::app
