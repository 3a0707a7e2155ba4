#include "app/upload_stream.hh"

#include "engine/assert.hh"

#include <utility>

namespace bts3::app {

using engine::error;
using engine::result;
using engine::task;

// One object in the making.
struct upload_stream::chunk {
  explicit chunk(s3::object_key name) : key(std::move(name)) {}
  s3::object_key key;
  std::unique_ptr<s3::multipart_upload> upload;  // null: a single PUT, or nothing uploaded at all
  std::optional<engine::sealed_part> whole;      // the only part, kept until complete()
  std::map<std::uint32_t, engine::part_digest> digests;
  std::uint64_t bytes = 0;
  s3::etag tag;
  bool exists = false;  // the object, in the bucket
};

upload_stream::upload_stream(const services& with, store_connection* connection,
                             planner::key_layout keys, planner::backup_kind kind,
                             planner::timestamp when)
    : _with(with),
      _connection(connection),
      _keys(std::move(keys)),
      _kind(kind),
      _when(when),
      _stop(with.stop),
      // One slot fills while the others are uploaded.
      _pool(with.loop, with.settings.part_size_bytes,
            static_cast<std::size_t>(with.settings.concurrency) + 1, with.log),
      _hashes(with.loop),
      _uploads(with.loop, static_cast<std::size_t>(with.settings.concurrency)),
      _scope(with.loop) {}

upload_stream::~upload_stream() = default;

void upload_stream::fail(error failure) {
  if (!_failure) {
    _failure = std::move(failure);
  }
  _stop.request_stop();
}

upload_stream::chunk& upload_stream::chunk_at(std::uint32_t index) {
  while (_chunks.size() <= index) {
    const auto next = static_cast<std::uint32_t>(_chunks.size());
    _chunks.push_back(std::make_unique<chunk>(s3::object_key(_keys.chunk(_kind, _when, next))));
  }
  return *_chunks[index];
}

task<result<void>> upload_stream::run(int fd, btrfs::stream_inspector& inspector) {
  engine::part_stream_limits limits;
  limits.part_bytes = _with.settings.part_size_bytes;
  limits.chunk_bytes = _with.settings.chunk_limit_bytes();
  limits.payload_sha256 = _connection != nullptr && _connection->signs_payload();
  engine::part_stream stream(
      _pool, _hashes, fd, limits,
      [&inspector](std::span<const std::byte> piece) { return inspector.feed(piece); });
  while (!_stop.stop_requested()) {
    auto next = co_await stream.next(_stop.token());
    if (!next) {
      fail(std::move(next.error()));
      break;
    }
    if (!*next) {
      break;
    }
    engine::sealed_part part = std::move(**next);
    chunk& of = chunk_at(part.chunk_index);
    of.bytes += part.bytes;
    const bool short_part = part.bytes < limits.part_bytes && !part.fills_chunk;
    if (part.part_number == 1 && short_part) {
      of.whole = std::move(part);  // the stream has ended: one PUT will do, when it is proven whole
      continue;
    }
    if (_connection != nullptr && !of.upload) {
      of.upload = std::make_unique<s3::multipart_upload>(
          _with.loop, _connection->store(), _with.log, _connection->checksums(), of.key,
          write_options_for(_with.settings, _with.settings.storage_class_chunks,
                            "application/octet-stream"));
    }
    _scope.spawn(upload_part(of, std::move(part)));
  }
  _total_bytes = stream.total_bytes();
  auto joining = _scope.join();
  co_await std::move(joining);
  if (_failure) {
    error failure = *_failure;
    co_return failure;
  }
  if (_with.stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  co_return engine::ok();
}

task<void> upload_stream::upload_part(chunk& of, engine::sealed_part part) {
  auto finishing = part.hash.finish();
  const engine::part_digest digest = co_await std::move(finishing);
  of.digests[part.part_number] = digest;
  if (_connection == nullptr) {
    co_return;
  }
  auto acquiring = _uploads.acquire(_stop.token());
  auto turn = co_await std::move(acquiring);
  if (!turn) {
    co_return;  // stopped, and whoever stopped has said why
  }
  auto sending = send_part(of, part, digest);
  auto sent = co_await std::move(sending);
  if (!sent) {
    fail(std::move(sent.error()));
  }
}

task<result<void>> upload_stream::send_part(chunk& of, const engine::sealed_part& part,
                                            const engine::part_digest& digest) {
  s3::body_digests digests;
  digests.crc32 = digest.crc32;
  digests.payload_sha256 = digest.payload_sha256;
  auto putting = of.upload->put_part(part.part_number, part.body(), digests, _stop.token());
  auto put = co_await std::move(putting);
  if (!put) {
    co_return std::move(put.error()).within("uploading " + of.key.str());
  }
  co_return engine::ok();
}

task<result<void>> upload_stream::finish_chunk(chunk& one) {
  if (one.whole) {
    engine::sealed_part part = std::move(*one.whole);
    one.whole.reset();
    auto finishing = part.hash.finish();
    const engine::part_digest digest = co_await std::move(finishing);
    one.digests[1] = digest;
    if (_connection == nullptr) {
      co_return engine::ok();
    }
    s3::put_request request(one.key, part.body());
    request.options = write_options_for(_with.settings, _with.settings.storage_class_chunks,
                                        "application/octet-stream");
    request.digests.crc32 = digest.crc32;
    request.digests.payload_sha256 = digest.payload_sha256;
    one.exists = true;  // from here an answer may be lost
    auto putting = s3::put_whole(_connection->store(), _with.log, _connection->checksums(),
                                 std::move(request), _with.stop);
    auto stored = co_await std::move(putting);
    if (!stored) {
      co_return std::move(stored.error()).within("uploading " + one.key.str());
    }
    one.tag = stored->tag;
    co_return engine::ok();
  }
  if (one.upload) {
    one.exists = true;
    auto completing = one.upload->complete(_with.stop);
    auto stored = co_await std::move(completing);
    if (!stored) {
      co_return std::move(stored.error()).within("completing " + one.key.str());
    }
    one.tag = stored->tag;
  }
  co_return engine::ok();
}

task<result<std::vector<planner::chunk_record>>> upload_stream::complete() {
  BTS3_ASSERT(!_failure);
  std::vector<planner::chunk_record> records;
  for (const auto& one : _chunks) {
    auto finishing = finish_chunk(*one);
    auto finished = co_await std::move(finishing);
    if (!finished) {
      co_return std::move(finished.error());
    }
    planner::chunk_record record;
    record.key = one->key.str();
    record.size = one->bytes;
    record.part_size = _with.settings.part_size_bytes;
    if (!one->tag.empty()) {
      record.etag = one->tag.str();
    }
    BTS3_ASSERT(!one->digests.empty() && one->digests.rbegin()->first == one->digests.size());
    for (const auto& [number, digest] : one->digests) {
      record.part_crc32.push_back(digest.crc32);
      if (number < one->digests.size()) {
        BTS3_ASSERT(digest.state.has_value());
        record.part_states.push_back(digest.state->hex());
      } else {
        record.sha256 = digest.digest_if_last.hex();
      }
    }
    records.push_back(std::move(record));
  }
  co_return records;
}

task<void> upload_stream::abandon(engine::stop_token limit) {
  for (const auto& one : _chunks) {
    one->whole.reset();
    if (one->upload) {
      auto aborting = one->upload->abort(limit);
      auto aborted = co_await std::move(aborting);
      if (!aborted) {
        _with.log.write(engine::log_level::warning, "backup", "upload_left_open",
                        {{"key", one->key.str()}, {"error", aborted.error().text()}});
      }
    }
    if (one->exists) {
      auto deleting = _connection->store().delete_object(one->key, limit);
      auto deleted = co_await std::move(deleting);
      if (!deleted) {
        _with.log.write(engine::log_level::warning, "backup", "object_left",
                        {{"key", one->key.str()}, {"error", deleted.error().text()}});
      }
    }
  }
}

}  // namespace bts3::app
