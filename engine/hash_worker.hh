// The thread that hashes: SHA-256 over parts as they fill, CRC32 of each, off the reactor's core.
//
// Like an escalator behind the reader: the reactor publishes how far a part has been filled, the
// worker walks after it, and by the time the last byte of a part has arrived nearly all of it has
// been hashed, still warm in the cache. Parts are hashed in the order in which they were begun, as
// the digest of a chunk is one chain; parts of other, independent jobs queue behind.
//
// The worker reads only bytes below the published mark; publishing is a release store, so that it
// sees them. A part's memory must stay valid until its job has completed or been abandoned.
#pragma once

#include "engine/event.hh"
#include "engine/reactor.hh"
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
#include <thread>

namespace bts3::engine {

// What is known of a part after its last byte.
struct part_digest {
  std::optional<sha256_state> state;  // after this part; absent when the part is no whole blocks
  sha256_state digest_if_last;        // SHA-256 of the chunk, if the chunk ends with this part
  std::uint32_t crc32 = 0;            // of the part alone (IEEE 802.3)
  std::optional<sha256_state> payload_sha256;  // of the part alone, when it was asked for
};

class hash_worker;

namespace detail {

// One part on its way through the worker; shared by the two threads.
struct hash_job {
  std::span<const std::byte> memory;
  sha256_hasher chain;
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
  // No more bytes than published will come: the worker may finish and go on to the next job.
  void seal();
  // Seals, suspends until all are hashed and resumes from the run queue.
  task<part_digest> finish();

 private:
  friend hash_worker;
  void abandon();
  hash_worker* _worker = nullptr;
  std::shared_ptr<detail::hash_job> _job;
};

class hash_worker {
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

 private:
  friend part_hash;
  part_hash enqueue(std::shared_ptr<detail::hash_job> job);
  void wake();
  void work();
  void hash(detail::hash_job& job);
  std::size_t wait_for_bytes(detail::hash_job& job, std::size_t hashed);

  reactor& _loop;
  const bool _want_crc32;
  std::mutex _mutex;
  std::condition_variable _changed;
  std::deque<std::shared_ptr<detail::hash_job>> _queue;  // guarded by _mutex
  std::shared_ptr<detail::hash_job> _current;            // guarded by _mutex
  bool _stopping = false;                                // guarded by _mutex
  // The worker's own: where the stream's chain, and its current part, stand.
  sha256_hasher _chain;
  sha256_hasher _payload;
  std::uint32_t _crc32 = 0;
  std::optional<error> _not_started;
  std::thread _thread;
};

}  // namespace bts3::engine
