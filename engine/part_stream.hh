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
#pragma once

#include "engine/buffer_pool.hh"
#include "engine/hash_worker.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

namespace bts3::engine {

struct part_stream_limits {
  std::size_t part_bytes = 0;     // a multiple of 64, at most the pool's slot size
  std::uint64_t chunk_bytes = 0;  // at least part_bytes
  bool payload_sha256 = false;    // also hash every part alone (payload signing over http)
};

// A part that will not change any more. The lease comes first, so that the hash lets go of the
// memory before the slot goes back.
struct sealed_part {
  slot_lease slot;
  part_hash hash;  // finish() gives the digests
  std::size_t bytes = 0;
  std::uint32_t chunk_index = 0;  // from 0
  std::uint32_t part_number = 0;  // from 1 within its chunk
  bool fills_chunk = false;       // the chunk has reached its limit with this part

  [[nodiscard]] std::span<const std::byte> body() const { return slot.bytes().first(bytes); }
};

// Called with every piece of the stream, in order, on the reactor's thread; an error ends it.
using stream_observer = std::function<result<void>(std::span<const std::byte>)>;

// Where the boundaries lie: the arithmetic of chunks and parts, shared by part_stream and
// spooled_part_stream.
class part_cutter {
 public:
  explicit part_cutter(part_stream_limits limits);

  struct place {
    std::uint32_t chunk_index = 0;
    std::uint32_t part_number = 0;
    bool fills_chunk = false;
  };
  // The most that the part about to be filled may hold.
  [[nodiscard]] std::size_t part_bytes_max() const;
  [[nodiscard]] bool begins_chunk() const { return _chunk_filled == 0; }
  // That part is done and holds `bytes`, at least one.
  place cut(std::size_t bytes);
  [[nodiscard]] std::uint64_t total_bytes() const { return _total_bytes; }

 private:
  part_stream_limits _limits;
  std::uint64_t _total_bytes = 0;
  std::uint64_t _chunk_filled = 0;
  std::uint32_t _chunk_index = 0;
  std::uint32_t _part_number = 0;
};

// Reads from `fd` until the first `limit` bytes of `lease` are full or the stream has ended, shows
// each piece to `watch` and then to `hash`. Returns the bytes read: below `limit` at the end only.
// The references belong to the caller, who awaits.
task<result<std::size_t>> fill_slot(buffer_pool& pool, const slot_lease& lease, std::size_t limit,
                                    int fd, const stream_observer& watch, part_hash& hash,
                                    stop_token stop);

class part_stream {
 public:
  using observer = stream_observer;

  // All references and `fd` must outlive the stream. Only one stream at a time may use `hashes`.
  part_stream(buffer_pool& pool, hash_worker& hashes, int fd, part_stream_limits limits,
              observer watch);

  // The next part, or nullopt after the last. Not to be called again after an error.
  task<result<std::optional<sealed_part>>> next(stop_token stop = {});

  [[nodiscard]] std::uint64_t total_bytes() const { return _cutter.total_bytes(); }
  [[nodiscard]] bool ended() const { return _ended; }

 private:
  buffer_pool& _pool;
  hash_worker& _hashes;
  int _fd;
  part_stream_limits _limits;
  part_cutter _cutter;
  observer _watch;
  bool _ended = false;
};

}  // namespace bts3::engine
