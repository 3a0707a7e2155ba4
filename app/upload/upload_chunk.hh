// One object in the making: what an earlier attempt left of it, its parts, its completion.
//
// A chunk that was begun with another storage class or encryption than is configured now is begun
// anew: what the manifest says of a backup holds for each of its chunks, and who turns encryption
// on wants nothing stored without. A store that does not list parts is believed to have those that
// the ledger has: completing them shows whether that is so.
#pragma once

#include "app/records/journal_record.hh"
#include "app/store/services.hh"
#include "app/upload/outgoing_part.hh"
#include "app/upload/upload_budget.hh"
#include "app/upload/upload_ledger.hh"
#include "engine/part_stream.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "planner/manifest.hh"
#include "planner/timestamp.hh"
#include "s3/verbs/multipart_upload.hh"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

namespace bts3::app {

// What the chunks of a stream share; all of it outlives them.
struct upload_common {
  upload_common(const services& of, upload_budget& from, store_connection* to, upload_ledger& into,
                engine::seal_factory* by, engine::stop_token until);
  const services& with;
  upload_budget& budget;
  store_connection* connection;  // null: nothing is uploaded
  upload_ledger& ledger;
  engine::seal_factory* seals;  // null: the stream is not sealed
  std::size_t part_bytes;       // of all parts but a chunk's last
  engine::stop_token stop;      // of parts; what follows a stream that is proven heeds with.stop
  std::optional<std::string> stored_as;  // the class that the store reports; nullopt: not yet

  // Stores map classes to others that they have; what they report is what verify will meet.
  void note_class(const s3::storage_class& reported);
  // What a chunk's ledger compares: everything that an object keeps of how it was written.
  [[nodiscard]] std::string written_as() const;
  [[nodiscard]] engine::part_stream_limits limits() const;
  // By the store's clock where that is known.
  [[nodiscard]] planner::timestamp now() const;
};

class upload_chunk {
 public:
  // `common` must outlive it.
  upload_chunk(upload_common& common, std::uint32_t index, s3::object_key key);

  [[nodiscard]] std::uint32_t index() const { return _index; }
  [[nodiscard]] const s3::object_key& key() const { return _key; }

  // Takes over what `earlier` says, and asks the store what it still has of it.
  engine::task<engine::result<void>> look_for(journalled_chunk earlier);
  // Parts that the ledger and the store both have.
  [[nodiscard]] std::size_t confirmed() const { return _confirmed.size(); }
  // What the ledger has of a part that the store has, to compare a sealed stream's with.
  [[nodiscard]] std::optional<engine::recorded_part> recorded(std::uint32_t number) const;
  // The object was there before this stream, and is compared as a whole when that has ended.
  [[nodiscard]] bool stored_before() const { return _stored_before; }

  // Counts the next part of it. A part that is `alone`, the stream having ended with it, is kept:
  // one PUT will do, when the stream is proven whole. The others are to be sent.
  void count(const outgoing_part& part) { _bytes += part.bytes; }
  void keep_alone(outgoing_part part) { _alone.emplace(std::move(part)); }
  // Before parts of it are sent, unless it was stored before.
  void prepare();
  void note_digest(std::uint32_t number, const engine::part_digest& digest);
  // Whether the store has that part already; `different`: it has another in its place.
  enum class presence { absent, present, different };
  presence look_for_part(const outgoing_part& part, const engine::part_digest& digest);
  // Returns when the store has acknowledged it and the ledger knows. `part` must outlive the call.
  engine::task<engine::result<void>> send(outgoing_part& part, engine::part_digest digest);

  // After the stream's last part. The digest of a part that was kept; suspends until it is hashed.
  engine::task<engine::result<void>> hash();
  // Whether an earlier attempt left anything that the stream has no place for. `beyond`: the stream
  // has no such chunk. Of what was stored before hash() has succeeded.
  [[nodiscard]] bool has_leftovers(bool beyond) const;
  // Of a sealed stream also the part that was kept: only by its record is it known again.
  engine::task<void> note_whole();
  // Makes it an object.
  engine::task<engine::result<void>> complete();
  // complete() failed because what the ledger was believed to have is not there.
  [[nodiscard]] bool upload_is_gone() const { return _gone; }
  [[nodiscard]] planner::chunk_record describe() const;

  void release() { _alone.reset(); }
  // Aborts its uploads, and tells the ledger.
  engine::task<engine::result<void>> discard();
  // What the store may have of it, for a removal: an upload that was begun, an object that exists
  // or may. Nullopt: nothing.
  [[nodiscard]] std::optional<journalled_chunk> left() const;

 private:
  engine::task<engine::result<void>> begin_anew();
  engine::task<engine::result<bool>> is_stored();
  engine::task<engine::result<void>> list_parts();
  void go_on();
  void believe_ledger(const engine::error& refused);
  engine::task<engine::result<void>> sweep();
  engine::task<engine::result<void>> put_alone();
  engine::task<engine::result<void>> complete_upload();
  engine::task<engine::result<void>> ask_for_class();
  engine::task<void> note_part(std::uint32_t number, std::uint64_t bytes, std::string tag);
  [[nodiscard]] engine::result<void> check_sealed(const outgoing_part& part) const;
  [[nodiscard]] bool is_incomplete(const engine::error& failure) const;
  [[nodiscard]] std::string sha256() const;
  [[nodiscard]] s3::object_store& store() const { return _common.connection->store(); }

  upload_common& _common;
  std::uint32_t _index;
  s3::object_key _key;
  std::unique_ptr<s3::multipart_upload> _upload;  // null: a single PUT, or nothing uploaded at all
  std::optional<outgoing_part> _alone;            // the only part, kept until it is put
  std::map<std::uint32_t, engine::part_digest> _digests;
  std::uint64_t _bytes = 0;
  s3::etag _tag;
  bool _begun = false;     // the upload: it may be open
  bool _exists = false;    // the object, in the bucket; or perhaps, after a lost answer
  bool _id_noted = false;  // the ledger has the upload's id
  bool _gone = false;
  // Of the attempt before:
  journalled_chunk _earlier;
  std::set<std::uint32_t> _confirmed;
  std::uint32_t _listed_last = 0;  // the highest part that the store has
  bool _believed = false;          // the store did not tell: confirmed by the ledger alone
  bool _stored_before = false;
};

}  // namespace bts3::app
