// A send stream on its way into the bucket: parts as they fill, chunks as they are due.
//
// run() reads the stream to its end and uploads parts while it does, at most `concurrency` at a
// time; complete() turns what was uploaded into objects, and is called only when the stream has
// been proven whole, so that a dead producer leaves no object at all. abandon() undoes everything.
#pragma once

#include "app/services.hh"
#include "btrfs/stream_inspector.hh"
#include "engine/async_scope.hh"
#include "engine/buffer_pool.hh"
#include "engine/hash_worker.hh"
#include "engine/part_stream.hh"
#include "engine/semaphore.hh"
#include "planner/keys.hh"
#include "planner/manifest.hh"

#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace bts3::app {

class upload_stream {
 public:
  // `connection` null: everything but the upload (--no-s3). References must outlive it.
  upload_stream(const services& with, store_connection* connection, planner::key_layout keys,
                planner::backup_kind kind, planner::timestamp when);
  ~upload_stream();

  engine::task<engine::result<void>> run(int fd, btrfs::stream_inspector& inspector);
  // The chunks for the manifest, in order.
  engine::task<engine::result<std::vector<planner::chunk_record>>> complete();
  // Aborts open uploads and deletes objects that exist already; failures are logged. `limit` is
  // not the program's stop: cleaning up after one is the point.
  engine::task<void> abandon(engine::stop_token limit);

  [[nodiscard]] std::uint64_t total_bytes() const { return _total_bytes; }

 private:
  struct chunk;
  chunk& chunk_at(std::uint32_t index);
  engine::task<void> upload_part(chunk& of, engine::sealed_part part);
  engine::task<engine::result<void>> send_part(chunk& of, const engine::sealed_part& part,
                                               const engine::part_digest& digest);
  engine::task<engine::result<void>> finish_chunk(chunk& one);
  void fail(engine::error failure);

  const services& _with;
  store_connection* _connection;
  planner::key_layout _keys;
  planner::backup_kind _kind;
  planner::timestamp _when;
  engine::linked_stop_source _stop;
  engine::buffer_pool _pool;
  engine::hash_worker _hashes;
  engine::semaphore _uploads;
  engine::async_scope _scope;
  std::vector<std::unique_ptr<chunk>> _chunks;
  std::optional<engine::error> _failure;
  std::uint64_t _total_bytes = 0;
};

}  // namespace bts3::app
