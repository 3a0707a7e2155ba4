#include "app/download/download_link.hh"

#include "engine/age/part_seals.hh"
#include "engine/assert.hh"
#include "engine/offload.hh"

#include <algorithm>
#include <functional>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// A first part is fetched in this many ranges, of this size at least: as many as parts are in
// flight by default, and large enough for a connection to get up to speed.
constexpr std::uint64_t first_ranges = 4;
constexpr std::uint64_t first_range_bytes_min = std::uint64_t{4} << 20;
// Parts that are fetched or wait to be released at first: one of each.
constexpr std::size_t parts_ahead_at_first = 2;
// One more for so long that the receiver was kept waiting: too short to cost a slow line anything,
// and longer than a busy machine delays a server that is fast enough.
constexpr std::chrono::milliseconds patience{50};

}  // namespace

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
      _fetcher(with, store, pool, hashes, _chunks, shown, thaw, spool, _stop.token()),
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
    if (attempt > 1) {
      once._fetcher.distrust_connections();
    }
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

std::vector<part_pointer> download_link::plan(std::size_t index) const {
  std::vector<part_pointer> parts;
  const planner::chunk_record& record = _chunks[index].record;
  const bool fits = record.size <= _pool.slot_bytes();
  const bool streaming = streams(record);
  const std::uint64_t step = record.has_parts() ? std::min(*record.part_size, record.size)
                             : fits             ? record.size
                                                : _pool.slot_bytes();
  BTS3_ASSERT(step <= _pool.slot_bytes());
  for (std::uint64_t offset = 0; offset < record.size; offset += step) {
    auto one = std::make_shared<link_part>(_with.loop);
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
  BTS3_ASSERT(fd < 0 || !_sealed || _key != nullptr);
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
  auto fetching = _fetcher.fetch(one);
  auto fetched = co_await std::move(fetching);
  if (!fetched && !_failure) {
    _failure = std::move(fetched.error());
    _stop.request_stop();
  }
  one->ready.set();
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

// Through the gate, or into the spool.
task<result<void>> download_link::pass_on(part_pointer one, engine::pipe_writer* pipe) {
  if (_purpose == purpose::hash_only && _into == nullptr) {
    co_return engine::ok();
  }
  if (_purpose == purpose::hash_only) {
    auto storing =
        _spool->write((*_into)[one->number - 1], _pool, one->slot, one->length, 0, _stop.token());
    co_return co_await std::move(storing);
  }
  if (_sealed && _key == nullptr) {
    co_return engine::ok();
  }
  if (_sealed) {
    auto passing = pass_opened(std::move(one), pipe);
    co_return co_await std::move(passing);
  }
  auto passing = _gate.pass(one->slot.bytes().first(one->length), pipe, _stop.token());
  co_return co_await std::move(passing);
}

// Every segment is opened before the first byte is released: whoever gets a part gets it whole.
task<result<void>> download_link::pass_opened(part_pointer one, engine::pipe_writer* pipe) {
  const age::part_place place{_key->id, static_cast<std::uint32_t>(one->chunk), one->number,
                              _plain_bytes};
  auto part = age::part_in_slot::begin(_key->opener, one->slot.bytes().first(one->length), place);
  result<void> opened = engine::ok();
  if (part) {
    std::function<result<void>()> call = [&part] { return part->open_all(); };
    auto opening = engine::offload(_with.loop, std::move(call));
    opened = co_await std::move(opening);
  } else {
    opened = std::move(part.error());
  }
  if (!opened) {
    opened.error().remedy =
        "it has the digest that the manifest records, so somebody has changed both: restore "
        "another backup, and find out who can write to the bucket";
    co_return std::move(opened.error())
        .within("chunk " + _chunks[one->chunk].key.str() + ", part " + std::to_string(one->number));
  }
  for (;;) {
    const auto text = part->next();
    if (!text) {
      co_return text.error();
    }
    if (text->empty()) {
      break;
    }
    auto passing = _gate.pass(*text, pipe, _stop.token());
    auto passed = co_await std::move(passing);
    if (!passed) {
      co_return passed;
    }
    _plain_bytes += text->size();
  }
  co_return engine::ok();
}

// The stream has its END, and a sealed one as many bytes as the manifest has of it.
result<void> download_link::finish() {
  if (_sealed && _key == nullptr) {
    return engine::ok();
  }
  if (auto whole = _gate.finish(); !whole) {
    return whole;
  }
  if (_sealed && _plain_bytes != _plain_expected) {
    error failure;
    failure.why = reason::integrity;
    failure.message = "the stream has " + std::to_string(_plain_bytes) +
                      " bytes, and its manifest records " + std::to_string(_plain_expected);
    return failure;
  }
  return engine::ok();
}

task<result<void>> download_link::release(int fd) {
  std::optional<engine::pipe_writer> pipe;
  if (_receiving) {
    pipe.emplace(_with.loop, fd);
    _gate.keep_commands();
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
  co_return finish();
}

}  // namespace bts3::app
