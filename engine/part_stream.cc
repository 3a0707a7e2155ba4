#include "engine/part_stream.hh"

#include "engine/assert.hh"

#include <algorithm>
#include <utility>

namespace bts3::engine {

part_cutter::part_cutter(part_stream_limits limits, seal_layout layout)
    : _limits(limits), _layout(layout) {
  BTS3_ASSERT(limits.part_bytes > 0 && limits.part_bytes % sha256_block_bytes == 0);
  BTS3_ASSERT(limits.chunk_bytes >= limits.part_bytes);
  BTS3_ASSERT(plain_bytes_max() > 0);
}

std::size_t part_cutter::part_bytes_max() const {
  return static_cast<std::size_t>(_layout.sealed_bytes(plain_bytes_max()));
}

std::size_t part_cutter::plain_bytes_max() const {
  std::uint64_t room = std::min<std::uint64_t>(_limits.part_bytes, chunk_room());
  if (room == _limits.part_bytes) {
    // A part with others behind it has whole blocks of SHA-256, whatever the seal leaves over.
    while (room > sha256_block_bytes &&
           _layout.sealed_bytes(_layout.plain_bytes_max(room)) < room) {
      room -= sha256_block_bytes;
    }
  }
  return static_cast<std::size_t>(_layout.plain_bytes_max(room));
}

part_cutter::place part_cutter::cut(std::size_t plain) {
  const std::size_t plain_max = plain_bytes_max();
  BTS3_ASSERT(plain > 0 && plain <= plain_max);
  place made;
  made.bytes = static_cast<std::size_t>(_layout.sealed_bytes(plain));
  _total_bytes += made.bytes;
  _plain_total_bytes += plain;
  _chunk_filled += made.bytes;
  made.chunk_index = _chunk_index;
  made.part_number = ++_part_number;
  made.full = plain == plain_max;
  made.fills_chunk = made.full && _layout.plain_bytes_max(chunk_room()) == 0;
  if (made.fills_chunk) {
    _chunk_filled = 0;
    _part_number = 0;
    ++_chunk_index;
  }
  return made;
}

seal_order part_cutter::order(const part_sealing& sealing, bool whole_in_memory) const {
  seal_order made;
  made.by = sealing.by;
  made.chunk = _chunk_index;
  made.part = _part_number + 1;
  made.plain_offset = _plain_total_bytes;
  made.chunk_bytes_before = _chunk_filled;
  if (sealing.recorded) {
    made.recorded = sealing.recorded(made.chunk, made.part);
  }
  made.whole_in_memory = whole_in_memory;
  return made;
}

task<result<std::size_t>> fill_slot(buffer_pool& pool, const slot_lease& lease, slot_filling what,
                                    paced_pipe& from, const stream_observer& watch, part_hash& hash,
                                    stop_token stop) {
  const std::uint64_t wanted = what.wanted();
  std::size_t filled = 0;
  while (filled < wanted) {
    const seal_layout::range next = what.layout.readable(what.plain + filled, wanted - filled);
    const auto offset = static_cast<std::size_t>(next.offset - what.offset);
    const auto pause = from.pause(pool.loop().now());
    if (pause.count() > 0) {
      auto waiting = from.wait(pool.loop(), pause, stop);
      auto waited = co_await std::move(waiting);
      if (!waited) {
        co_return std::move(waited.error());
      }
    }
    auto got = co_await pool.read_into(lease, offset, next.length, from.fd(), stop);
    if (!got) {
      co_return std::move(got.error());
    }
    if (*got == 0) {
      break;
    }
    from.note(*got, pool.loop().now());
    auto accepted = watch(what.memory.subspan(offset, *got));
    if (!accepted) {
      co_return std::move(accepted.error());
    }
    filled += *got;
    hash.publish(offset + *got);
  }
  co_return filled;
}

task<result<part_digest>> sealed_part::finish() {
  if (_readable) {
    auto finishing = hash.finish();
    const part_digest digest = co_await std::move(finishing);
    co_return digest;
  }
  auto settling = hash.settle();
  auto digest = co_await std::move(settling);
  _readable = digest && !digest->same;
  co_return digest;
}

std::span<const std::byte> sealed_part::body() const {
  BTS3_ASSERT(_readable);
  return _slot.bytes().first(bytes);
}

part_stream::part_stream(buffer_pool& pool, hash_worker& hashes, sender_pipe from,
                         part_stream_limits limits, observer watch, part_sealing sealing)
    : _pool(pool),
      _hashes(hashes),
      _from(from),
      _limits(limits),
      _sealing(std::move(sealing)),
      _layout(_sealing.layout()),
      _cutter(limits, _layout),
      _watch(std::move(watch)) {
  BTS3_ASSERT(limits.part_bytes <= pool.slot_bytes());
}

task<result<std::optional<sealed_part>>> part_stream::next(stop_token stop) {
  if (_ended) {
    co_return std::optional<sealed_part>();
  }
  auto lease = co_await _pool.acquire(stop);
  if (!lease) {
    co_return std::move(lease.error());
  }
  sealed_part part;
  part._slot = std::move(*lease);
  part._readable = !_layout.seals();
  const std::span<std::byte> memory = part._slot.bytes().first(_cutter.part_bytes_max());
  if (_layout.seals()) {
    part.hash = _hashes.seal(memory, _cutter.order(_sealing, true), _limits.payload_sha256);
  } else {
    part.hash = _cutter.begins_chunk() ? _hashes.begin(memory, _limits.payload_sha256)
                                       : _hashes.next(memory, _limits.payload_sha256);
  }
  const slot_filling what{memory, 0, 0, _cutter.plain_bytes_max(), _layout};
  auto filling = fill_slot(_pool, part._slot, what, _from, _watch, part.hash, stop);
  auto filled = co_await std::move(filling);
  if (!filled) {
    co_return std::move(filled.error());
  }
  _ended = *filled < what.plain_max;
  if (*filled == 0) {
    co_return std::optional<sealed_part>();
  }
  if (auto failure = part.hash.failure()) {
    co_return std::move(*failure);
  }
  part.plain_bytes = *filled;
  const part_cutter::place where = _cutter.cut(part.plain_bytes);
  part.bytes = where.bytes;
  part.chunk_index = where.chunk_index;
  part.part_number = where.part_number;
  part.fills_chunk = where.fills_chunk;
  part.full = where.full;
  co_return std::optional<sealed_part>(std::move(part));
}

}  // namespace bts3::engine
