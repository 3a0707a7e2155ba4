// From a pipe to sealed parts: the front half of a backup.
//
// Reads into one slot at a time until it holds a whole part (short reads, 80 bytes to 100 KB each,
// are normal), shows every piece to an observer as it arrives and lets the hash worker follow. A
// part is handed out when it is full or the stream has ended; its slot and its hash travel with it,
// so the next part fills while this one is still being hashed and uploaded. While no slot is free
// nothing is read, the pipe fills, and the producer sleeps: that is all the back pressure there is.
//
// Cuts the stream into chunks (one object each) of at most chunk_bytes, and chunks into parts of
// part_bytes; only the last part of a chunk is shorter. An empty part is never made: a stream that
// ends exactly on a boundary ends with the part before it.
//
// Sealed streams: with a part_sealing each part is sealed where it lies while it fills
// (part_seal.hh). The observer sees plain bytes, on the reactor's thread and before the worker may
// touch them. Limits are of the parts as they are stored. What a part holds while its seal is not
// done, nobody gets: body() asserts that finish() has succeeded.
//
// Comparing with an earlier attempt: `recorded` says of each part in order what is noted of it. A
// part whose plain text has that fingerprint is `same`: its digests are the recorded ones, those
// behind it go on from its state, and it is not sealed and has no body. The first part of a chunk
// that is not the same, or has no record, is sealed under a new key, and so are all that follow in
// that chunk, whatever is recorded: the chunk's digests are others from there on.
#pragma once

#include "engine/buffer_pool.hh"
#include "engine/hash_worker.hh"
#include "engine/paced_pipe.hh"
#include "engine/part_seal.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

namespace bts3::engine {

// Of parts as they are stored. All parts but a chunk's last have the same size: part_bytes, or 64
// bytes less where a seal would leave as many as it needs for a tag, and could not use them.
struct part_stream_limits {
  std::size_t part_bytes = 0;     // a multiple of 64, at most the pool's slot size
  std::uint64_t chunk_bytes = 0;  // at least part_bytes
  bool payload_sha256 = false;    // also hash every part alone (payload signing over http)
};

// How a stream is sealed; as it stands here it is not.
struct part_sealing {
  seal_factory* by = nullptr;  // outlives the stream and its parts
  // What an earlier attempt has noted of a part that the store still has; empty: nothing of any.
  // Asked once, in order, when the part begins to fill.
  std::function<std::optional<recorded_part>(std::uint32_t chunk, std::uint32_t part)> recorded;

  [[nodiscard]] seal_layout layout() const { return by != nullptr ? by->layout() : seal_layout(); }
};

// A part that will not change any more, but for its sealing. Must not move while finish() waits. Of
// a sealed stream: whoever drops one before finish() has ended leaves those behind it in its chunk
// without a digest, and they fail with `cancelled`.
class sealed_part {
  slot_lease _slot;  // first, so that the hash lets go of the memory before the slot goes back

 public:
  part_hash hash;  // of a part that is not sealed, finish() gives the digests
  std::size_t bytes = 0;
  std::size_t plain_bytes = 0;    // of the stream
  std::uint32_t chunk_index = 0;  // from 0
  std::uint32_t part_number = 0;  // from 1 within its chunk
  bool fills_chunk = false;       // the chunk has reached its limit with this part
  bool full = false;              // it holds all that it may; if not, the stream ends with it

  // Suspends until every byte is hashed, and sealed where the stream is. Once. Fails with the
  // seal's error: the stream is at its end then.
  task<result<part_digest>> finish();
  // Of a sealed stream: after finish() has succeeded, and not of a part that is the same as before.
  [[nodiscard]] std::span<const std::byte> body() const;

 private:
  friend class part_stream;
  bool _readable = true;
};

// Called with every piece of the stream, in order, on the reactor's thread; an error ends it.
using stream_observer = std::function<result<void>(std::span<const std::byte>)>;

// Where the boundaries lie: the arithmetic of chunks and parts, shared by part_stream and
// spooled_part_stream.
class part_cutter {
 public:
  explicit part_cutter(part_stream_limits limits, seal_layout layout = {});

  struct place {
    std::uint32_t chunk_index = 0;
    std::uint32_t part_number = 0;
    std::size_t bytes = 0;
    bool fills_chunk = false;
    bool full = false;
  };
  // The most bytes of the part about to be filled, and the most of the stream in it.
  [[nodiscard]] std::size_t part_bytes_max() const;
  [[nodiscard]] std::size_t plain_bytes_max() const;
  [[nodiscard]] bool begins_chunk() const { return _chunk_filled == 0; }
  // That part is done and holds `plain` bytes of the stream, at least one.
  place cut(std::size_t plain);
  // What the worker has to know of the part about to be filled.
  [[nodiscard]] seal_order order(const part_sealing& sealing, bool whole_in_memory) const;
  // Of all parts, and of the stream.
  [[nodiscard]] std::uint64_t total_bytes() const { return _total_bytes; }
  [[nodiscard]] std::uint64_t plain_total_bytes() const { return _plain_total_bytes; }

 private:
  [[nodiscard]] std::uint64_t chunk_room() const { return _limits.chunk_bytes - _chunk_filled; }

  part_stream_limits _limits;
  seal_layout _layout;
  std::uint64_t _total_bytes = 0;
  std::uint64_t _plain_total_bytes = 0;
  std::uint64_t _chunk_filled = 0;
  std::uint32_t _chunk_index = 0;
  std::uint32_t _part_number = 0;
};

// The piece of a part that fits into one slot.
struct slot_filling {
  std::span<const std::byte> memory;  // of the slot, from its beginning
  std::uint64_t offset = 0;           // of it in the part
  std::uint64_t plain = 0;            // bytes of the stream that the part has already
  std::uint64_t plain_max = 0;        // and the most it may have
  seal_layout layout;

  // How many bytes of the stream this memory takes.
  [[nodiscard]] std::uint64_t wanted() const {
    return std::min(plain_max, layout.plain_before(offset + memory.size())) - plain;
  }
};

// Reads from the pipe until `what` is full or the stream has ended, shows each piece to `watch` and
// then to `hash`; no read goes across a gap. Returns the bytes read: fewer than wanted at the end
// only. The references belong to the caller, who awaits.
task<result<std::size_t>> fill_slot(buffer_pool& pool, const slot_lease& lease, slot_filling what,
                                    paced_pipe& from, const stream_observer& watch, part_hash& hash,
                                    stop_token stop);

class part_stream {
 public:
  using observer = stream_observer;

  // All references and descriptors must outlive the stream. Only one stream at a time may use
  // `hashes`.
  part_stream(buffer_pool& pool, hash_worker& hashes, sender_pipe from, part_stream_limits limits,
              observer watch, part_sealing sealing = {});

  // The next part, or nullopt after the last. Fails also with the error of a seal that is known by
  // then. Not to be called again after an error.
  task<result<std::optional<sealed_part>>> next(stop_token stop = {});

  // Of the parts so far, and of the stream in them.
  [[nodiscard]] std::uint64_t total_bytes() const { return _cutter.total_bytes(); }
  [[nodiscard]] std::uint64_t plain_total_bytes() const { return _cutter.plain_total_bytes(); }
  [[nodiscard]] bool ended() const { return _ended; }

 private:
  buffer_pool& _pool;
  hash_worker& _hashes;
  paced_pipe _from;
  part_stream_limits _limits;
  part_sealing _sealing;
  seal_layout _layout;
  part_cutter _cutter;
  observer _watch;
  bool _ended = false;
};

}  // namespace bts3::engine
