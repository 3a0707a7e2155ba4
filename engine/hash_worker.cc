#include "engine/hash_worker.hh"

#include "engine/assert.hh"
#include "engine/crc32.hh"
#include "engine/seal_walk.hh"

#include <algorithm>
#include <csignal>
#include <system_error>
#include <utility>

namespace bts3::engine {

namespace {

// The worker starts on a part when this much is there, and takes this much at a time: large enough
// that waking it costs nothing beside hashing (200 microseconds of SHA-256), small enough to stay
// in a core's second-level cache between the read, the digest and the checksum.
constexpr std::size_t piece_bytes = 512 * 1024;
// What goes through one digest after the other: the second finds it in the first-level cache.
constexpr std::size_t block_bytes = 16 * 1024;

}  // namespace

part_hash& part_hash::operator=(part_hash&& other) noexcept {
  if (this != &other) {
    abandon();
    _worker = std::exchange(other._worker, nullptr);
    _job = std::move(other._job);
  }
  return *this;
}

part_hash::~part_hash() {
  abandon();
}

void part_hash::abandon() {
  if (!_job) {
    return;
  }
  _job->abandoned = true;
  if (_job->walk) {
    _worker->give_up(_job->walk);
  }
  _worker->wake();
  std::unique_lock lock(_worker->_mutex);
  std::erase(_worker->_queue, _job);
  _worker->await_worker(lock, [this] { return _worker->_current != _job; });
  _job.reset();
}

void part_hash::publish(std::size_t filled) {
  BTS3_ASSERT(_job && filled <= _job->memory.size());
  BTS3_ASSERT(filled >= _job->filled.load(std::memory_order_relaxed));
  _job->filled.store(filled, std::memory_order_seq_cst);
  if (filled >= _job->wake_at.load(std::memory_order_seq_cst)) {
    _worker->wake();
  }
}

void part_hash::seal(bool goes_on) {
  BTS3_ASSERT(_job && (_job->walk || !goes_on));
  if (_job->sealed.load(std::memory_order_relaxed)) {
    return;  // and whether it goes on was said
  }
  _job->goes_on.store(goes_on, std::memory_order_relaxed);
  _job->sealed.store(true, std::memory_order_seq_cst);
  _worker->wake();
}

task<part_digest> part_hash::finish() {
  BTS3_ASSERT(_job && !_job->walk);
  seal();
  // Kept alive here: the job's owner may move while this waits.
  const std::shared_ptr<detail::hash_job> job = std::move(_job);
  const outside_work under_way(_worker->_loop);  // a sealed part waits for nothing else
  auto waiting = job->done->wait();
  auto finished = co_await std::move(waiting);
  BTS3_ASSERT(finished.has_value());
  co_return job->outcome;
}

task<result<part_digest>> part_hash::settle() {
  BTS3_ASSERT(_job && _job->walk);
  seal();
  const std::shared_ptr<detail::hash_job> job = std::move(_job);
  std::optional<outside_work> under_way;
  if (!job->goes_on) {  // else it waits for what its stream waits for
    under_way.emplace(_worker->_loop);
  }
  auto waiting = job->done->wait();
  auto finished = co_await std::move(waiting);
  BTS3_ASSERT(finished.has_value());
  if (job->failure) {
    error failure = *job->failure;
    co_return failure;
  }
  co_return job->outcome;
}

std::optional<error> part_hash::failure() const {
  if (_job && _job->failed.load(std::memory_order_acquire)) {
    return _job->failure;
  }
  return std::nullopt;
}

hash_worker::hash_worker(reactor& loop, bool want_crc32) : _loop(loop), _want_crc32(want_crc32) {
  if (_loop.player() != nullptr) {
    return;
  }
  // Signals belong to the reactor's thread.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    _thread = std::thread([this] { work(); });
  } catch (const std::system_error& failure) {
    _not_started = thread_error(failure.code().value());
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

result<void> hash_worker::ready() const {
  if (_not_started) {
    return *_not_started;
  }
  return ok();
}

hash_worker::~hash_worker() {
  if (_not_started) {
    return;
  }
  {
    const std::lock_guard lock(_mutex);
    BTS3_ASSERT(_queue.empty() && _held.empty());
    _stopping = true;
    _changed.notify_all();
  }
  if (kernel_player* player = _loop.player()) {
    player->forget(*this);
    return;
  }
  _thread.join();
}

part_hash hash_worker::begin(std::span<const std::byte> memory, bool want_payload) {
  auto job = std::make_shared<detail::hash_job>();
  job->memory = memory;
  job->want_payload = want_payload;
  return enqueue(std::move(job));
}

part_hash hash_worker::begin(std::span<const std::byte> memory, const sha256_state& state,
                             std::uint64_t bytes_before) {
  auto job = std::make_shared<detail::hash_job>();
  job->memory = memory;
  job->chain = sha256_hasher(state, bytes_before);
  return enqueue(std::move(job));
}

part_hash hash_worker::next(std::span<const std::byte> memory, bool want_payload) {
  auto job = std::make_shared<detail::hash_job>();
  job->memory = memory;
  job->continues = true;
  job->want_payload = want_payload;
  return enqueue(std::move(job));
}

part_hash hash_worker::more(std::span<const std::byte> memory, bool want_payload) {
  auto job = std::make_shared<detail::hash_job>();
  job->memory = memory;
  job->continues = true;
  job->same_part = true;
  job->want_payload = want_payload;
  return enqueue(std::move(job));
}

part_hash hash_worker::seal(std::span<std::byte> memory, seal_order order, bool want_payload) {
  auto job = std::make_shared<detail::hash_job>();
  job->memory = memory;
  job->room = memory;
  job->continues = order.chunk_bytes_before > 0;
  job->want_payload = want_payload;
  job->walk = std::make_shared<detail::seal_walk>(std::move(order), want_payload);
  _begun_last = job->walk;
  return enqueue(std::move(job));
}

part_hash hash_worker::seal_more(std::span<std::byte> memory) {
  BTS3_ASSERT(_begun_last && !_begun_last->order().whole_in_memory);
  auto job = std::make_shared<detail::hash_job>();
  job->memory = memory;
  job->room = memory;
  job->continues = true;
  job->same_part = true;
  job->want_payload = _begun_last->want_payload;
  job->walk = _begun_last;
  return enqueue(std::move(job));
}

void hash_worker::give_up_seal() {
  if (_begun_last) {
    give_up(std::exchange(_begun_last, nullptr));
  }
}

// From the reactor's thread.
void hash_worker::give_up(const std::shared_ptr<detail::seal_walk>& walk) {
  walk->given_up = true;
  wake();
  std::vector<std::shared_ptr<detail::hash_job>> held;
  {
    std::unique_lock lock(_mutex);
    await_worker(lock, [&] { return !_current || _current->walk != walk; });
    if (!_held.empty() && _held.front()->walk == walk) {
      held.swap(_held);  // they are of one part
    }
  }
  for (const auto& job : held) {
    complete(*job, cancelled_error());
  }
}

part_hash hash_worker::enqueue(std::shared_ptr<detail::hash_job> job) {
  BTS3_ASSERT(!_not_started);
  job->done = std::make_shared<event>(_loop, "a part's digest");
  part_hash handle;
  handle._worker = this;
  handle._job = job;
  {
    const std::lock_guard lock(_mutex);
    _queue.push_back(std::move(job));
    _changed.notify_all();
  }
  if (kernel_player* player = _loop.player()) {
    player->notify(*this);
  }
  return handle;
}

void hash_worker::wake() {
  if (kernel_player* player = _loop.player()) {
    player->notify(*this);
    return;
  }
  // Taking the mutex orders this after the worker's check of the marks and before its sleep.
  const std::lock_guard lock(_mutex);
  _changed.notify_all();
}

// For the reactor's thread: until the worker has let go of something that it does not want any
// more.
template <typename Predicate>
void hash_worker::await_worker(std::unique_lock<std::mutex>& lock, Predicate there) {
  if (_loop.player() == nullptr) {
    _changed.wait(lock, there);
    return;
  }
  while (!there()) {
    lock.unlock();
    turn();
    lock.lock();
  }
}

void hash_worker::work() {
  for (;;) {
    {
      std::unique_lock lock(_mutex);
      _current.reset();
      _changed.notify_all();  // abandon() may be waiting for this
      _changed.wait(lock, [this] { return _stopping || !_queue.empty(); });
      if (_queue.empty()) {
        return;
      }
      take_job(lock);
    }
    const std::shared_ptr<detail::hash_job> job = _current;
    begin_job(*job);
    progress how = advance(*job);
    for (; how == progress::waiting; how = advance(*job)) {
      wait_for_bytes(*job);
    }
    end_job(job, how);
  }
}

// What work() does with one job until it would wait.
void hash_worker::turn() {
  std::unique_lock lock(_mutex);
  if (!_current) {
    if (_queue.empty()) {
      return;
    }
    take_job(lock);
    begin_job(*_current);
  }
  const std::shared_ptr<detail::hash_job> job = _current;
  lock.unlock();
  job->wake_at.store(std::numeric_limits<std::size_t>::max());
  const progress how = advance(*job);
  if (how == progress::waiting) {
    job->wake_at.store(job->seen + piece_bytes);
    return;
  }
  end_job(job, how);
  lock.lock();
  _current.reset();
  if (!_queue.empty()) {
    _loop.player()->notify(*this);
  }
}

void hash_worker::take_job(std::unique_lock<std::mutex>& lock) {
  BTS3_ASSERT(lock.owns_lock());
  _current = std::move(_queue.front());
  _queue.pop_front();
}

void hash_worker::wait_for_bytes(detail::hash_job& job) {
  const auto enough = [&] {
    return job.abandoned || job.sealed || job.filled - job.seen >= piece_bytes ||
           (job.walk && job.walk->given_up);
  };
  if (!enough()) {
    std::unique_lock lock(_mutex);
    // From here publish() wakes us; a mark published before is seen by the predicate.
    job.wake_at.store(job.seen + piece_bytes, std::memory_order_seq_cst);
    _changed.wait(lock, enough);
    job.wake_at.store(std::numeric_limits<std::size_t>::max(), std::memory_order_seq_cst);
  }
}

void hash_worker::begin_job(detail::hash_job& job) {
  if (!job.walk) {
    job.chain = job.continues ? _chain : job.chain;
    if (job.same_part) {
      job.payload = _payload;
      job.crc32 = _crc32;
    }
    return;
  }
  detail::seal_walk& walk = *job.walk;
  if (!job.continues) {
    _chunk_same = true;
    _seal_failure.reset();
  }
  if (!job.same_part) {
    walk.chain = job.continues ? _chain : job.chain;
    if (!_chunk_same) {
      walk.forget_recorded();
    }
  }
  if (!_seal_failure && !walk.given_up) {
    walk.go_on_in(job.room);
    job.ends_at = walk.room();
  }
}

// With what is there by now; less than a piece is left for later, unless no more will come.
hash_worker::progress hash_worker::advance(detail::hash_job& job) {
  return job.walk ? seal(job) : hash(job);
}

hash_worker::progress hash_worker::hash(detail::hash_job& job) {
  // `sealed` is read before the mark: a sealed part's mark is final.
  const bool sealed = job.sealed.load(std::memory_order_seq_cst);
  const std::size_t filled = job.filled.load(std::memory_order_acquire);
  while (!job.abandoned && (filled - job.seen >= piece_bytes || (sealed && job.seen < filled))) {
    const std::size_t end = job.seen + std::min(piece_bytes, filled - job.seen);
    while (job.seen < end) {
      const auto block = job.memory.subspan(job.seen, std::min(block_bytes, end - job.seen));
      job.chain.update(block);
      if (_want_crc32) {
        job.crc32 = crc32(job.crc32, block);
      }
      if (job.want_payload) {
        job.payload.update(block);
      }
      job.seen += block.size();
    }
  }
  if (job.abandoned) {
    return progress::abandoned;
  }
  return sealed ? progress::done : progress::waiting;
}

// Of a part that is sealed: as far as that can be.
hash_worker::progress hash_worker::seal(detail::hash_job& job) {
  detail::seal_walk& walk = *job.walk;
  if (_seal_failure || walk.given_up) {
    return progress::done;
  }
  // `sealed` is read before the mark: a sealed piece's mark is final.
  const bool sealed = job.sealed.load(std::memory_order_seq_cst);
  const std::size_t filled = job.filled.load(std::memory_order_acquire);
  if (!sealed && filled - job.seen < piece_bytes) {
    return progress::waiting;
  }
  const bool ended = sealed && !job.goes_on;
  if (filled > job.seen || ended) {
    const detail::seal_walk::sink show = [&](std::span<const std::byte> block) {
      walk.chain.update(block);
      if (_want_crc32) {
        walk.crc32 = crc32(walk.crc32, block);
      }
      if (job.want_payload) {
        walk.payload.update(block);
      }
    };
    if (auto advanced = walk.advance(filled, ended, show); !advanced) {
      _seal_failure = std::move(advanced.error());
      return progress::done;
    }
    job.seen = filled;
    complete_held(walk.done_to());
  }
  return sealed ? progress::done : progress::waiting;
}

void hash_worker::end_job(const std::shared_ptr<detail::hash_job>& job, progress how) {
  if (job->walk) {
    end_seal(job);
  } else if (how == progress::done) {
    end_hash(*job);
    // The event belongs to the reactor's thread; the posted function keeps it alive.
    _loop.post([done = job->done] { done->set(); });
  }
}

void hash_worker::end_hash(detail::hash_job& job) {
  _chain = job.chain;
  _payload = job.payload;
  _crc32 = job.crc32;
  job.outcome.state = job.chain.state();
  job.outcome.digest_if_last = job.chain.digest();
  job.outcome.crc32 = job.crc32;
  if (job.want_payload) {
    job.outcome.payload_sha256 = job.payload.digest();
  }
}

// One piece of a part that is sealed.
void hash_worker::end_seal(const std::shared_ptr<detail::hash_job>& job) {
  detail::seal_walk& walk = *job->walk;
  if (!_seal_failure && walk.given_up) {
    _seal_failure = cancelled_error();
  }
  if (_seal_failure) {
    walk.end();
    complete_held(std::numeric_limits<std::uint64_t>::max());
    complete(*job, _seal_failure);
    return;
  }
  if (job->goes_on) {
    const std::lock_guard lock(_mutex);
    BTS3_ASSERT(_held.empty() || _held.front()->walk == job->walk);
    _held.push_back(job);
    return;
  }
  complete_held(std::numeric_limits<std::uint64_t>::max());
  note_outcome(*job);
  walk.end();
  complete(*job, std::nullopt);
}

void hash_worker::note_outcome(detail::hash_job& job) {
  const detail::seal_walk& walk = *job.walk;
  const seal_order& order = walk.order();
  if (walk.same()) {
    job.outcome = order.recorded->digest;
    job.outcome.same = true;
    if (job.outcome.state) {
      _chain = sha256_hasher(*job.outcome.state, order.chunk_bytes_before + order.recorded->bytes);
    }
    return;
  }
  _chunk_same = false;
  _chain = walk.chain;
  job.outcome.state = walk.chain.state();
  job.outcome.digest_if_last = walk.chain.digest();
  job.outcome.crc32 = walk.crc32;
  if (job.want_payload) {
    job.outcome.payload_sha256 = walk.payload.digest();
  }
  job.outcome.fingerprint = walk.fingerprint();
}

// Those pieces that are final; they fail if a seal has failed.
void hash_worker::complete_held(std::uint64_t done_to) {
  std::vector<std::shared_ptr<detail::hash_job>> final;
  {
    const std::lock_guard lock(_mutex);
    const auto rest = std::find_if(_held.begin(), _held.end(),
                                   [&](const auto& job) { return job->ends_at > done_to; });
    final.assign(_held.begin(), rest);
    _held.erase(_held.begin(), rest);
  }
  for (const auto& job : final) {
    complete(*job, _seal_failure);
  }
}

void hash_worker::complete(detail::hash_job& job, const std::optional<error>& failure) {
  job.failure = failure;
  job.failed.store(failure.has_value(), std::memory_order_release);
  _loop.post([done = job.done] { done->set(); });
}

}  // namespace bts3::engine
