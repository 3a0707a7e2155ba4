#include "app/transfer/download_link.hh"

#include "app/records/kept_parts.hh"
#include "app/transfer/received_proof.hh"
#include "engine/assert.hh"
#include "engine/event.hh"

#include <algorithm>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// A damaged part is fetched this often, each time on a new connection, before it counts as damaged
// in the bucket.
constexpr int downloads_max = 3;
// A part whose copy expires more often than this while it is downloaded is given up: no line is so
// slow, so HEAD and GET must disagree.
constexpr int thaws_max = 3;
// A first part is fetched in this many ranges, of this size at least: as many as parts are in
// flight by default, and large enough for a connection to get up to speed.
constexpr std::uint64_t first_ranges = 4;
constexpr std::uint64_t first_range_bytes_min = std::uint64_t{4} << 20;
// Parts that are fetched or wait to be released at first: one of each.
constexpr std::size_t parts_ahead_at_first = 2;
// What is looked at before it is written: little, so that the receiver is never far behind, and of
// the last commands those it may be at are kept, with a pipe of 1 MiB between.
constexpr std::size_t look_ahead_bytes = std::size_t{1} << 20;
constexpr std::uint64_t kept_commands_bytes = std::uint64_t{3} << 20;
// One more for so long that the receiver was kept waiting: too short to cost a slow line anything,
// and longer than a busy machine delays a server that is fast enough.
constexpr std::chrono::milliseconds patience{50};
// Less than a core's own cache holds.
constexpr std::size_t cached_bytes = std::size_t{256} << 10;

// It was there when the chunks were located.
error vanished(const s3::object_key& key) {
  error failure;
  failure.what_now = disposition::not_found;
  failure.message = "chunk " + key.str() +
                    " was there and has been deleted since: something removes this backup while it "
                    "is read, as `prune` or a rule of the bucket does";
  return failure;
}

}  // namespace

// What is fetched with one GET and released at once.
struct download_link::part {
  explicit part(engine::reactor& loop) : ready(loop, "a part that is downloaded") {}
  std::size_t chunk = 0;
  std::uint32_t number = 1;  // within the chunk
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint64_t ranges = 1;                    // that it is fetched in
  bool last = false;                           // of its chunk
  bool streaming = false;                      // verified in order, with the rest of its chunk
  std::optional<engine::sha256_state> before;  // absent for a first part
  engine::sha256_state expected;               // after this part; the digest for a last one
  engine::spool_lease stored;                  // valid: it comes from there
  engine::permit ahead;
  engine::slot_lease slot;
  engine::event ready;
};

struct download_link::range_of_part {
  std::uint64_t start = 0;  // within the part
  std::uint64_t length = 0;
  result<void> outcome = engine::ok();
};

download_link::download_link(const services& with, s3::object_store& store,
                             engine::buffer_pool& pool, engine::hash_worker& hashes,
                             std::vector<located_chunk> chunks, progress* shown, chain_thaw* thaw,
                             engine::spool* spool)
    : _with(with),
      _store(store),
      _pool(pool),
      _hashes(hashes),
      _chunks(std::move(chunks)),
      _stop(with.stop),
      _scope(with.loop),
      _ahead(with.loop, std::min(parts_ahead_at_first, pool.slots()), "a part to be released"),
      _order(with.loop, pool.slots(), "the next part in order"),
      _shown(shown),
      _thaw(thaw),
      _spool(spool) {}

download_link::~download_link() {
  if (_shown != nullptr) {
    _shown->give_up(_begun);
  }
}

// Whether its parts cannot be verified each on its own, nor the chunk as one part.
bool download_link::streams(const planner::chunk_record& record) const {
  return !record.has_parts() && record.size > _pool.slot_bytes();
}

std::size_t download_link::pieces_of(const planner::chunk_record& record) const {
  return static_cast<std::size_t>((record.size + _pool.slot_bytes() - 1) / _pool.slot_bytes());
}

bool download_link::fits_spool(const planner::chunk_record& record) const {
  return _spool != nullptr && pieces_of(record) <= _spool->parts() &&
         _spool->part_bytes() >= _pool.slot_bytes() &&
         _pool.slot_bytes() % _spool->block_bytes() == 0;
}

