// A send stream on its way into the bucket: parts as they fill, chunks as they are due.
//
// run() reads the stream to its end and uploads parts while it does, at most `concurrency` at a
// time; complete() turns what was uploaded into objects, and is called only when the stream has
// been proven whole, so that a dead producer leaves no object at all. abandon() undoes everything.
//
// With a journal every acknowledged part is recorded, and a stream that is sent a second time skips
// the parts that the first attempt got across: SHA-256's state after a part proves that every byte
// of the chunk up to there is the same. A part that differs is uploaded in its predecessor's place.
// Where that cannot be, because the chunk is an object already or its upload has parts that the
// stream has no place for, diverged() says in which chunk; what is in the bucket of that chunk is
// worthless then, and discard_from() removes it. The same where the store has dropped an open
// upload in the middle: nothing but sending the stream again brings its parts back.
// A store that does not list parts is believed to have those that the journal has: completing them
// shows whether that is so, and where it is not, the chunk is sent again.
// A chunk that was begun with another storage class or encryption than is configured now is begun
// anew: what the manifest says of a backup holds for each of its chunks, and who turns encryption
// on wants nothing stored without.
#pragma once

#include "app/records/journal_record.hh"
#include "app/store/services.hh"
#include "app/transfer/part_patience.hh"
#include "app/transfer/upload_ledger.hh"
#include "btrfs/stream_inspector.hh"
#include "engine/async_scope.hh"
#include "engine/buffer_pool.hh"
#include "engine/hash_worker.hh"
#include "engine/part_stream.hh"
#include "engine/semaphore.hh"
#include "engine/spool.hh"
#include "engine/spooled_part_stream.hh"
#include "planner/keys.hh"
#include "planner/manifest.hh"
#include "s3/concurrency_control.hh"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

namespace bts3::app {

// What the streams of a run share, however many are under way: the memory, the spool and the parts
// in flight.
struct upload_budget {
  // Fails when the spool cannot be used (s3.spool_enabled); the error names the key.
  static engine::result<std::unique_ptr<upload_budget>> create(const services& with);

  // Without a spool, slots of one part each, of which one fills while the others are uploaded; with
  // one, small slots on the way to the disk and back.
  engine::buffer_pool slots;
  engine::semaphore in_flight;
  std::unique_ptr<engine::spool> disk;  // null: no spool

  // Room for one more part, to be had before it is filled and kept until it is gone. Few parts have
  // room at first, one that fills for each stream and one that is sent: a store that is fast needs
  // no more, and memory that is not needed is never touched. While streams are kept waiting their
  // number doubles, up to that of the slots. With a spool there is always room.
  engine::task<engine::result<engine::permit>> room(engine::stop_token stop);
  // Parts that have room, taken or not.
  [[nodiscard]] std::size_t parts_with_room() const { return _parts_with_room; }
  [[nodiscard]] std::size_t room_taken() const { return _parts_with_room - _room.available(); }

  // The store asked to slow down; a part has arrived.
  void throttled();
  void part_arrived();

 private:
  upload_budget(const services& with, std::size_t slot_bytes, std::size_t slot_count,
                std::size_t uploads);
  engine::task<void> widen(engine::stop_token arrived);

  engine::reactor& _loop;
  engine::log_sink& _log;
  std::size_t _parts_with_room;
  engine::semaphore _room;
  part_patience _patience;  // of those who wait for room
  s3::concurrency_control _control;
};

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
  // Asked once the stream has ended: whether its producer vouches for it.
  using proof = std::function<engine::task<engine::result<void>>()>;

  // `connection` null: everything but the upload (--no-s3). `before` is what an earlier attempt
  // left. References must outlive it.
  upload_stream(const services& with, upload_budget& budget, store_connection* connection,
                layout where, upload_ledger& ledger,
                std::map<std::uint32_t, journalled_chunk> before);
  ~upload_stream();

  // A stream that `prove` rejects ends the uploads in flight at once.
  engine::task<engine::result<void>> run(int fd, btrfs::stream_inspector& inspector, proof prove);
  // The chunks for the manifest, in order.
  engine::task<engine::result<std::vector<planner::chunk_record>>> complete();
  // Aborts open uploads and deletes objects that exist already. False when something was left;
  // failures are logged. `limit` is not the program's stop: cleaning up after one is the point.
  engine::task<bool> abandon(engine::stop_token limit);

