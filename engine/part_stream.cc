#include "engine/part_stream.hh"

#include "engine/assert.hh"

#include <algorithm>
#include <utility>

namespace bts3::engine {

part_cutter::part_cutter(part_stream_limits limits) : _limits(limits) {
  BTS3_ASSERT(limits.part_bytes > 0 && limits.part_bytes % sha256_block_bytes == 0);
  BTS3_ASSERT(limits.chunk_bytes >= limits.part_bytes);
}

std::size_t part_cutter::part_bytes_max() const {
  return static_cast<std::size_t>(
      std::min<std::uint64_t>(_limits.part_bytes, _limits.chunk_bytes - _chunk_filled));
}

part_cutter::place part_cutter::cut(std::size_t bytes) {
  BTS3_ASSERT(bytes > 0 && bytes <= part_bytes_max());
  _total_bytes += bytes;
  _chunk_filled += bytes;
  place made;
  made.chunk_index = _chunk_index;
  made.part_number = ++_part_number;
  made.fills_chunk = _chunk_filled == _limits.chunk_bytes;
  if (made.fills_chunk) {
    _chunk_filled = 0;
    _part_number = 0;
    ++_chunk_index;
  }
  return made;
}

task<result<std::size_t>> fill_slot(buffer_pool& pool, const slot_lease& lease, std::size_t limit,
                                    int fd, const stream_observer& watch, part_hash& hash,
                                    stop_token stop) {
  const std::span<const std::byte> memory = lease.bytes().first(limit);
  std::size_t filled = 0;
  while (filled < limit) {
    auto got = co_await pool.read_into(lease, filled, limit - filled, fd, stop);
    if (!got) {
      co_return std::move(got.error());
    }
    if (*got == 0) {
      break;
    }
    auto accepted = watch(memory.subspan(filled, *got));
    if (!accepted) {
      co_return std::move(accepted.error());
    }
    filled += *got;
    hash.publish(filled);
  }
  co_return filled;
}

part_stream::part_stream(buffer_pool& pool, hash_worker& hashes, int fd, part_stream_limits limits,
                         observer watch)
    : _pool(pool),
      _hashes(hashes),
      _fd(fd),
      _limits(limits),
      _cutter(limits),
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
  part.slot = std::move(*lease);
  const std::size_t limit = _cutter.part_bytes_max();
  const std::span<const std::byte> memory = part.slot.bytes().first(limit);
  part.hash = _cutter.begins_chunk() ? _hashes.begin(memory, _limits.payload_sha256)
                                     : _hashes.next(memory, _limits.payload_sha256);
  auto filling = fill_slot(_pool, part.slot, limit, _fd, _watch, part.hash, stop);
  auto filled = co_await std::move(filling);
  if (!filled) {
    co_return std::move(filled.error());
  }
  _ended = *filled < limit;
  if (*filled == 0) {
    co_return std::optional<sealed_part>();
  }
  part.bytes = *filled;
  const part_cutter::place where = _cutter.cut(part.bytes);
  part.chunk_index = where.chunk_index;
  part.part_number = where.part_number;
  part.fills_chunk = where.fills_chunk;
  co_return std::optional<sealed_part>(std::move(part));
}

}  // namespace bts3::engine
