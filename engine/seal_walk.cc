#include "engine/seal_walk.hh"

#include "engine/assert.hh"

#include <algorithm>
#include <utility>
#include <vector>

namespace bts3::engine::detail {

namespace {

// What goes from one pass to the next: it stays in the first-level cache (32 KiB and more).
constexpr std::uint64_t block_bytes = 16 * 1024;

}  // namespace

seal_walk::seal_walk(seal_order order, bool with_payload)
    : want_payload(with_payload), _order(std::move(order)), _layout(_order.by->layout()) {
  BTS3_ASSERT(_layout.seals() && _layout.gap < _layout.stride);
}

void seal_walk::end() {
  _seal.reset();
  _own.reset();
  _as_before.reset();
}

void seal_walk::go_on_in(std::span<std::byte> memory) {
  _pieces.push_back({_room, memory});
  _room += memory.size();
}

// Calls `act` with the part's bytes from `from` to `to`, block by block.
template <typename Action>
result<void> seal_walk::for_each_block(std::uint64_t from, std::uint64_t to, Action act) {
  BTS3_ASSERT(to <= _room && (_pieces.empty() || from >= _pieces.front().offset));
  for (const piece& one : _pieces) {
    const std::uint64_t piece_end = one.offset + one.memory.size();
    while (from < to && from < piece_end) {
      const std::uint64_t end = std::min({to, piece_end, from + block_bytes});
      auto done = act(one.memory.subspan(from - one.offset, end - from));
      if (!done) {
        return done;
      }
      from = end;
    }
  }
  BTS3_ASSERT(from == to);
  return ok();
}

result<void> seal_walk::put(std::uint64_t at, std::span<const std::byte> bytes, const sink& show) {
  return for_each_block(at, at + bytes.size(), [&](std::span<std::byte> room) -> result<void> {
    std::copy_n(bytes.begin(), room.size(), room.begin());
    bytes = bytes.subspan(room.size());
    show(room);
    return ok();
  });
}

result<void> seal_walk::start(const sink& show) {
  auto own = _order.by->fingerprint();
  if (!own) {
    return std::move(own.error());
  }
  _own = std::move(*own);
  if (auto begun = _own ? begin_fingerprint(*_own) : ok(); !begun) {
    return begun;
  }
  auto seal = _order.by->begin(_order.chunk, _order.part, _order.plain_offset);
  if (!seal) {
    return std::move(seal.error());
  }
  std::vector<std::byte> head(_layout.head);
  auto written = (*seal)->write_head(head);
  if (!written) {
    return written;
  }
  _seal = std::move(*seal);
  _done_to = _layout.head;
  return put(0, head, show);
}

// A part's digests are of the chunk's stored bytes before it, too. Where those were sealed anew
// since it was recorded, it is another part, whatever its plain text.
result<void> seal_walk::begin_fingerprint(text_fingerprint& one) const {
  const sha256_state before = chain.digest();
  return one.update(std::as_bytes(std::span(before.words)));
}

// The segment whose plain bytes are from `from` to `to`.
result<void> seal_walk::seal_one(std::uint64_t from, std::uint64_t to, bool last,
                                 const sink& show) {
  auto begun = _seal->begin_segment(last);
  if (!begun) {
    return begun;
  }
  auto sealed = for_each_block(from, to, [&](std::span<std::byte> block) -> result<void> {
    for (text_fingerprint* const one : {_own.get(), _as_before.get()}) {
      if (auto noted = one != nullptr ? one->update(block) : ok(); !noted) {
        return noted;
      }
    }
    auto done = _seal->seal(block);
    if (done) {
      show(block);
    }
    return done;
  });
  if (!sealed) {
    return sealed;
  }
  std::vector<std::byte> tag(_layout.gap);
  auto ended = _seal->end_segment(tag);
  if (!ended) {
    return ended;
  }
  _done_to = to + tag.size();
  return put(to, tag, show);
}

result<void> seal_walk::seal_segments(bool ended, const sink& show) {
  if (!_seal) {
    if (auto started = start(show); !started) {
      return started;
    }
  }
  for (;;) {
    const std::uint64_t from = _done_to;
    const std::uint64_t to = std::min(_filled, from + _layout.segment_plain());
    const bool more = _filled > from + _layout.stride;
    if (!more && !(ended && to > from)) {
      return ok();
    }
    if (auto sealed = seal_one(from, to, !more, show); !sealed) {
      return sealed;
    }
    while (!_pieces.empty() && _pieces.front().offset + _pieces.front().memory.size() <= _done_to) {
      _pieces.pop_front();
    }
    if (!more || given_up) {
      return ok();
    }
  }
}

// Takes the plain text up to `to` into the comparison, and leaves it as it is.
result<void> seal_walk::look(std::uint64_t to) {
  _looked_to = std::max<std::uint64_t>(_looked_to, _layout.head);
  while (_looked_to < to) {
    const std::uint64_t within = (_looked_to - _layout.head) % _layout.stride;
    if (within >= _layout.segment_plain()) {
      _looked_to += _layout.stride - within;
      continue;
    }
    const std::uint64_t end = std::min(to, _looked_to - within + _layout.segment_plain());
    auto looked = for_each_block(
        _looked_to, end, [this](std::span<std::byte> block) { return _as_before->update(block); });
    if (!looked || given_up) {
      return looked;
    }
    _looked_to = end;
  }
  return ok();
}

// After the last plain byte.
result<bool> seal_walk::compare() {
  auto found = std::exchange(_as_before, nullptr)->finish();
  if (!found) {
    return std::move(found.error());
  }
  const recorded_part& before = *_order.recorded;
  const std::uint64_t plain = _layout.plain_before(_filled);
  // What goes on behind this part needs its state.
  const bool usable = before.digest.state || before.bytes % sha256_block_bytes != 0;
  return usable && *found == before.digest.fingerprint && plain == before.plain_bytes &&
         _layout.sealed_bytes(plain) == before.bytes;
}

result<void> seal_walk::advance(std::size_t filled, bool ended, const sink& show) {
  BTS3_ASSERT(!_pieces.empty());
  if (filled > 0) {
    _filled = _pieces.back().offset + filled;
  }
  BTS3_ASSERT(!ended || _filled > _layout.head);
  if (_order.recorded && !_as_before) {
    auto like = _order.by->fingerprint_like(_order.recorded->digest.fingerprint);
    if (!like) {
      return std::move(like.error());
    }
    _as_before = std::move(*like);
    if (auto begun = begin_fingerprint(*_as_before); !begun) {
      return begun;
    }
  }
  if (_as_before && _order.whole_in_memory) {
    auto looked = look(_filled);
    if (!looked || !ended || given_up) {
      return looked;
    }
    auto equal = compare();
    if (!equal) {
      return std::move(equal.error());
    }
    if (*equal) {
      _same = true;
      return ok();
    }
    _order.recorded.reset();
  }
  auto sealed = seal_segments(ended, show);
  if (!sealed || !ended || given_up) {
    return sealed;
  }
  if (_as_before) {
    auto equal = compare();
    if (!equal) {
      return std::move(equal.error());
    }
    _same = *equal;
  }
  if (_own) {
    auto token = std::exchange(_own, nullptr)->finish();
    if (!token) {
      return std::move(token.error());
    }
    _fingerprint = std::move(*token);
  }
  return ok();
}

}  // namespace bts3::engine::detail