task<result<void>> download_link::verify_first() {
  for (std::size_t index = 0; index < _chunks.size(); ++index) {
    if (!streams(_chunks[index].record) || fits_spool(_chunks[index].record)) {
      continue;
    }
    auto proving = prove(index, nullptr);
    auto proven = co_await std::move(proving);
    if (!proven) {
      co_return proven;
    }
    _with.log.write(engine::log_level::info, "restore", "chunk_verified_first",
                    {{"key", _chunks[index].key.str()}});
  }
  co_return engine::ok();
}

// Downloads a chunk without states, `into` the spool or nowhere, and compares its digest. The
// states found on the way are as good as recorded ones then, and become part of the record.
task<result<void>> download_link::prove(std::size_t index, std::vector<engine::spool_lease>* into) {
  services inside = _with;
  inside.stop = _stop.token();
  for (int attempt = 1;; ++attempt) {
    download_link once(inside, _store, _pool, _hashes,
                       std::vector<located_chunk>(1, _chunks[index]), nullptr, _thaw, _spool);
    once._purpose = purpose::hash_only;
    once._fresh = attempt > 1;
    once._into = into;
    auto running = once.run(-1);
    auto sound = co_await std::move(running);
    if (sound) {
      planner::chunk_record& record = _chunks[index].record;
      record.part_size = _pool.slot_bytes();
      record.part_states = std::move(once._states);
      co_return sound;
    }
    if (sound.error().why != reason::integrity || attempt == downloads_max) {
      co_return sound;
    }
    _with.log.write(engine::log_level::warning, "restore", "chunk_damaged",
                    {{"attempt", std::to_string(attempt)}, {"error", sound.error().message}});
  }
}

namespace {

// A spool that shrinks (its disk fills up otherwise) may never have the room that is waited for.
task<void> stop_when_smaller(engine::reactor& loop, const engine::spool& spool, std::size_t pieces,
                             engine::stop_source& waiting, engine::stop_token finished) {
  while (spool.parts() >= pieces) {
    auto sleeping = loop.sleep_aside(std::chrono::seconds(1), finished);
    auto slept = co_await std::move(sleeping);
    if (!slept) {
      co_return;
    }
  }
  waiting.request_stop();
}

}  // namespace

