#include "engine/spooled_part_stream.hh"

#include "engine/assert.hh"
#include "engine/crc32.hh"

#include <algorithm>
#include <string>
#include <utility>

namespace bts3::engine {

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;
constexpr std::size_t slots_bytes_max = 64 * mebibyte;
constexpr std::size_t slot_bytes_max = 8 * mebibyte;

// A read this large runs a disk at its full speed, and two of them hide its latency.
constexpr std::size_t read_ahead_bytes = mebibyte;

}  // namespace

std::size_t spool_slot_bytes(std::size_t uploads) {
  const std::size_t share = slots_bytes_max / (uploads + stream_slots);
  return std::clamp(share / mebibyte * mebibyte, mebibyte, slot_bytes_max);
}

task<result<part_digest>> spooled_part::finish(stop_token stop) {
  // Kept alive here: the part may be moved while this waits.
  const std::shared_ptr<detail::spooling_part> state = _state;
  BTS3_ASSERT(state && state->complete);
  auto waiting = state->settled.wait(stop);
  auto settled = co_await std::move(waiting);
  if (!settled) {
    co_return std::move(settled.error());
  }
  if (state->failure) {
    error failure = *state->failure;
    co_return failure;
  }
  co_return state->digest;
}

// A slot that is full, or as full as it will be.
struct spooled_part_stream::piece {
  permit turn;
  slot_lease slot;  // before the hash, which lets go of the memory first
  part_hash hash;
  std::size_t bytes = 0;
  std::size_t offset = 0;  // within the part
  bool ends_part = false;  // of a sealed one: no other follows
};

spooled_part_stream::spooled_part_stream(reactor& loop, spool& disk, buffer_pool& pool,
                                         hash_worker& hashes, sender_pipe from,
                                         part_stream_limits limits, stream_observer watch,
                                         part_sealing sealing)
    : _loop(loop),
      _spool(disk),
      _pool(pool),
      _hashes(hashes),
      _from(from),
      _limits(limits),
      _sealing(std::move(sealing)),
      _layout(_sealing.layout()),
      _cutter(limits, _layout),
      _watch(std::move(watch)),
      _slots(loop, stream_slots, "a small slot of its stream"),
      _writes(loop) {
  BTS3_ASSERT(limits.part_bytes <= disk.part_bytes());
  BTS3_ASSERT(pool.slot_bytes() % disk.block_bytes() == 0);
  BTS3_ASSERT(!_layout.seals() || (pool.slots() >= 2 && pool.slot_bytes() >= _layout.stride));
}

task<result<std::optional<spooled_part>>> spooled_part_stream::next(stop_token stop) {
  if (_ended) {
    co_return std::optional<spooled_part>();
  }
  // Before any slot: those who will give their place back may need one.
  auto leasing = _spool.acquire(stop);
  auto lease = co_await std::move(leasing);
  if (!lease) {
    co_return std::move(lease.error());
  }
  auto state = std::make_shared<detail::spooling_part>(_loop, std::move(*lease));
  state->sealing = _layout.seals();
  auto filling = fill_part(state, stop);
  auto filled = co_await std::move(filling);
  if (!filled) {
    if (state->sealing && state->pieces > 0) {
      _hashes.give_up_seal();  // they may wait for their last segment
    }
    co_return std::move(filled.error());
  }
  if (*filled == 0) {
    co_return std::optional<spooled_part>();
  }
  state->complete = true;
  if (state->pieces == 0) {
    state->settled.set();
  }
  const part_cutter::place where = _cutter.cut(*filled);
  spooled_part part;
  part.bytes = where.bytes;
  part.plain_bytes = *filled;
  part.chunk_index = where.chunk_index;
  part.part_number = where.part_number;
  part.fills_chunk = where.fills_chunk;
  part.full = where.full;
  part._state = std::move(state);
  co_return std::optional<spooled_part>(std::move(part));
}

task<result<void>> spooled_part_stream::take_slot(piece& next, stop_token stop) {
  auto turn = co_await _slots.acquire(stop);
  if (!turn) {
    co_return std::move(turn.error());
  }
  next.turn = std::move(*turn);
  auto slot = co_await _pool.acquire(stop);
  if (!slot) {
    co_return std::move(slot.error());
  }
  next.slot = std::move(*slot);
  if (_failure) {
    error failure = *_failure;
    co_return failure;
  }
  co_return ok();
}

part_hash spooled_part_stream::begin_hash(std::span<std::byte> memory, bool first) {
  const bool payload = _limits.payload_sha256;
  if (_layout.seals()) {
    return first ? _hashes.seal(memory, _cutter.order(_sealing, false), payload)
                 : _hashes.seal_more(memory);
  }
  if (!first) {
    return _hashes.more(memory, payload);
  }
  return _cutter.begins_chunk() ? _hashes.begin(memory, payload) : _hashes.next(memory, payload);
}

