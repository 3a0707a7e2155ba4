// One link of a chain on its way from the bucket into `btrfs receive`.
//
// Parts are fetched in parallel, each verified on its own against the manifest's SHA-256 states
// before its first byte is released, and released in order. Slots are handed out in the order of
// the stream, so the lowest missing part always has one and reordering cannot deadlock.
//
// Chunks of old manifests record no states. One that fits a slot is verified whole before release;
// a larger one while it streams, which is announced, and its last part is held back until the whole
// digest is known, so that a damaged stream never reaches its END. When `btrfs receive` stumbles
// over such a chunk before its digest is known, the rest is still fetched and hashed, to name the
// culprit.
//
// With a chain_thaw, a chunk whose thawed copy has expired is thawed again while `btrfs receive`
// waits, and the download goes on.
#pragma once

#include "app/chain_thaw.hh"
#include "app/progress.hh"
#include "app/restore_plan.hh"
#include "app/services.hh"
#include "btrfs/stream_inspector.hh"
#include "engine/buffer_pool.hh"
#include "engine/channel.hh"
#include "engine/hash_worker.hh"
#include "s3/object_store.hh"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

class download_link {
 public:
  // References must outlive it. The pool's slots hold at least the largest recorded part.
  download_link(const services& with, s3::object_store& store, engine::buffer_pool& pool,
                engine::hash_worker& hashes, std::vector<located_chunk> chunks,
                progress* shown = nullptr, chain_thaw* thaw = nullptr);
  ~download_link();

  // Before run(): downloads every chunk that run() would verify while streaming, and hashes it. A
  // damaged one is fetched again, twice, on new connections; then reason integrity.
  engine::task<engine::result<void>> verify_first();

  // Writes the whole verified stream to `fd`. Reason integrity, naming chunk and part, for bytes
  // that stay wrong after three downloads and for a stream without its END. A negative `fd`: the
  // stream is verified and understood, and goes nowhere.
  engine::task<engine::result<void>> run(int fd);

  [[nodiscard]] std::uint64_t bytes() const { return _bytes; }

 private:
  struct part;
  using part_pointer = std::shared_ptr<part>;
  [[nodiscard]] bool streams(const planner::chunk_record& record) const;
  std::vector<part_pointer> plan() const;
  engine::task<void> produce();
  engine::task<void> fetch(part_pointer one);
  engine::task<engine::result<void>> fetch_verified(part_pointer one);
  engine::task<engine::result<void>> download(part_pointer one, bool fresh_connection);
  engine::task<engine::result<void>> verify(part_pointer one);
  engine::task<engine::result<void>> verify_streaming(part_pointer one);
  engine::task<engine::result<void>> pass_on(part_pointer one, int fd);
  engine::task<engine::result<void>> release(int fd);

  const services& _with;
  s3::object_store& _store;
  engine::buffer_pool& _pool;
  engine::hash_worker& _hashes;
  std::vector<located_chunk> _chunks;
  engine::linked_stop_source _stop;
  engine::async_scope _scope;
  engine::channel<part_pointer> _order;
  std::optional<engine::error> _failure;
  std::unique_ptr<engine::hash_worker> _stream_hashes;  // for chunks verified while streaming
  btrfs::stream_inspector _inspector;
  progress* _shown;
  chain_thaw* _thaw;
  enum class purpose { release, hash_only };
  purpose _purpose = purpose::release;
  bool _fresh = false;         // every GET on a new connection
  bool _receiving = true;      // false: run(-1)
  bool _looked_first = false;  // verify_first() has been there
  bool _conditional = true;    // whether GETs carry If-Match
  std::uint64_t _bytes = 0;
};

}  // namespace bts3::app
