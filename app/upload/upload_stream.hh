// A send stream on its way into the bucket: parts as they fill, chunks as they are due.
//
// run() reads the stream to its end and uploads parts while it does, at most `concurrency` at a
// time; complete() turns what was uploaded into objects, and is called only when the stream has
// been proven whole, so that a dead producer leaves no object at all. Each ends in one value.
//
// A sealed stream's parts are compared by fingerprints of their plain text, since what is sealed
// anew is never the same; those that are equal are not sealed.
//
// Every acknowledged part is told to the ledger, and a stream that is sent a second time skips the
// parts that the first attempt got across: SHA-256's state after a part proves that every byte of
// the chunk up to there is the same. A part that differs is uploaded in its predecessor's place.
// Where that cannot be, because the chunk is an object already or its upload has parts that the
// stream has no place for, the stream `differs`; what is in the bucket of that chunk is worthless
// then, and discard_from() removes it. The same where the store has dropped an open upload in the
// middle: nothing but sending the stream again brings its parts back.
#pragma once

#include "app/records/journal_record.hh"
#include "app/store/services.hh"
#include "app/upload/outgoing_part.hh"
#include "app/upload/stream_outcome.hh"
#include "app/upload/upload_budget.hh"
#include "app/upload/upload_chunk.hh"
#include "app/upload/upload_ledger.hh"
#include "btrfs/stream_inspector.hh"
#include "engine/async_scope.hh"
#include "engine/hash_worker.hh"
#include "engine/part_stream.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "planner/keys.hh"
#include "planner/manifest.hh"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

class upload_stream {
 public:
  // What the stream is cut into and where it goes.
  struct layout {
    layout(planner::key_layout where, planner::backup_kind of_kind, planner::timestamp at,
           std::string chunk_tag)
        : keys(std::move(where)), kind(of_kind), when(at), tag(std::move(chunk_tag)) {}
    planner::key_layout keys;
    planner::backup_kind kind;
    planner::timestamp when;
    std::string tag;  // of its chunks' keys; empty: none
  };
  // Asked once the stream has ended: whether its producer vouches for it. Reason integrity: the
  // producer does, and the stream is broken all the same.
  using proof = std::function<engine::task<engine::result<void>>()>;
  using earlier_chunks = std::map<std::uint32_t, journalled_chunk>;

  // `connection` null: everything but the upload (--no-s3). `before` is what an earlier attempt
  // left. With `seals`, which keep fingerprints, nothing of the stream leaves but what they have
  // sealed. References must outlive it.
  upload_stream(const services& with, upload_budget& budget, store_connection* connection,
                layout where, upload_ledger& ledger, earlier_chunks before,
                engine::seal_factory* seals = nullptr);
  ~upload_stream();

  // Once. A stream that `prove` rejects ends the uploads in flight at once.
  engine::task<stream_outcome> run(engine::sender_pipe from, btrfs::stream_inspector& inspector,
                                   proof prove);
  // After a run that was whole: its chunks for the manifest are in the outcome.
  engine::task<stream_outcome> complete();
  // After another outcome: aborts the uploads of this chunk and those behind it, and tells the
  // ledger.
  engine::task<engine::result<void>> discard_from(std::uint32_t index);
  // Lets go of what it holds; what the store may have of it, for a removal. Nothing is uploaded any
  // more.
  earlier_chunks give_up();

  // As they are stored.
  [[nodiscard]] std::uint64_t total_bytes() const { return _total_bytes; }
  // Of these, what an earlier attempt had uploaded.
  [[nodiscard]] std::uint64_t resumed_bytes() const { return _resumed_bytes; }
  // The class in which the store has its chunks, as it reports it; nullopt before complete().
  [[nodiscard]] const std::optional<std::string>& stored_as() const { return _common.stored_as; }
  // What the store has acknowledged so far, resumed parts included.
  [[nodiscard]] std::uint64_t acknowledged_bytes() const { return _acknowledged_bytes; }
  [[nodiscard]] std::size_t parts_in_flight() const { return _parts_in_flight; }
  [[nodiscard]] std::size_t parts() const { return _parts; }

 private:
  upload_chunk& chunk_at(std::uint32_t index);
  engine::task<engine::result<void>> look_at_earlier();
  engine::task<bool> send_all(part_source& stream);
  [[nodiscard]] engine::part_sealing sealing();
  [[nodiscard]] bool take(outgoing_part part);
  engine::task<void> upload_part(upload_chunk& of, outgoing_part part);
  engine::task<void> ask_producer(proof prove);
  engine::task<void> check_ends();
  void acknowledge(std::uint64_t bytes, bool resumed);
  void tell_difference(const upload_chunk& in, const outgoing_part& part);
  void tell_large_manifest();
  void fail(engine::error failure);

  const services& _with;
  upload_budget& _budget;
  store_connection* _connection;
  layout _layout;
  earlier_chunks _before;
  engine::linked_stop_source _stop;
  upload_common _common;
  engine::hash_worker _hashes;
  engine::async_scope _scope;
  std::vector<std::unique_ptr<upload_chunk>> _chunks;
  std::size_t _chunks_seen = 0;  // of the stream; more may be known from before
  stream_trouble _trouble;
  bool _difference_told = false;
  bool _large_manifest_told = false;
  std::uint64_t _total_bytes = 0;
  std::uint64_t _resumed_bytes = 0;
  std::uint64_t _acknowledged_bytes = 0;
  std::size_t _parts_in_flight = 0;
  std::size_t _parts = 0;  // of the stream
};

}  // namespace bts3::app