// Room for a whole chunk; false when the spool turns out to be too small.
task<result<bool>> download_link::reserve(std::size_t pieces,
                                          std::vector<engine::spool_lease>& leases) {
  engine::linked_stop_source waiting(_stop.token());
  engine::stop_source finished;
  engine::async_scope beside(_with.loop);
  beside.spawn(stop_when_smaller(_with.loop, *_spool, pieces, waiting, finished.token()));
  std::optional<error> failure;
  while (!failure && leases.size() < pieces) {
    auto acquiring = _spool->acquire(waiting.token());
    auto lease = co_await std::move(acquiring);
    if (lease) {
      leases.push_back(std::move(*lease));
    } else {
      failure = std::move(lease.error());
    }
  }
  finished.request_stop();
  auto joining = beside.join();
  co_await std::move(joining);
  if (!failure) {
    co_return true;
  }
  leases.clear();
  if (_stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  _with.log.write(engine::log_level::warning, "restore", "spool_too_small",
                  {{"reason", failure->what_now == disposition::cancelled
                                  ? "its disk is fuller than global.spool_size_bytes assumes"
                                  : failure->text()}});
  co_return false;
}

std::vector<download_link::part_pointer> download_link::plan(std::size_t index) const {
  std::vector<part_pointer> parts;
  const planner::chunk_record& record = _chunks[index].record;
  const bool fits = record.size <= _pool.slot_bytes();
  const bool streaming = streams(record);
  const std::uint64_t step = record.has_parts() ? std::min(*record.part_size, record.size)
                             : fits             ? record.size
                                                : _pool.slot_bytes();
  BTS3_ASSERT(step <= _pool.slot_bytes());
  for (std::uint64_t offset = 0; offset < record.size; offset += step) {
    auto one = std::make_shared<part>(_with.loop);
    one->chunk = index;
    one->number = static_cast<std::uint32_t>(offset / step + 1);
    one->offset = offset;
    one->length = std::min(step, record.size - offset);
    if (index == 0 && offset == 0 && _purpose == purpose::release) {
      one->ranges = std::clamp<std::uint64_t>(one->length / first_range_bytes_min, 1, first_ranges);
    }
    one->last = offset + one->length == record.size;
    one->streaming = streaming;
    // The codec has checked the digits and the number of states.
    one->expected = one->last || streaming
                        ? *engine::sha256_state::from_hex(record.sha256)
                        : engine::sha256_state{record.part_states[one->number - 1]};
    if (one->number > 1 && !streaming) {
      one->before = engine::sha256_state{record.part_states[one->number - 2]};
    }
    parts.push_back(std::move(one));
  }
  if (streaming && _purpose == purpose::release && _receiving) {
    _with.log.write(engine::log_level::warning, "restore", "chunk_verified_while_streaming",
                    {{"key", _chunks[index].key.str()},
                     {"reason",
                      "its manifest records no part states, and it is larger than the memory "
                      "set aside for a part; --verify-first downloads it twice instead, and a "
                      "spool that it fits (s3.spool_enabled) holds it until it is verified"}});
  }
  return parts;
}

task<result<void>> download_link::run(int fd) {
  _receiving = fd >= 0;
  engine::stop_source released_all;
  _scope.spawn(produce());
  _scope.spawn(reach_further(released_all.token()));
  auto releasing = release(fd);
  auto released = co_await std::move(releasing);
  if (!released) {
    _stop.request_stop();
  }
  released_all.request_stop();
  auto joining = _scope.join();
  co_await std::move(joining);
  co_return released;
}

// More parts at a time while the receiver is the one who waits. The first part, which it always
// waits for, tells nothing yet.
task<void> download_link::reach_further(engine::stop_token finished) {
  for (std::size_t reach = parts_ahead_at_first; reach < _pool.slots();) {
    auto sleeping = _with.loop.sleep_aside(patience, finished);
    auto slept = co_await std::move(sleeping);
    if (!slept) {
      co_return;
    }
    if (_starved) {
      _ahead.put_in(1);
      ++reach;
    }
  }
}

// Takes slots in the order of the stream and starts a download for each.
task<void> download_link::produce() {
  for (std::size_t index = 0; index < _chunks.size(); ++index) {
    auto producing = produce_chunk(index);
    auto produced = co_await std::move(producing);
    if (!produced) {
      if (!_failure) {
        _failure = std::move(produced.error());
        _stop.request_stop();
      }
      break;
    }
  }
  _order.close();
}

task<result<void>> download_link::produce_chunk(std::size_t index) {
  std::vector<engine::spool_lease> leases;
  const planner::chunk_record& record = _chunks[index].record;
  if (_purpose == purpose::release && streams(record) && fits_spool(record)) {
    auto reserving = reserve(pieces_of(record), leases);
    auto reserved = co_await std::move(reserving);
    if (!reserved) {
      co_return std::move(reserved.error());
    }
    if (*reserved) {
      auto proving = prove(index, &leases);
      auto proven = co_await std::move(proving);
      if (!proven) {
        co_return proven;
      }
      _with.log.write(engine::log_level::info, "restore", "chunk_verified_in_spool",
                      {{"key", _chunks[index].key.str()},
                       {"bytes", std::to_string(_chunks[index].record.size)}});
    }
  }
  for (const part_pointer& one : plan(index)) {
    auto permitting = _ahead.acquire(_stop.token());
    auto permitted = co_await std::move(permitting);
    if (!permitted) {
      co_return std::move(permitted.error());
    }
    one->ahead = std::move(*permitted);
    auto acquiring = _pool.acquire(_stop.token());
    auto lease = co_await std::move(acquiring);
    if (!lease) {
      co_return std::move(lease.error());
    }
    one->slot = std::move(*lease);
    if (!leases.empty()) {
      one->stored = std::move(leases[one->number - 1]);
    }
    if (_shown != nullptr) {
      _shown->begin(one->length);
      _begun += one->length;
    }
    _scope.spawn(fetch(one));
    auto pushing = _order.push(one, _stop.token());
    auto pushed = co_await std::move(pushing);
    if (!pushed) {
      co_return std::move(pushed.error());
    }
    if (one->ranges > 1) {
      auto waiting = one->ready.wait(_stop.token());
      auto there = co_await std::move(waiting);
      if (!there) {
        co_return std::move(there.error());
      }
    }
  }
  co_return engine::ok();
}

task<void> download_link::fetch(part_pointer one) {
  auto fetching = fetch_verified(one);
  auto fetched = co_await std::move(fetching);
  if (!fetched && !_failure) {
    _failure = std::move(fetched.error());
    _stop.request_stop();
  }
  one->ready.set();
}

// Whether the part is in its slot, as it is recorded, from the disk where an earlier run kept it.
task<bool> download_link::take_kept(part_pointer one) {
  const kept_parts::number which(one->chunk, one->number);
  if (!_kept->holds(which, one->length)) {
    co_return false;
  }
  auto reading = _kept->read(which, one->slot.bytes(), one->length);
  auto sound = co_await std::move(reading);
  if (sound) {
    auto verifying = verify(one);
    sound = co_await std::move(verifying);
  }
  if (sound) {
    _bytes_kept_before += one->length;
    if (_shown != nullptr) {
      _shown->correct(static_cast<std::int64_t>(one->length));
    }
    co_return true;
  }
  _kept->drop(which);
  _with.log.write(engine::log_level::warning, "restore", "kept_part_damaged",
                  {{"error", sound.error().message}, {"what_now", "it is downloaded"}});
  co_return false;
}

task<result<void>> download_link::fetch_verified(part_pointer one) {
  // What is verified by states that only this run knows, the next one could not verify.
  const bool keep = _kept != nullptr && !one->streaming && !one->stored.valid();
  if (keep) {
    auto taking = take_kept(one);
    const bool taken = co_await std::move(taking);
    if (taken) {
      co_return engine::ok();
    }
  }
  for (int attempt = 1;; ++attempt) {
    auto downloading = download(one, _fresh || attempt > 1);
    auto downloaded = co_await std::move(downloading);
    if (!downloaded || one->streaming) {
      co_return downloaded;
    }
    auto verifying = verify(one);
    auto verified = co_await std::move(verifying);
    if (verified && keep) {
      // Before it is released, which may change its bytes.
      auto keeping = _kept->keep(kept_parts::number(one->chunk, one->number), one->slot.bytes(),
                                 one->length, _stop.token());
      co_await std::move(keeping);
    }
    if (verified || attempt == downloads_max) {
      co_return verified;
    }
    ++_damaged;
    if (_shown != nullptr) {
      _shown->correct(-static_cast<std::int64_t>(one->length));
    }
    _with.log.write(engine::log_level::warning, "restore", "part_damaged",
                    {{"attempt", std::to_string(attempt)}, {"error", verified.error().message}});
  }
}

task<result<void>> download_link::download(part_pointer one, bool fresh_connection) {
  if (one->stored.valid()) {
    auto reading = _spool->read(one->stored, _pool, one->slot, 0, one->length, 0, _stop.token());
    auto read = co_await std::move(reading);
    one->stored.release();  // if its bytes are wrong, they come from the store after all
    co_return read;
  }
  // What was damaged comes again in one piece, on one connection that is new.
  const std::uint64_t count = fresh_connection ? 1 : one->ranges;
  if (count == 1) {
    auto downloading = download_range(one, 0, one->length, fresh_connection);
    co_return co_await std::move(downloading);
  }
  std::vector<range_of_part> ranges(count);
  engine::async_scope together(_with.loop);
  for (std::uint64_t i = 0; i < count; ++i) {
    ranges[i].start = one->length * i / count;
    ranges[i].length = one->length * (i + 1) / count - ranges[i].start;
    together.spawn(download_into(one, ranges[i]));
  }
  auto joining = together.join();
  co_await std::move(joining);
  for (range_of_part& range : ranges) {
    if (!range.outcome) {
      co_return std::move(range.outcome);
    }
  }
  co_return engine::ok();
}

task<void> download_link::download_into(part_pointer one, range_of_part& range) {
  auto downloading = download_range(one, range.start, range.length, false);
  range.outcome = co_await std::move(downloading);
}

task<result<void>> download_link::download_range(part_pointer one, std::uint64_t start,
                                                 std::uint64_t length, bool fresh_connection) {
  const located_chunk& from = _chunks[one->chunk];
  int thaws = 0;
  for (;;) {
    const std::uint64_t thaw_age = _thaw != nullptr ? _thaw->age() : 0;
    const bool conditional = _conditional && !from.info.tag.empty();
    s3::get_request request(from.key, one->slot.bytes().subspan(start, length));
    request.range = s3::byte_range(one->offset + start, length);
    request.fresh_connection = fresh_connection;
    if (conditional) {
      request.must_match = from.info.tag;
    }
    auto getting = _store.get_object(std::move(request), _stop.token());
    auto got = co_await std::move(getting);
    if (got) {
      if (_thaw != nullptr) {
        _thaw->has_read(length);
      }
      co_return engine::ok();
    }
    if (got.error().why == reason::not_thawed && _thaw != nullptr && thaws < thaws_max) {
      ++thaws;
      auto thawing = _thaw->again(thaw_age, _stop.token());
      auto thawed = co_await std::move(thawing);
      if (!thawed) {
        co_return thawed;
      }
      continue;
    }
    if (got.error().what_now == disposition::not_found) {
      co_return vanished(from.key);
    }
    if (got.error().why != reason::precondition || !conditional) {
      co_return std::move(got.error());
    }
    // Changed since it was looked at, or a store that compares badly?
    auto asking = _store.head_object(from.key, _stop.token());
    auto info = co_await std::move(asking);
    if (!info) {
      co_return info.error().what_now == disposition::not_found ? vanished(from.key)
                                                                : std::move(info.error());
    }
    if (info->tag != from.info.tag || info->size != from.record.size) {
      error failure;
      failure.message = "chunk " + from.key.str() + " was replaced while it was being restored";
      failure.remedy = "run the restore again";
      co_return failure;
    }
    if (std::exchange(_conditional, false)) {
      _with.log.write(engine::log_level::info, "restore", "if_match_dropped",
                      {{"reason", "the store refuses the ETag that it reports itself"}});
    }
  }
}

task<result<void>> download_link::verify(part_pointer one) {
  const auto bytes = one->slot.bytes().first(one->length);
  engine::part_hash hash =
      one->before ? _hashes.begin(bytes, *one->before, one->offset) : _hashes.begin(bytes);
  hash.publish(bytes.size());
  auto finishing = hash.finish();
  const engine::part_digest digest = co_await std::move(finishing);
  const bool equal = one->last ? digest.digest_if_last == one->expected
                               : digest.state == std::optional(one->expected);
  if (!equal) {
    error failure;
    failure.why = reason::integrity;
    failure.message = "chunk " + _chunks[one->chunk].key.str() + ", part " +
                      std::to_string(one->number) + " (bytes " + std::to_string(one->offset) +
                      " to " + std::to_string(one->offset + one->length - 1) +
                      "): its SHA-256 is not the recorded one";
    failure.remedy =
        "the object is damaged in the bucket; restore another backup, or put a good "
        "copy of it in its place";
    co_return failure;
  }
  co_return engine::ok();
}

task<result<void>> download_link::verify_streaming(part_pointer one) {
  if (!_stream_hashes) {
    _stream_hashes = std::make_unique<engine::hash_worker>(_with.loop, false);
    if (auto ready = _stream_hashes->ready(); !ready) {
      co_return std::move(ready.error());
    }
  }
  const auto bytes = one->slot.bytes().first(one->length);
  engine::part_hash hash =
      one->number == 1 ? _stream_hashes->begin(bytes) : _stream_hashes->next(bytes);
  hash.publish(bytes.size());
  auto finishing = hash.finish();
  const engine::part_digest digest = co_await std::move(finishing);
  if (!one->last) {
    BTS3_ASSERT(digest.state.has_value());  // a slot is whole pages
    _states.push_back(digest.state->words);
  }
  if (one->last && digest.digest_if_last != one->expected) {
    error failure;
    failure.why = reason::integrity;
    failure.message =
        "chunk " + _chunks[one->chunk].key.str() + ": its SHA-256 is not the recorded one";
    failure.remedy =
        "the object is damaged in the bucket; restore another backup, or put a good "
        "copy of it in its place";
    co_return failure;
  }
  co_return engine::ok();
}

// Feeds the inspector and the pipe, or the spool.
task<result<void>> download_link::pass_on(part_pointer one, engine::pipe_writer* pipe) {
  if (_purpose == purpose::hash_only && _into == nullptr) {
    co_return engine::ok();
  }
  if (_purpose == purpose::hash_only) {
    auto storing =
        _spool->write((*_into)[one->number - 1], _pool, one->slot, one->length, 0, _stop.token());
    co_return co_await std::move(storing);
  }
  auto bytes = one->slot.bytes().first(one->length);
  while (!bytes.empty()) {
    const std::size_t count =
        pipe == nullptr ? bytes.size() : std::min(bytes.size(), look_ahead_bytes);
    auto passing = pass_on_piece(bytes.first(count), pipe);
    auto passed = co_await std::move(passing);
    if (!passed) {
      co_return passed;
    }
    bytes = bytes.subspan(count);
  }
  co_return engine::ok();
}

task<result<void>> download_link::pass_on_piece(std::span<std::byte> bytes,
                                                engine::pipe_writer* pipe) {
  // What the receiver has been given of a command before its last byte was looked at, it does not
  // carry out. Both compute checksums, the second from the cache.
  for (std::span<const std::byte> rest = bytes; !rest.empty();) {
    const auto piece = rest.first(std::min(cached_bytes, rest.size()));
    rest = rest.subspan(piece.size());
    if (auto understood = _inspector.feed(piece); !understood) {
      co_return understood;
    }
    if (auto noted = _proof != nullptr ? _proof->feed(piece) : engine::ok(); !noted) {
      co_return noted;
    }
  }
  if (_expected && _inspector.identity()) {
    auto same = std::exchange(_expected, std::nullopt)->check(*_inspector.identity());
    if (!same) {
      co_return same;
    }
  }
  if (pipe == nullptr) {
    co_return engine::ok();
  }
  if (_rewriter != nullptr) {
    auto rewritten = _rewriter->feed(bytes);
    if (!rewritten) {
      co_return std::move(rewritten.error());
    }
    for (const std::span<const std::byte> piece : *rewritten) {
      auto writing = pipe->write_all(piece, _stop.token());
      auto written = co_await std::move(writing);
      if (!written) {
        co_return written;
      }
    }
    co_return engine::ok();
  }
  auto writing = pipe->write_all(bytes, _stop.token());
  co_return co_await std::move(writing);
}

task<result<void>> download_link::release(int fd) {
  std::optional<engine::pipe_writer> pipe;
  if (_receiving) {
    pipe.emplace(_with.loop, fd);
    _inspector.keep_commands(kept_commands_bytes);
  }
  // The stream stopped making sense, or its receiver gave up, in the middle of a chunk whose bytes
  // are not verified yet. Only the rest of the chunk can tell whether it is to blame.
  std::optional<error> suspicion;
  for (;;) {
    auto popping = _order.pop(_stop.token());
    auto next = co_await std::move(popping);
    if (!next || !*next) {
      break;
    }
    const part_pointer one = std::move(**next);
    _starved = _parts > 0;
    auto waiting = one->ready.wait();
    (void)co_await std::move(waiting);
    _starved = false;
    if (_failure) {
      break;
    }
    if (one->streaming) {
      auto verifying = verify_streaming(one);
      auto verified = co_await std::move(verifying);
      if (!verified) {
        co_return verified;
      }
      if (suspicion && one->last) {
        co_return std::move(*suspicion);
      }
    }
    if (!suspicion) {
      auto passing = pass_on(one, pipe ? &*pipe : nullptr);
      auto passed = co_await std::move(passing);
      if (!passed) {
        if (_failure || _stop.stop_requested()) {
          break;
        }
        if (!one->streaming || one->last || _purpose == purpose::hash_only) {
          co_return passed;
        }
        suspicion = std::move(passed.error());
        continue;  // the slot is given back with the part
      }
      _bytes += one->length;
      ++_parts;
      if (_shown != nullptr) {
        _shown->add(one->length);
        _begun -= one->length;
      }
    }
    if (one->last && _thaw != nullptr && _purpose == purpose::release) {
      _thaw->chunk_done();
    }
    one->slot.release();
    one->ahead.release();
  }
  if (_failure) {
    error failure = *_failure;
    co_return failure;
  }
  if (_stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  if (_purpose == purpose::hash_only) {
    co_return engine::ok();
  }
  co_return _inspector.finish();
}

}  // namespace bts3::app
