// One link of a chain on its way from the bucket into `btrfs receive`.
//
// Parts are fetched in parallel, each verified on its own against the manifest's SHA-256 states
// before its first byte is released, and released in order. Slots are handed out in the order of
// the stream, so the lowest missing part always has one and reordering cannot deadlock.
//
// The first part comes in several ranges at the same time, and before all others: `btrfs receive`
// is what a restore waits for, and would otherwise begin only when a whole set of parts is there.
// After it, one part is fetched while one is released, and more at a time only as far as that
// leaves the receiver waiting: memory that a fast server does not need is never touched.
//
// Chunks of old manifests record no states. One that fits a slot is verified whole before release.
// A larger one that fits the spool is fetched into it and hashed on the way; once its digest is
// proven, so are the states between its pieces, by which each is verified again when it comes back
// from the disk, as any part is. So are the parts of a second download after verify_first().
// Without a spool and without verify_first() such a chunk is verified while it streams, which is
// announced, and its last part is held back until the whole digest is known, so that a damaged
// stream never reaches its END. When `btrfs receive` stumbles over such a chunk before its digest
// is known, the rest is still fetched and hashed, to name the culprit.
//
// With kept_parts, a part that can be verified on its own is kept there before it is released, and
// one that an earlier run kept comes from there; wrong bytes of it cost a download, as if it had
// not been.
//
// A sealed link's parts are verified as they are stored, and opened where they lie when it is their
// turn: each has to be the one of that backup, chunk, number and offset in the stream, so a part
// that was cut, exchanged or repeated is refused before its first byte is released. Without its key
// the link can be verified, and goes nowhere.
//
// With a chain_thaw, a chunk whose thawed copy has expired is thawed again while `btrfs receive`
// waits, and the download goes on.
#pragma once

#include "app/download/chain_thaw.hh"
#include "app/download/part_fetcher.hh"
#include "app/download/stream_gate.hh"
#include "app/store/backup_key.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "app/survey/sent_stream.hh"
#include "app/text/progress.hh"
#include "btrfs/stream_inspector.hh"
#include "btrfs/stream_rewriter.hh"
#include "engine/async_scope.hh"
#include "engine/buffer_pool.hh"
#include "engine/channel.hh"
#include "engine/hash_worker.hh"
#include "engine/pipe_writer.hh"
#include "engine/semaphore.hh"
#include "engine/spool.hh"
#include "s3/verbs/object_store.hh"

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
                progress* shown = nullptr, chain_thaw* thaw = nullptr,
                engine::spool* spool = nullptr);
  ~download_link();

  // Before run(): downloads every chunk that run() would verify while streaming, and hashes it, so
  // that run() can verify it in parts. A damaged one is fetched again, twice, on new connections;
  // then reason integrity.
  engine::task<engine::result<void>> verify_first();

  // Before run(): shown every byte before it is released.
  void show_to(received_proof& proof) { _gate.show_to(proof); }
  // What run() writes passes through it. Must outlive run().
  void rewrite_by(btrfs::stream_rewriter& rewriter) { _gate.rewrite_by(rewriter); }

  // Before run(): told of each command of the stream, once it was found right. Must outlive run().
  void observe_by(btrfs::command_observer& observer) { _gate.observe_by(observer); }

  // Before run(): parts are kept there. Must outlive run().
  void keep_in(kept_parts& kept) { _fetcher.keep_in(kept); }

  // Before run(), of a link that is sealed, with `plain_bytes` of the stream in it. Null: nobody
  // has its key, and run() takes no pipe. Must outlive run().
  void is_sealed(const backup_key* key, std::uint64_t plain_bytes) {
    _sealed = true;
    _key = key;
    _plain_expected = plain_bytes;
  }

  // Before run(): reason integrity for another stream, before any of it is released.
  void expect(expected_stream stream) { _gate.expect(std::move(stream)); }

  // Writes the whole verified stream to `fd`. Reason integrity, naming chunk and part, for bytes
  // that stay wrong after three downloads and for a stream without its END. A negative `fd`: the
  // stream is verified and understood, and goes nowhere.
  engine::task<engine::result<void>> run(int fd);

  // The command of which a receiver that has ended says this; null: not known. For a while after
  // run().
  [[nodiscard]] const btrfs::stream_command* refused_command(const std::string& said) const {
    return _gate.refused_command(said);
  }

  // Released so far.
  [[nodiscard]] std::uint64_t bytes() const { return _bytes; }
  [[nodiscard]] std::uint64_t parts() const { return _parts; }
  // Of these, read from kept_parts.
  [[nodiscard]] std::uint64_t bytes_kept_before() const { return _fetcher.bytes_kept_before(); }
  // That had to be fetched again.
  [[nodiscard]] std::uint64_t damaged_parts() const { return _fetcher.damaged_parts(); }

 private:
  [[nodiscard]] bool streams(const planner::chunk_record& record) const;
  [[nodiscard]] std::size_t pieces_of(const planner::chunk_record& record) const;
  [[nodiscard]] bool fits_spool(const planner::chunk_record& record) const;
  std::vector<part_pointer> plan(std::size_t index) const;
  engine::task<engine::result<void>> prove(std::size_t index,
                                           std::vector<engine::spool_lease>* into);
  engine::task<engine::result<bool>> reserve(std::size_t pieces,
                                             std::vector<engine::spool_lease>& leases);
  engine::task<engine::result<void>> produce_chunk(std::size_t index);
  engine::task<void> produce();
  engine::task<void> reach_further(engine::stop_token finished);
  engine::task<void> fetch(part_pointer one);
  engine::task<engine::result<void>> verify_streaming(part_pointer one);
  engine::task<engine::result<void>> pass_on(part_pointer one, engine::pipe_writer* pipe);
  engine::task<engine::result<void>> pass_opened(part_pointer one, engine::pipe_writer* pipe);
  [[nodiscard]] engine::result<void> finish();
  engine::task<engine::result<void>> release(int fd);

  const services& _with;
  s3::object_store& _store;
  engine::buffer_pool& _pool;
  engine::hash_worker& _hashes;
  std::vector<located_chunk> _chunks;
  engine::linked_stop_source _stop;
  engine::async_scope _scope;
  engine::semaphore _ahead;  // parts whose fetch has begun and whose release has not ended
  engine::channel<part_pointer> _order;
  bool _starved = false;  // release() waits for a part
  std::optional<engine::error> _failure;
  std::unique_ptr<engine::hash_worker> _stream_hashes;  // for chunks verified while streaming
  part_fetcher _fetcher;
  stream_gate _gate;
  progress* _shown;
  chain_thaw* _thaw;
  enum class purpose { release, hash_only };
  purpose _purpose = purpose::release;
  bool _receiving = true;  // false: run(-1)
  bool _sealed = false;
  const backup_key* _key = nullptr;
  std::uint64_t _plain_expected = 0;
  std::uint64_t _plain_bytes = 0;  // opened and released, of a sealed link
  // With purpose::hash_only: where the pieces of the one chunk go as they are hashed; null:
  // nowhere.
  std::vector<engine::spool_lease>* _into = nullptr;
  std::vector<planner::sha256_words> _states;  // after each piece but the last
  engine::spool* _spool;
  std::uint64_t _bytes = 0;
  std::uint64_t _parts = 0;
  std::uint64_t _begun = 0;  // of parts that `_shown` was told of and that are not released
};

}  // namespace bts3::app
