#include "app/upkeep/verify_parts.hh"

#include "app/download/download_link.hh"
#include "app/download/part_fetcher.hh"
#include "engine/assert.hh"
#include "s3/verbs/ranged_download.hh"

#include <algorithm>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// Whether its digest can only be known by reading it from its start, in more than one piece.
bool streams(const planner::chunk_record& record, std::uint64_t slot_bytes) {
  return !record.has_parts() && record.size > slot_bytes;
}

std::string part_text(const planner::chunk_record& record, std::uint32_t part) {
  return record.has_parts()
             ? "part " + std::to_string(part + 1) + ": its SHA-256 is not the recorded one"
             : "its SHA-256 is not the recorded one";
}

}  // namespace

std::uint32_t parts_of(const planner::chunk_record& chunk) {
  if (!chunk.has_parts() || chunk.size == 0) {
    return 1;
  }
  return static_cast<std::uint32_t>((chunk.size + *chunk.part_size - 1) / *chunk.part_size);
}

part_verifier::part_verifier(const services& with, s3::object_store& store,
                             engine::buffer_pool& pool, engine::hash_worker& hashes,
                             std::vector<located_chunk> chunks)
    : _with(with),
      _store(store),
      _pool(pool),
      _hashes(hashes),
      _chunks(std::move(chunks)),
      _stop(with.stop),
      _scope(with.loop) {}

task<result<std::vector<verify_finding>>> part_verifier::run(std::vector<part_place> parts) {
  for (const part_place& where : parts) {
    engine::slot_lease slot;
    const planner::chunk_record& record = _chunks.at(where.chunk).record;
    if (streams(record, _pool.slot_bytes())) {
      // It takes the slots itself, once those that are in use come back.
      download_link whole(_with, _store, _pool, _hashes,
                          std::vector<located_chunk>(1, _chunks[where.chunk]));
      auto looking = whole.verify_first();
      auto looked = co_await std::move(looking);
      if (looked) {
        _bytes += record.size;
      } else if (looked.error().why == reason::integrity) {
        _findings.push_back({_chunks[where.chunk].key.str(), part_text(record, 0)});
      } else if (!_failure) {
        _failure = std::move(looked.error());
      }
    } else {
      auto acquiring = _pool.acquire(_stop.token());
      auto lease = co_await std::move(acquiring);
      if (lease) {
        _scope.spawn(read_into(where, std::move(*lease)));
      } else if (!_failure) {
        _failure = std::move(lease.error());
      }
    }
    if (_failure) {
      break;
    }
  }
  auto joining = _scope.join();
  co_await std::move(joining);
  if (_failure) {
    co_return std::move(*_failure);
  }
  co_return std::move(_findings);
}

task<void> part_verifier::read_into(part_place where, engine::slot_lease slot) {
  auto reading = read(where, slot);
  auto sound = co_await std::move(reading);
  slot.release();
  if (!sound && !_failure) {
    _failure = std::move(sound.error());
    _stop.request_stop();
  } else if (sound && !*sound) {
    const located_chunk& chunk = _chunks[where.chunk];
    _findings.push_back({chunk.key.str(), part_text(chunk.record, where.part)});
  }
}

// Whether it is what was recorded.
task<result<bool>> part_verifier::read(part_place where, engine::slot_lease& slot) {
  const located_chunk& chunk = _chunks[where.chunk];
  const planner::chunk_record& record = chunk.record;
  const std::uint64_t step = record.part_size.value_or(record.size);
  const std::uint64_t offset = where.part * step;
  const std::uint32_t count = parts_of(record);
  BTS3_ASSERT(where.part < count);
  const bool last = where.part + 1 == count;
  const auto bytes = slot.bytes().first(std::min(step, record.size - offset));
  // The codec has checked the digits and the number of states.
  const engine::sha256_state expected = last ? *engine::sha256_state::from_hex(record.sha256)
                                             : engine::sha256_state{record.part_states[where.part]};
  for (int attempt = 1;; ++attempt) {
    s3::ranged_download object(_store, chunk.key, chunk.info);
    if (!bytes.empty()) {
      auto fetching = object.fetch(offset, bytes, _stop.token());
      auto fetched = co_await std::move(fetching);
      if (!fetched) {
        co_return std::move(fetched.error());
      }
    }
    engine::part_hash hash =
        where.part == 0
            ? _hashes.begin(bytes)
            : _hashes.begin(bytes, engine::sha256_state{record.part_states[where.part - 1]},
                            offset);
    hash.publish(bytes.size());
    auto finishing = hash.finish();
    const engine::part_digest digest = co_await std::move(finishing);
    const bool equal =
        last ? digest.digest_if_last == expected : digest.state == std::optional(expected);
    if (equal || attempt == downloads_max) {
      _bytes += equal ? bytes.size() : 0;
      co_return equal;
    }
    _with.log.write(engine::log_level::warning, "verify", "part_damaged",
                    {{"attempt", std::to_string(attempt)},
                     {"key", chunk.key.str()},
                     {"part", std::to_string(where.part + 1)}});
  }
}

}  // namespace bts3::app
