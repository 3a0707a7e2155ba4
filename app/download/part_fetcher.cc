#include "app/download/part_fetcher.hh"

#include "app/records/kept_parts.hh"
#include "engine/async_scope.hh"

#include <string>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// A part whose copy expires more often than this while it is downloaded is given up: no line is so
// slow, so HEAD and GET must disagree.
constexpr int thaws_max = 3;

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

struct part_fetcher::range_of_part {
  std::uint64_t start = 0;  // within the part
  std::uint64_t length = 0;
  result<void> outcome = engine::ok();
};

part_fetcher::part_fetcher(const services& with, s3::object_store& store, engine::buffer_pool& pool,
                           engine::hash_worker& hashes, const std::vector<located_chunk>& chunks,
                           progress* shown, chain_thaw* thaw, engine::spool* spool,
                           engine::stop_token stop)
    : _with(with),
      _store(store),
      _pool(pool),
      _hashes(hashes),
      _chunks(chunks),
      _shown(shown),
      _thaw(thaw),
      _spool(spool),
      _stop(std::move(stop)) {}

task<result<void>> part_fetcher::fetch(part_pointer one) {
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
                                 one->length, _stop);
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

// Whether the part is in its slot, as it is recorded, from the disk where an earlier run kept it.
task<bool> part_fetcher::take_kept(part_pointer one) {
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

task<result<void>> part_fetcher::download(part_pointer one, bool fresh_connection) {
  if (one->stored.valid()) {
    auto reading = _spool->read(one->stored, _pool, one->slot, 0, one->length, 0, _stop);
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

task<void> part_fetcher::download_into(part_pointer one, range_of_part& range) {
  auto downloading = download_range(one, range.start, range.length, false);
  range.outcome = co_await std::move(downloading);
}

task<result<void>> part_fetcher::download_range(part_pointer one, std::uint64_t start,
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
    auto getting = _store.get_object(std::move(request), _stop);
    auto got = co_await std::move(getting);
    if (got) {
      if (_thaw != nullptr) {
        _thaw->has_read(length);
      }
      co_return engine::ok();
    }
    if (got.error().why == reason::not_thawed && _thaw != nullptr && thaws < thaws_max) {
      ++thaws;
      auto thawing = _thaw->again(thaw_age, _stop);
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
    auto asking = is_still(from);
    auto same = co_await std::move(asking);
    if (!same) {
      co_return same;
    }
  }
}

// Changed since it was looked at, or a store that compares badly? Then it is asked unconditionally.
task<result<void>> part_fetcher::is_still(const located_chunk& from) {
  auto asking = _store.head_object(from.key, _stop);
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
  co_return engine::ok();
}

task<result<void>> part_fetcher::verify(part_pointer one) {
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

}  // namespace bts3::app
