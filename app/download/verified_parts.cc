#include "app/download/verified_parts.hh"

#include "app/download/part_fetcher.hh"
#include "engine/assert.hh"
#include "engine/for_each_at_most.hh"
#include "engine/offload.hh"
#include "engine/sha256.hh"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

namespace bts3::app {

namespace {

using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// Of one request, as in reading single extents.
constexpr std::uint64_t piece_bytes = std::uint64_t{8} << 20;

// Blocks.
result<void> compare(std::span<const std::byte> bytes, const planner::chunk_record& chunk,
                     std::uint32_t part) {
  const std::uint64_t begin = *chunk.part_size * (part - 1);
  engine::sha256_hasher hasher;
  if (part > 1) {
    hasher = engine::sha256_hasher(engine::sha256_state{chunk.part_states[part - 2]}, begin);
  }
  hasher.update(bytes);
  const bool last = part > chunk.part_states.size();
  const bool equal =
      last ? hasher.digest().hex() == chunk.sha256
           : hasher.state() == std::optional(engine::sha256_state{chunk.part_states[part - 1]});
  if (equal) {
    return engine::ok();
  }
  error failure;
  failure.why = reason::integrity;
  failure.message = "chunk " + chunk.key + ", part " + std::to_string(part) + " (bytes " +
                    std::to_string(begin) + " to " + std::to_string(begin + bytes.size() - 1) +
                    "): its SHA-256 is not the recorded one";
  return failure;
}

}  // namespace

verified_parts::verified_parts(const services& with, std::size_t slots)
    : _with(with),
      _slots(slots),
      _turns(with.loop, slots - 1, "a turn to verify a part"),
      _requests(with.loop, std::max<std::size_t>(with.settings.s3.concurrency, 1),
                "a turn to fetch a piece of a part") {
  BTS3_ASSERT(slots >= 2);
}

task<result<void>> verified_parts::read(std::uint64_t name, const planner::chunk_record& chunk,
                                        source from, std::uint64_t offset,
                                        std::span<std::byte> into) {
  BTS3_ASSERT(chunk.has_parts() && offset <= chunk.size && into.size() <= chunk.size - offset);
  while (!into.empty()) {
    const std::uint64_t index = offset / *chunk.part_size;
    const std::uint64_t skip = offset % *chunk.part_size;
    const auto now = into.first(
        static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), *chunk.part_size - skip)));
    auto reading = read_part(name, chunk, from, static_cast<std::uint32_t>(index + 1), skip, now);
    auto read = co_await std::move(reading);
    if (!read) {
      co_return read;
    }
    offset += now.size();
    into = into.subspan(now.size());
  }
  co_return engine::ok();
}

// As many are in use as there are turns; one more is kept, the last that was used.
void verified_parts::make_room() {
  std::size_t in_memory = 0;  // the others were damaged
  auto oldest = _kept.end();
  for (auto at = _kept.begin(); at != _kept.end(); ++at) {
    if (at->second->memory == nullptr) {
      continue;
    }
    ++in_memory;
    const bool idle = at->second->users == 0;
    if (idle && (oldest == _kept.end() || at->second->used < oldest->second->used)) {
      oldest = at;
    }
  }
  if (in_memory >= _slots) {
    BTS3_ASSERT(oldest != _kept.end());
    _kept.erase(oldest);
  }
}

task<result<void>> verified_parts::read_part(std::uint64_t name, const planner::chunk_record& chunk,
                                             source& from, std::uint32_t part, std::uint64_t skip,
                                             std::span<std::byte> into) {
  auto waiting = _turns.acquire(_with.stop);
  const auto turn = co_await std::move(waiting);
  if (!turn) {
    co_return turn.error();
  }
  const part_name which(name, part);
  const auto found = _kept.find(which);
  std::shared_ptr<kept_part> one = found != _kept.end() ? found->second : nullptr;
  if (one) {
    ++one->users;
    auto looking = one->ready.wait();
    (void)co_await std::move(looking);
  } else {
    make_room();
    one = std::make_shared<kept_part>(_with.loop);
    ++one->users;
    _kept.emplace(which, one);
    auto loading = load(*one, chunk, from, part);
    one->outcome = co_await std::move(loading);
    if (!one->outcome) {
      one->memory.reset();
      if (one->outcome.error().why != reason::integrity) {
        _kept.erase(which);  // another time it may go well
      }
    }
    one->ready.set();
  }
  one->used = ++_clock;
  if (one->outcome) {
    std::memcpy(into.data(), one->memory.get() + skip, into.size());
  }
  --one->users;
  co_return one->outcome;
}

task<result<void>> verified_parts::load(kept_part& into, const planner::chunk_record& chunk,
                                        source& from, std::uint32_t part) {
  const std::uint64_t begin = *chunk.part_size * (part - 1);
  into.bytes = std::min(*chunk.part_size, chunk.size - begin);
  into.memory = std::make_unique_for_overwrite<std::byte[]>(into.bytes);
  for (int attempt = 1;; ++attempt) {
    auto fetching = fetch(into, from, begin, attempt > 1);
    auto fetched = co_await std::move(fetching);
    if (!fetched) {
      co_return fetched;
    }
    std::function<result<void>()> call = [&into, &chunk, part] {
      return compare({into.memory.get(), into.bytes}, chunk, part);
    };
    auto comparing = engine::offload(_with.loop, std::move(call));
    auto compared = co_await std::move(comparing);
    if (compared || compared.error().why != reason::integrity || attempt == downloads_max) {
      co_return compared;
    }
    _with.log.write(engine::log_level::warning, "files", "part_damaged",
                    {{"attempt", std::to_string(attempt)}, {"error", compared.error().message}});
  }
}

task<result<void>> verified_parts::fetch(kept_part& into, source& from, std::uint64_t begin,
                                         bool fresh_connection) {
  const std::uint64_t count = (into.bytes + piece_bytes - 1) / piece_bytes;
  auto make = [this, &into, &from, begin, fresh_connection](std::size_t i) {
    const std::uint64_t skip = i * piece_bytes;
    return fetch_piece(from, begin + skip,
                       {into.memory.get() + skip, std::min(piece_bytes, into.bytes - skip)},
                       fresh_connection);
  };
  const std::size_t at_once = std::max<std::size_t>(_with.settings.s3.concurrency, 1);
  auto fetching = engine::for_each_at_most(_with.loop, at_once, count, std::move(make), _with.stop);
  co_return co_await std::move(fetching);
}

task<result<void>> verified_parts::fetch_piece(source& from, std::uint64_t offset,
                                               std::span<std::byte> into, bool fresh_connection) {
  auto waiting = _requests.acquire(_with.stop);
  const auto turn = co_await std::move(waiting);
  if (!turn) {
    co_return turn.error();
  }
  auto fetching = from(offset, into, fresh_connection);
  co_return co_await std::move(fetching);
}

}  // namespace bts3::app
