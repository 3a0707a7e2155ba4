#include "app/upload/upload_stream.hh"

#include "app/store/manifest_turns.hh"
#include "app/store/publication.hh"
#include "engine/assert.hh"

#include <algorithm>
#include <utility>

namespace bts3::app {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

upload_stream::upload_stream(const services& with, upload_budget& budget,
                             store_connection* connection, layout where, upload_ledger& ledger,
                             earlier_chunks before, engine::seal_factory* seals)
    : _with(with),
      _budget(budget),
      _connection(connection),
      _layout(std::move(where)),
      _before(std::move(before)),
      _stop(with.stop),
      _common(with, budget, connection, ledger, seals, _stop.token()),
      _hashes(with.loop),
      _scope(with.loop) {}

upload_stream::~upload_stream() = default;

void upload_stream::fail(error failure) {
  _trouble.failed(std::move(failure));
  _stop.request_stop();
}

void upload_stream::tell_difference(const upload_chunk& in, const outgoing_part& part) {
  if (std::exchange(_difference_told, true)) {
    return;
  }
  _with.log.write(log_level::warning, "backup", "stream_differs",
                  {{"key", in.key().str()},
                   {"part", std::to_string(part.number)},
                   {"reason",
                    "the same snapshot sends other bytes than before, as after a defragmentation, "
                    "under another kernel, or where the stream broke"},
                   {"consequence", "from there on it is uploaded anew"}});
}

upload_chunk& upload_stream::chunk_at(std::uint32_t index) {
  while (_chunks.size() <= index) {
    const auto next = static_cast<std::uint32_t>(_chunks.size());
    _chunks.push_back(std::make_unique<upload_chunk>(
        _common, next,
        s3::object_key(_layout.keys.chunk(_layout.kind, _layout.when, next, _layout.tag))));
  }
  return *_chunks[index];
}

task<result<void>> upload_stream::look_at_earlier() {
  std::size_t parts = 0;
  for (auto& [index, earlier] : std::exchange(_before, {})) {
    upload_chunk& one = chunk_at(index);
    auto looking = one.look_for(std::move(earlier));
    auto looked = co_await std::move(looking);
    if (!looked) {
      co_return std::move(looked.error()).within("looking for what was uploaded before");
    }
    parts += one.confirmed();
  }
  if (!_chunks.empty()) {
    _with.log.write(log_level::info, "backup", "earlier_parts_found",
                    {{"chunks", std::to_string(_chunks.size())}, {"parts", std::to_string(parts)}});
  }
  co_return engine::ok();
}

// Once, while the stream that makes it so is under way: what lists and restores on this host will
// not read the manifest.
void upload_stream::tell_large_manifest() {
  const manifest_bound bound = manifest_bound::of_host(_with.settings);
  const std::uint64_t bytes = planner::manifest_bytes_for(_parts, _chunks_seen);
  if (_large_manifest_told || bytes <= bound.bytes_max) {
    return;
  }
  _large_manifest_told = true;
  const std::string part_bytes = std::to_string(_with.settings.s3.part_size_bytes);
  _with.log.write(
      log_level::warning, "backup", "manifest_large",
      {{"manifest", _layout.keys.manifest(_layout.kind, _layout.when)},
       {"parts", std::to_string(_parts)},
       {"because", manifest_too_large(bytes, bound)},
       {"remedy", "for the next full, raise s3.part_size_bytes = " + part_bytes +
                      " (the manifest lists every part), or give global.memory_limit_bytes more"}});
}

task<stream_outcome> upload_stream::run(engine::sender_pipe from,
                                        btrfs::stream_inspector& inspector, proof prove) {
  if (auto ready = _hashes.ready(); !ready) {
    _trouble.failed(std::move(ready.error()));
    co_return _trouble.outcome();
  }
  if (_connection != nullptr) {
    auto looking = look_at_earlier();
    auto looked = co_await std::move(looking);
    if (!looked) {
      _trouble.failed(std::move(looked.error()));
      co_return _trouble.outcome();
    }
  }
  part_source stream(
      _with, _budget, _hashes, from, _common.limits(),
      [this, &inspector](std::span<const std::byte> piece) {
        auto accepted = inspector.feed(piece);
        if (!accepted) {
          _trouble.note_broken();
        }
        return accepted;
      },
      sealing());
  auto sending = send_all(stream);
  const bool ended = co_await std::move(sending);
  _total_bytes = stream.total_bytes();
  if (ended) {
    auto asking = ask_producer(std::move(prove));
    co_await std::move(asking);
  }
  auto joining = _scope.join();
  co_await std::move(joining);
  auto closing = stream.close();
  co_await std::move(closing);
  if (!_trouble.any() && _with.stop.stop_requested()) {
    _trouble.failed(engine::cancelled_error());
  }
  if (!_trouble.any()) {
    auto checking = check_ends();
    co_await std::move(checking);
  }
  if (_trouble.any()) {
    co_return _trouble.outcome();
  }
  stream_outcome::whole all;
  co_return stream_outcome(std::move(all));
}

// Parts are uploaded beside, in `_scope`. True at the stream's end.
task<bool> upload_stream::send_all(part_source& stream) {
  while (!_stop.stop_requested()) {
    auto reading = stream.next(_stop.token());
    auto next = co_await std::move(reading);
    if (!next) {
      fail(std::move(next.error()));
      co_return false;
    }
    if (!*next) {
      co_return true;
    }
    if (!take(std::move(**next))) {
      co_return false;
    }
  }
  co_return false;
}

engine::part_sealing upload_stream::sealing() {
  engine::part_sealing made;
  made.by = _common.seals;
  if (made.by != nullptr) {
    made.recorded = [this](std::uint32_t chunk, std::uint32_t part) {
      return chunk < _chunks.size() ? _chunks[chunk]->recorded(part)
                                    : std::optional<engine::recorded_part>();
    };
  }
  return made;
}

bool upload_stream::take(outgoing_part part) {
  upload_chunk& of = chunk_at(part.chunk_index);
  _chunks_seen = std::max<std::size_t>(_chunks_seen, of.index() + std::size_t{1});
  of.count(part);
  ++_parts;
  if (auto fits = check_manifest_size(_with, _parts, _chunks_seen); !fits) {
    fail(std::move(fits.error()));  // now, and not when everything has been uploaded
    return false;
  }
  tell_large_manifest();
  if (part.number == 1 && !part.full) {
    of.keep_alone(std::move(part));
    return true;
  }
  if (_connection != nullptr && !of.stored_before()) {
    of.prepare();
  }
  _scope.spawn(upload_part(of, std::move(part)));
  return true;
}

task<void> upload_stream::ask_producer(proof prove) {
  auto proving = prove();
  auto proven = co_await std::move(proving);
  if (!proven && proven.error().why == engine::reason::integrity) {
    _trouble.note_broken();
    fail(std::move(proven.error()));
  } else if (!proven) {
    _trouble.producer_failed(std::move(proven.error()));
    _stop.request_stop();
  }
}

// Whether the earlier attempt left anything that this stream has no place for.
task<void> upload_stream::check_ends() {
  for (const auto& one : _chunks) {
    if (one->stored_before()) {
      // Compared here, while nothing has been completed.
      auto hashing = one->hash();
      auto hashed = co_await std::move(hashing);
      if (!hashed) {
        _trouble.failed(std::move(hashed.error()));
        co_return;
      }
    }
    if (one->has_leftovers(one->index() >= _chunks_seen)) {
      _trouble.differs(one->index(), one->stored_before());
      _stop.request_stop();
      co_return;
    }
  }
}

void upload_stream::acknowledge(std::uint64_t bytes, bool resumed) {
  _acknowledged_bytes += bytes;
  _resumed_bytes += resumed ? bytes : 0;
}

task<void> upload_stream::upload_part(upload_chunk& of, outgoing_part part) {
  auto finishing = part.digest(_stop.token());
  auto finished = co_await std::move(finishing);
  if (!finished) {
    fail(std::move(finished.error()));
    co_return;
  }
  of.note_digest(part.number, *finished);
  if (_connection == nullptr) {
    co_return;
  }
  switch (of.look_for_part(part, *finished)) {
    case upload_chunk::presence::present:
      acknowledge(part.bytes, true);
      co_return;
    case upload_chunk::presence::different:
      tell_difference(of, part);
      break;
    case upload_chunk::presence::absent:
      break;
  }
  BTS3_ASSERT(!finished->same);  // there is no cipher text of it
  auto acquiring = _budget.in_flight.acquire(_stop.token());
  auto turn = co_await std::move(acquiring);
  if (!turn) {
    co_return;  // stopped, and whoever stopped has said why
  }
  ++_parts_in_flight;
  auto sending = of.send(part, *finished);
  auto sent = co_await std::move(sending);
  --_parts_in_flight;
  if (!sent && sent.error().what_now == disposition::not_found) {
    _trouble.upload_gone(of.index(), std::move(sent.error()));
    _stop.request_stop();
    co_return;
  }
  if (!sent) {
    fail(std::move(sent.error()));
    co_return;
  }
  acknowledge(part.bytes, false);
  _budget.part_arrived();
}

task<stream_outcome> upload_stream::complete() {
  BTS3_ASSERT(!_trouble.any());
  for (const auto& one : _chunks) {
    auto hashing = one->hash();
    auto hashed = co_await std::move(hashing);
    if (!hashed) {
      _trouble.failed(std::move(hashed.error()));
      co_return _trouble.outcome();
    }
    auto noting = one->note_whole();
    co_await std::move(noting);
  }
  stream_outcome::whole all;
  for (const auto& one : _chunks) {
    auto completing = one->complete();
    auto completed = co_await std::move(completing);
    if (!completed && one->upload_is_gone()) {
      _trouble.upload_gone(one->index(), std::move(completed.error()));
    } else if (!completed) {
      _trouble.failed(std::move(completed.error()));
    }
    if (_trouble.any()) {
      co_return _trouble.outcome();
    }
    one->release();
    all.chunks.push_back(one->describe());
  }
  co_return stream_outcome(std::move(all));
}

task<result<void>> upload_stream::discard_from(std::uint32_t index) {
  for (const auto& one : _chunks) {
    one->release();
    if (one->index() < index) {
      continue;
    }
    auto discarding = one->discard();
    auto discarded = co_await std::move(discarding);
    if (!discarded) {
      co_return discarded;
    }
  }
  co_return engine::ok();
}

upload_stream::earlier_chunks upload_stream::give_up() {
  earlier_chunks left;
  for (const auto& one : _chunks) {
    one->release();
    if (auto chunk = one->left()) {
      left.emplace(one->index(), std::move(*chunk));
    }
  }
  return left;
}

}  // namespace bts3::app