  // The chunk in which a repeated stream differs from what was uploaded before, or whose upload is
  // gone.
  [[nodiscard]] std::optional<std::uint32_t> diverged() const { return _diverged; }
  // Whether that chunk is an object already: then nothing of the earlier attempt can be used.
  [[nodiscard]] bool diverged_in_object() const { return _diverged_in_object; }
  // It is the upload that is gone: the stream is the same.
  [[nodiscard]] bool upload_dropped() const { return _dropped; }
  // Aborts the uploads of this chunk and those behind it, and tells the journal.
  engine::task<engine::result<void>> discard_from(std::uint32_t index);

  [[nodiscard]] std::uint64_t total_bytes() const { return _total_bytes; }
  // Of these, what an earlier attempt had uploaded.
  [[nodiscard]] std::uint64_t resumed_bytes() const { return _resumed_bytes; }
  // The class in which the store has its chunks, as it reports it; nullopt before complete().
  [[nodiscard]] const std::optional<std::string>& stored_as() const { return _stored_as; }
  // What the store has acknowledged so far, resumed parts included.
  [[nodiscard]] std::uint64_t acknowledged_bytes() const { return _acknowledged_bytes; }
  [[nodiscard]] std::size_t parts_in_flight() const { return _parts_in_flight; }
  [[nodiscard]] std::size_t parts() const { return _parts; }
  // The producer itself failed: the stream is worthless, and so is what was uploaded of it.
  [[nodiscard]] bool producer_failed() const { return _producer_failed; }
  // The producer is content, and yet its stream is none: sent again it may be one, and what was
  // uploaded of this one is good up to where it broke.
  [[nodiscard]] bool stream_broken() const { return _stream_broken; }

 private:
  struct chunk;
  struct pending_part;
  struct part_body;
  class part_source;
  chunk& chunk_at(std::uint32_t index);
  std::string written_as() const;
  planner::timestamp store_time() const;
  engine::task<engine::result<void>> look_at_earlier();
  engine::task<engine::result<void>> look_at(chunk& one);
  engine::task<engine::result<void>> begin_anew(chunk& one);
  void go_on_with(chunk& one);
  void believe_journal(chunk& one, const engine::error& refused);
  bool is_incomplete(const chunk& one, const engine::error& failure) const;
  engine::task<engine::result<bool>> is_stored(chunk& one);
  engine::task<void> upload_part(chunk& of, pending_part part);
  engine::task<engine::result<void>> send_part(chunk& of, pending_part& part,
                                               const engine::part_digest& digest);
  engine::task<engine::result<void>> open_body(pending_part& part, part_body& into);
  engine::task<engine::result<void>> finish_chunk(chunk& one);
  engine::task<engine::result<void>> ask_for_class(const chunk& one);
  void note_class(const s3::storage_class& reported);
  engine::task<engine::result<void>> hash_whole(chunk& one);
  engine::task<engine::result<void>> check_ends();
  [[nodiscard]] std::string sha256_of(const chunk& one) const;
  void diverge(const chunk& in);
  void tell_difference(const chunk& in, const pending_part& part);
  void drop(const chunk& of, engine::error failure);
  void fail(engine::error failure);
  void tell_large_manifest();

  const services& _with;
  upload_budget& _budget;
  store_connection* _connection;
  layout _layout;
  upload_ledger& _ledger;
  std::map<std::uint32_t, journalled_chunk> _before;
  engine::linked_stop_source _stop;
  engine::hash_worker _hashes;
  engine::async_scope _scope;
  std::vector<std::unique_ptr<chunk>> _chunks;
  std::size_t _chunks_seen = 0;  // of the stream; more may be known from before
  std::optional<engine::error> _failure;
  std::optional<std::uint32_t> _diverged;
  bool _diverged_in_object = false;
  bool _dropped = false;
  bool _producer_failed = false;
  bool _stream_broken = false;
  bool _differs = false;
  std::uint64_t _total_bytes = 0;
  std::uint64_t _resumed_bytes = 0;
  std::uint64_t _acknowledged_bytes = 0;
  std::size_t _parts_in_flight = 0;
  std::size_t _parts = 0;  // of the stream
  bool _large_manifest_told = false;
  std::optional<std::string> _stored_as;
};

}  // namespace bts3::app