// Bytes of the stream that the part got.
task<result<std::size_t>> spooled_part_stream::fill_part(shared_part part, stop_token stop) {
  const std::size_t limit = _cutter.part_bytes_max();
  slot_filling what;
  what.plain_max = _cutter.plain_bytes_max();
  what.layout = _layout;
  bool done = false;
  while (!done) {
    piece next;
    auto taking = take_slot(next, stop);
    auto taken = co_await std::move(taking);
    if (!taken) {
      co_return std::move(taken.error());
    }
    const std::span<std::byte> memory =
        next.slot.bytes().first(std::min<std::size_t>(_pool.slot_bytes(), limit - what.offset));
    what.memory = memory;
    next.hash = begin_hash(memory, what.offset == 0);
    if (!_ended) {  // else a tag is all that is missing
      const std::uint64_t wanted = what.wanted();
      auto filling = fill_slot(_pool, next.slot, what, _from, _watch, next.hash, stop);
      auto got = co_await std::move(filling);
      if (!got) {
        co_return std::move(got.error());
      }
      _ended = *got < wanted;
      what.plain += *got;
    }
    if (what.plain == 0) {
      break;
    }
    const bool no_more = _ended || what.plain == what.plain_max;
    const std::uint64_t part_end = no_more ? _layout.sealed_bytes(what.plain) : limit;
    next.offset = what.offset;
    next.bytes = std::min<std::size_t>(memory.size(), part_end - what.offset);
    done = no_more && what.offset + next.bytes == part_end;
    next.ends_part = done;
    what.offset += memory.size();
    if (next.bytes == 0 && !_layout.seals()) {
      break;
    }
    // Now, so that the worker can go on with the next piece during the write.
    next.hash.seal(_layout.seals() && !done);
    ++part->pieces;
    _writes.spawn(store(part, std::move(next)));
  }
  co_return what.plain;
}

// The part's digest so far. Of a part that is sealed the piece is final then, and may leave the
// memory.
task<result<part_digest>> spooled_part_stream::settle(shared_part part, piece& what) {
  if (part->sealing) {
    auto settling = what.hash.settle();
    co_return co_await std::move(settling);
  }
  auto finishing = what.hash.finish();
  const part_digest digest = co_await std::move(finishing);
  co_return digest;
}

task<void> spooled_part_stream::store(shared_part part, piece what) {
  result<part_digest> digest;
  result<void> written;
  if (part->sealing) {
    auto settling = settle(part, what);
    digest = co_await std::move(settling);
  }
  if (digest && what.bytes > 0) {
    auto writing = _spool.write(part->lease, _pool, what.slot, what.bytes, what.offset);
    written = co_await std::move(writing);
  }
  if (!part->sealing) {
    auto finishing = settle(part, what);
    digest = co_await std::move(finishing);
  }
  if (digest && !written) {
    digest = std::move(written.error());
  }
  if (!digest) {
    part->failure = digest.error();
    if (!_failure) {
      _failure = digest.error();
    }
  }
  // Writes may end in any order; the digest of the last piece is the part's.
  if (digest && (part->sealing ? what.ends_part : what.offset + what.bytes > part->hashed)) {
    part->hashed = what.offset + what.bytes;
    part->digest = std::move(*digest);
  }
  if (--part->pieces == 0 && part->complete) {
    part->settled.set();
  }
}

task<void> spooled_part_stream::close() {
  auto joining = _writes.join();
  co_await std::move(joining);
}

spooled_body::spooled_body(spool& disk, buffer_pool& pool, const spooled_part& part,
                           slot_lease slot)
    : _spool(disk),
      _pool(pool),
      _place(part.place()),
      _slot(std::move(slot)),
      _bytes(part.bytes),
      _crc32(part.crc32()),
      _buffer_bytes(std::min(read_ahead_bytes, _slot.bytes().size() / 2) / disk.block_bytes() *
                    disk.block_bytes()),
      _buffers(0) {
  BTS3_ASSERT(_buffer_bytes > 0 && !part.same());
  _buffers = static_cast<unsigned>(_slot.bytes().size() / _buffer_bytes);
}

result<void> spooled_body::check(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (offset == 0) {
    _crc32_so_far = 0;
    _checked = 0;
    _in_order = true;
  }
  _in_order = _in_order && offset == _checked;
  if (_in_order) {
    _crc32_so_far = crc32(_crc32_so_far, bytes);
    _checked += bytes.size();
  }
  if (offset + bytes.size() < _bytes || (_in_order && _crc32_so_far == _crc32)) {
    return ok();
  }
  error failure;
  if (!_in_order) {
    failure.what_now = disposition::retry;
    failure.why = reason::protocol;
    failure.message = "a part from the spool was sent from its middle on, which cannot be checked";
    return failure;
  }
  failure.why = reason::integrity;
  failure.message = "the spool in " + _spool.directory() + " returns other bytes than were written";
  failure.remedy = spool_disk_remedy();
  return failure;
}

task<result<std::span<const std::byte>>> spooled_body::fetch(unsigned buffer, std::uint64_t offset,
                                                             stop_token stop) {
  BTS3_ASSERT(buffer < _buffers && offset < _bytes);
  // Reads begin on a block; a transfer that starts again in the middle of one skips its head.
  const std::uint64_t begin = offset / _spool.block_bytes() * _spool.block_bytes();
  const auto skipped = static_cast<std::size_t>(offset - begin);
  const auto length =
      static_cast<std::size_t>(std::min<std::uint64_t>(_buffer_bytes, _bytes - begin));
  const std::size_t slot_offset = buffer * _buffer_bytes;
  auto reading = _spool.read(_place, _pool, _slot, slot_offset, length, begin, stop);
  auto read = co_await std::move(reading);
  if (!read) {
    co_return std::move(read.error());
  }
  const std::span<const std::byte> bytes =
      _slot.bytes().subspan(slot_offset, length).subspan(skipped);
  if (auto right = check(offset, bytes); !right) {
    co_return std::move(right.error());
  }
  co_return bytes;
}

}  // namespace bts3::engine
