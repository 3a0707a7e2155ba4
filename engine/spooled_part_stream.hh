// From a pipe to sealed parts on a disk: part_stream's twin for a slow uplink.
//
// Cuts the stream exactly as part_stream does, but a part goes through small slots to the spool:
// one slot fills from the pipe, shown to the observer and the hash worker as it does, while the
// ones before it are written. next() hands a part out when its last byte has arrived; finish()
// on it waits until it is on the disk and hashed. The producer is held back when the spool is full
// (or the disk slower than it), no longer by the uplink.
//
// Memory: at most stream_slots slots here and one for each spooled_body, whatever the part size.
// Every holder of a slot gives it back without needing another, so a pool of any size makes
// progress; one that is to stop nobody has stream_slots more than there are uploads.
//
// Sealed streams: a slot is written when its cipher text is final, which its last segment is only
// when the slot behind it has got that segment's rest and a byte more. So a stream may need a slot
// while it holds another, and a pool that is to serve it has stream_slots for each sealed stream
// beside what others hold at a time. Only cipher text reaches the disk: a part that is compared
// with a recorded one is sealed as it fills, and thrown away when it is the same.
#pragma once

#include "engine/async_scope.hh"
#include "engine/body_source.hh"
#include "engine/buffer_pool.hh"
#include "engine/event.hh"
#include "engine/hash_worker.hh"
#include "engine/part_stream.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/semaphore.hh"
#include "engine/spool.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace bts3::engine {

// One slot fills, one is being written, and the hash worker may still read one before that.
inline constexpr std::size_t stream_slots = 3;

// The slot size for a pool that serves one stream and `uploads` uploads of spooled parts: 64 MiB in
// all, but no slot above 8 MiB, where larger writes gain nothing, or below 1 MiB. Of the 160 MiB
// that the program may take with the spool on, that leaves 96 for everything else; the least size
// is met at 61 uploads, more take 1 MiB each.
[[nodiscard]] std::size_t spool_slot_bytes(std::size_t uploads);

namespace detail {

// What a part's handle, and those who still write it, share. The lease goes with the last of them.
struct spooling_part {
  spooling_part(reactor& loop, spool_lease taken) : lease(std::move(taken)), settled(loop) {}
  spool_lease lease;
  std::size_t pieces = 0;  // not yet written and hashed
  bool complete = false;   // no more pieces will come
  bool sealing = false;    // the digest comes with the piece that ends the part
  std::size_t hashed = 0;  // bytes that `digest` is for
  part_digest digest;
  std::optional<error> failure;
  event settled;
};

}  // namespace detail

// A part that will not change any more, on its way to the disk or there. Gives its place in the
// spool back when destroyed (when its last write has ended, if that is later).
class spooled_part {
 public:
  std::size_t bytes = 0;
  std::size_t plain_bytes = 0;    // of the stream
  std::uint32_t chunk_index = 0;  // from 0
  std::uint32_t part_number = 0;  // from 1 within its chunk
  bool fills_chunk = false;       // the chunk has reached its limit with this part
  bool full = false;              // it holds all that it may; if not, the stream ends with it

  // Suspends until every byte is written and hashed. An error is the disk's, or the seal's. May be
  // repeated. A part that is the same as before must not be sent: it has no body.
  task<result<part_digest>> finish(stop_token stop = {});
  // After finish() has succeeded.
  [[nodiscard]] std::uint32_t crc32() const { return _state->digest.crc32; }
  [[nodiscard]] bool same() const { return _state->digest.same; }
  // Where it lies; valid as long as this part is.
  [[nodiscard]] const spool_lease& place() const { return _state->lease; }

 private:
  friend class spooled_part_stream;
  std::shared_ptr<detail::spooling_part> _state;
};

class spooled_part_stream {
 public:
  // All references and descriptors must outlive the stream. Only one stream at a time may use
  // `hashes`. The pool's slots hold whole blocks of the spool, its parts at least
  // limits.part_bytes. For a sealed stream there are two slots or more, each of at least a segment.
  spooled_part_stream(reactor& loop, spool& disk, buffer_pool& pool, hash_worker& hashes,
                      sender_pipe from, part_stream_limits limits, stream_observer watch,
                      part_sealing sealing = {});

  // The next part, or nullopt after the last. Also fails when a part before it could not be
  // written or sealed. Not to be called again after an error.
  task<result<std::optional<spooled_part>>> next(stop_token stop = {});
  // Waits until no write is under way; before the stream is destroyed, also after an error. Writes
  // are not cancelled: each is one slot.
  task<void> close();

  // Of the parts so far, and of the stream in them.
  [[nodiscard]] std::uint64_t total_bytes() const { return _cutter.total_bytes(); }
  [[nodiscard]] std::uint64_t plain_total_bytes() const { return _cutter.plain_total_bytes(); }
  [[nodiscard]] bool ended() const { return _ended; }

 private:
  using shared_part = std::shared_ptr<detail::spooling_part>;
  struct piece;
  task<result<std::size_t>> fill_part(shared_part part, stop_token stop);
  task<result<void>> take_slot(piece& next, stop_token stop);
  [[nodiscard]] part_hash begin_hash(std::span<std::byte> memory, bool first);
  task<void> store(shared_part part, piece what);
  task<result<part_digest>> settle(shared_part part, piece& what);

  reactor& _loop;
  spool& _spool;
  buffer_pool& _pool;
  hash_worker& _hashes;
  paced_pipe _from;
  part_stream_limits _limits;
  part_sealing _sealing;
  seal_layout _layout;
  part_cutter _cutter;
  stream_observer _watch;
  semaphore _slots;
  async_scope _writes;
  std::optional<error> _failure;  // the first write's that failed
  bool _ended = false;
};

// A spooled part as the body of a request, read ahead through one slot. The part, the spool and the
// pool must outlive it.
//
// What is read back is compared with what arrived: the CRC32 of the bytes in the order of sending
// must be the part's, or the last fetch fails (reason integrity), so that no store ever gets the
// whole of a part that the disk has spoiled, whether it checks digests or not. That costs
// 0.03 s of CPU time a GiB (engine/crc32.hh). A transfer that begins again must
// begin at offset 0; what starts in the middle cannot be vouched for and fails at its end.
class spooled_body final : public body_source {
 public:
  // `slot` is of `pool`, at least two blocks of the spool; finish() of the part has succeeded.
  spooled_body(spool& disk, buffer_pool& pool, const spooled_part& part, slot_lease slot);

  [[nodiscard]] std::uint64_t size() const override { return _bytes; }
  [[nodiscard]] unsigned buffers() const override { return _buffers; }
  task<result<std::span<const std::byte>>> fetch(unsigned buffer, std::uint64_t offset,
                                                 stop_token stop) override;

 private:
  [[nodiscard]] result<void> check(std::uint64_t offset, std::span<const std::byte> bytes);
  spool& _spool;
  buffer_pool& _pool;
  const spool_lease& _place;
  slot_lease _slot;
  std::size_t _bytes;
  std::uint32_t _crc32;  // of the part, as it arrived
  std::size_t _buffer_bytes;
  unsigned _buffers;
  std::uint32_t _crc32_so_far = 0;  // of the first `_checked` bytes of this transfer
  std::uint64_t _checked = 0;
  bool _in_order = true;
};

}  // namespace bts3::engine
