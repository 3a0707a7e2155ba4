// The thread that hashes: SHA-256 over parts as they fill, CRC32 of each, off the reactor's core.
//
// Like an escalator behind the reader: the reactor publishes how far a part has been filled, the
// worker walks after it, and by the time the last byte of a part has arrived nearly all of it has
// been hashed, still warm in the cache. Parts are hashed in the order in which they were begun, as
// the digest of a chunk is one chain; parts of other, independent jobs queue behind.
//
// The worker reads only bytes below the published mark; publishing is a release store, so that it
// sees them. A part's memory must stay valid until its job has completed or been abandoned.
//
// A part of a sealed stream is sealed on the same walk, where it lies, and what is hashed is its
// cipher text (part_seal.hh). Whoever looks at plain bytes does so before they are published: from
// then on they may change at any time.
//
// Where the reactor is played there is no thread: the worker takes turns on the reactor's.
#pragma once

#include "engine/event.hh"
#include "engine/kernel_player.hh"
#include "engine/part_seal.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/sha256.hh"

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace bts3::engine {

// What is known of a part after its last byte.
struct part_digest {
  std::optional<sha256_state> state;  // after this part; absent when the part is no whole blocks
  sha256_state digest_if_last;        // SHA-256 of the chunk, if the chunk ends with this part
  std::uint32_t crc32 = 0;            // of the part alone (IEEE 802.3)
  std::optional<sha256_state> payload_sha256;  // of the part alone, when it was asked for
  // Of a sealed part, whose digests are of its cipher text:
  std::string fingerprint;  // of its plain text; empty where the factory keeps none
  bool same = false;        // it is the recorded part, with its digests; there is no body
};

// What an earlier attempt noted of a part that was stored.
struct recorded_part {
  std::uint64_t bytes = 0;        // of the part
  std::uint64_t plain_bytes = 0;  // of these, of the stream
  part_digest digest;             // with its fingerprint
};

// A part that is to be sealed.
struct seal_order {
  seal_factory* by = nullptr;  // outlives the part's job
  std::uint32_t chunk = 0;
  std::uint32_t part = 0;
  std::uint64_t plain_offset = 0;        // of its first byte in the stream
  std::uint64_t chunk_bytes_before = 0;  // of the parts before it in its chunk; 0: it is the first
  // The part is compared with it, where those before it in the chunk were found to be the same:
  // behind another one no digest of the chunk is what it was.
  std::optional<recorded_part> recorded;
  bool whole_in_memory = false;  // no more pieces will come: what is the same need not be sealed
};

class hash_worker;

namespace detail {

class seal_walk;

// One part on its way through the worker; shared by the two threads.
struct hash_job {
  std::span<const std::byte> memory;
  sha256_hasher chain;
  sha256_hasher payload;  // with `crc32` and `seen` the worker's own, as far as it has got
  std::uint32_t crc32 = 0;
  std::size_t seen = 0;
  bool continues = false;  // takes `chain` from the job before it
  bool same_part = false;  // and its CRC32 and payload digest
  bool want_payload = false;
  std::atomic<std::size_t> filled{0};
  // The mark that the worker sleeps for; none while it is awake.
  std::atomic<std::size_t> wake_at{std::numeric_limits<std::size_t>::max()};
  std::atomic<bool> sealed{false};
  std::atomic<bool> abandoned{false};
  part_digest outcome;  // written by the worker before `done` is posted
  std::shared_ptr<event> done;
  // Of a part that is sealed; shared by its pieces.
  std::shared_ptr<seal_walk> walk;
  std::span<std::byte> room;         // `memory`, to be written to
  std::atomic<bool> goes_on{false};  // in another piece; final once `sealed`
  std::uint64_t ends_at = 0;         // of its room, in the part; the worker's
  std::optional<error> failure;      // written as `outcome` is, and before `failed`
  std::atomic<bool> failed{false};
};

}  // namespace detail

// A part that is being filled. Abandoned when destroyed before finish(): the destructor returns
// only when the worker no longer reads the memory (at most one piece of 512 KiB away).
class part_hash {
 public:
  part_hash() = default;
  part_hash(part_hash&&) noexcept = default;
  part_hash& operator=(part_hash&& other) noexcept;
  ~part_hash();

  // The first `filled` bytes are there. Never decreases.
  void publish(std::size_t filled);
  // No more bytes than published will come: the worker may finish and go on to the next job. Of a
  // part that is sealed: `goes_on` when another piece of it follows, by seal_more().
  void seal(bool goes_on = false);
  // Seals, suspends until all are hashed and resumes from the run queue. Not of a part that is
  // sealed.
  task<part_digest> finish();
  // The same of a piece of a part that is sealed, until its cipher text is final; only the part's
  // last piece has the digest. Fails with the seal's error, and with `cancelled` when the part was
  // given up.
  task<result<part_digest>> settle();
  // The seal's error, as soon as it is known.
  [[nodiscard]] std::optional<error> failure() const;

 private:
  friend hash_worker;
  void abandon();
  hash_worker* _worker = nullptr;
  std::shared_ptr<detail::hash_job> _job;
};

class hash_worker final : private played_thread {
 public:
  // Starts the thread; it must be destroyed on the reactor's thread, after every part_hash.
  // When that cannot be, ready() says why, and nothing may be begun.
  // `want_crc32`: whether the digests' crc32 is wanted; it stays 0 otherwise.
  explicit hash_worker(reactor& loop, bool want_crc32 = true);
  ~hash_worker();
  hash_worker(const hash_worker&) = delete;
  hash_worker& operator=(const hash_worker&) = delete;

  [[nodiscard]] result<void> ready() const;

  // Begins the first part of a chunk, or with `state` and `bytes_before` a part in the middle of
  // one. `memory` is where it will be filled. `want_payload` costs a second pass of SHA-256.
  part_hash begin(std::span<const std::byte> memory, bool want_payload = false);
  part_hash begin(std::span<const std::byte> memory, const sha256_state& state,
                  std::uint64_t bytes_before);
  // Begins the part that follows the one begun last by begin() or next() on this worker; only one
  // stream may be chained at a time.
  part_hash next(std::span<const std::byte> memory, bool want_payload = false);
  // Begins the next piece of the part begun last, for a part that fills in several pieces of
  // memory: the digest of its last piece is the part's.
  part_hash more(std::span<const std::byte> memory, bool want_payload = false);

  // Begins a part that is sealed in `memory`, which may hold more than the part: published are
  // positions behind plain bytes that lie where the layout has them. Chained as by begin() and
  // next(). A seal that fails fails its part, and those behind it in its chunk.
  part_hash seal(std::span<std::byte> memory, seal_order order, bool want_payload = false);
  // Begins its next piece. A piece is final only when the first byte of the segment behind it is
  // there, or the part's end.
  part_hash seal_more(std::span<std::byte> memory);
  // The part begun last by seal() will not be finished: its pieces fail with `cancelled`, unless
  // they are final. Afterwards the worker does not touch them. So does abandoning any of them.
  void give_up_seal();

 private:
  friend part_hash;
  // How far the worker has got with a job, until it waits for more of it.
  enum class progress { waiting, done, abandoned };
  part_hash enqueue(std::shared_ptr<detail::hash_job> job);
  void give_up(const std::shared_ptr<detail::seal_walk>& walk);
  template <typename Predicate>
  void await_worker(std::unique_lock<std::mutex>& lock, Predicate there);
  void wake();
  void work();
  void turn() override;
  void take_job(std::unique_lock<std::mutex>& lock);
  void begin_job(detail::hash_job& job);
  progress advance(detail::hash_job& job);
  progress hash(detail::hash_job& job);
  progress seal(detail::hash_job& job);
  void end_job(const std::shared_ptr<detail::hash_job>& job, progress how);
  void end_hash(detail::hash_job& job);
  void end_seal(const std::shared_ptr<detail::hash_job>& job);
  void note_outcome(detail::hash_job& job);
  void complete_held(std::uint64_t done_to);
  void complete(detail::hash_job& job, const std::optional<error>& failure);
  void wait_for_bytes(detail::hash_job& job);

  reactor& _loop;
  const bool _want_crc32;
  std::mutex _mutex;
  std::condition_variable _changed;
  std::deque<std::shared_ptr<detail::hash_job>> _queue;  // guarded by _mutex
  std::shared_ptr<detail::hash_job> _current;            // guarded by _mutex
  bool _stopping = false;                                // guarded by _mutex
  // Pieces of one part that are full, and whose last segment is not final.
  std::vector<std::shared_ptr<detail::hash_job>> _held;  // guarded by _mutex
  // The worker's own: where the stream's chain, and its current part, stand.
  sha256_hasher _chain;
  sha256_hasher _payload;
  std::uint32_t _crc32 = 0;
  bool _chunk_same = false;            // its parts so far are the recorded ones
  std::optional<error> _seal_failure;  // of its parts so far
  std::optional<error> _not_started;
  std::shared_ptr<detail::seal_walk> _begun_last;  // the reactor's thread's
  std::thread _thread;
};

}  // namespace bts3::engine
