#include "engine/part_stream.hh"

#include "engine/assert.hh"

#include <algorithm>
#include <utility>

namespace bts3::engine {

part_stream::part_stream(buffer_pool& pool, hash_worker& hashes, int fd, part_stream_limits limits,
                         observer watch)
    : _pool(pool), _hashes(hashes), _fd(fd), _limits(limits), _watch(std::move(watch)) {
  BTS3_ASSERT(limits.part_bytes > 0 && limits.part_bytes % sha256_block_bytes == 0);
  BTS3_ASSERT(limits.part_bytes <= pool.slot_bytes());
  BTS3_ASSERT(limits.chunk_bytes >= limits.part_bytes);
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
  const auto limit = static_cast<std::size_t>(
      std::min<std::uint64_t>(_limits.part_bytes, _limits.chunk_bytes - _chunk_filled));
  const std::span<const std::byte> memory = part.slot.bytes().first(limit);
  part.hash = _chunk_filled == 0 ? _hashes.begin(memory, _limits.payload_sha256)
                                 : _hashes.next(memory, _limits.payload_sha256);
  while (part.bytes < limit) {
    auto got = co_await _pool.read_into(part.slot, part.bytes, limit - part.bytes, _fd, stop);
    if (!got) {
      co_return std::move(got.error());
    }
    if (*got == 0) {
      _ended = true;
      break;
    }
    auto accepted = _watch(memory.subspan(part.bytes, *got));
    if (!accepted) {
      co_return std::move(accepted.error());
    }
    part.bytes += *got;
    part.hash.publish(part.bytes);
  }
  if (part.bytes == 0) {
    co_return std::optional<sealed_part>();
  }
  _total_bytes += part.bytes;
  _chunk_filled += part.bytes;
  part.chunk_index = _chunk_index;
  part.part_number = ++_part_number;
  part.fills_chunk = _chunk_filled == _limits.chunk_bytes;
  if (part.fills_chunk) {
    _chunk_filled = 0;
    _part_number = 0;
    ++_chunk_index;
  }
  co_return std::optional<sealed_part>(std::move(part));
}

}  // namespace bts3::engine
