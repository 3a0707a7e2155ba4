#include "s3/verbs/multipart_upload.hh"

#include "engine/assert.hh"

#include <utility>
#include <vector>

namespace bts3::s3 {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

bool is_refused(const error& failure) {
  return failure.why == reason::access || failure.why == reason::unsupported;
}

}  // namespace

multipart_upload::multipart_upload(engine::reactor& loop, object_store& store,
                                   engine::log_sink& log, object_key key, write_options options)
    : _store(store),
      _log(log),
      _key(std::move(key)),
      _options(std::move(options)),
      _created(loop, "the id of an upload") {}

void multipart_upload::resume(upload_id id, bool checksums) {
  BTS3_ASSERT(!_creating);
  _creating = true;
  _declared_crc32 = checksums;
  _id = std::move(id);
  _created.set();
}

void multipart_upload::adopt_part(part_number number, std::uint64_t size, etag tag,
                                  std::uint32_t crc32) {
  BTS3_ASSERT(_id.has_value() && !_parts.contains(number));
  _parts[number] = finished_part{
      std::move(tag), _declared_crc32 ? std::optional<std::uint32_t>(crc32) : std::nullopt};
  _bytes += size;
}

// The first part creates the upload; the others wait for that.
task<result<void>> multipart_upload::open(engine::stop_token stop) {
  if (!std::exchange(_creating, true)) {
    write_options options = _options;
    auto creating = _store.create_multipart_upload(_key, std::move(options), stop);
    auto made = co_await std::move(creating);
    if (made) {
      _id = std::move(made->id);
      _declared_crc32 = made->checksums;
    } else {
      _create_failure = std::move(made.error());
    }
    _created.set();
  }
  auto waiting = _created.wait(stop);
  auto waited = co_await std::move(waiting);
  if (!waited) {
    co_return std::move(waited.error());
  }
  if (_create_failure) {
    error failure = *_create_failure;
    co_return failure;
  }
  co_return engine::ok();
}

task<result<void>> multipart_upload::put_part(part_number number, request_body body,
                                              body_digests digests, engine::stop_token stop) {
  auto creating = open(stop);
  auto created = co_await std::move(creating);
  if (!created) {
    co_return std::move(created.error());
  }
  BTS3_ASSERT(!_parts.contains(number));
  upload_part_request request(_key, *_id, number, body);
  request.digests = digests;
  request.form = _form;
  if (!_declared_crc32) {
    request.digests.crc32.reset();
  }
  const std::optional<std::uint32_t> crc32 = request.digests.crc32;
  auto uploading = _store.upload_part(std::move(request), stop);
  auto tag = co_await std::move(uploading);
  if (!tag) {
    co_return std::move(tag.error()).within("part " + std::to_string(number));
  }
  _parts[number] = finished_part{std::move(*tag), crc32};
  _bytes += body.size();
  co_return engine::ok();
}

task<result<stored_object>> multipart_upload::complete(engine::stop_token stop) {
  BTS3_ASSERT(_id.has_value() && !_parts.empty());
  // Part numbers are 1 to n without a gap, or the object would lack bytes.
  BTS3_ASSERT(_parts.begin()->first == 1 && _parts.rbegin()->first == _parts.size());
  std::vector<completed_part> parts;
  for (const auto& [number, part] : _parts) {
    parts.emplace_back(number, part.tag, part.crc32);
  }
  auto completing = _store.complete_multipart_upload(_key, *_id, std::move(parts), stop);
  auto tag = co_await std::move(completing);
  // NoSuchUpload after a repeated request usually means that the first one was carried out; and
  // some stores answer 500 to each repetition then.
  const bool perhaps_done =
      !tag && (tag.error().what_now == disposition::not_found || tag.error().status >= 500);
  if (!tag && !perhaps_done) {
    co_return std::move(tag.error());
  }
  auto asking = _store.head_object(_key, stop);
  auto info = co_await std::move(asking);
  if (!info) {
    co_return perhaps_done ? std::move(tag.error()) : std::move(info.error());
  }
  if (info->size != _bytes && !tag && tag.error().status >= 500) {
    co_return std::move(tag.error());  // of another upload
  }
  if (info->size != _bytes) {
    error failure;
    failure.why = reason::integrity;
    failure.message = _key.str() + ": the store reports " + std::to_string(info->size) +
                      " bytes after " + std::to_string(_bytes) + " were uploaded";
    co_return failure;
  }
  // One LIST for an object of up to 1.22 TiB.
  auto sweeping = sweep_uploads(_store, _log, _key, _id, stop);
  auto swept = co_await std::move(sweeping);
  if (!swept) {
    co_return std::move(swept.error()).within("looking for uploads left open");
  }
  _parts.clear();  // up to 10,000, and their stream goes on with the next object
  stored_object stored;
  stored.tag = info->tag;
  stored.size = info->size;
  stored.stored_as = info->stored_as;
  co_return stored;
}

task<result<void>> multipart_upload::abort(engine::stop_token stop) {
  if (!_creating) {
    co_return engine::ok();
  }
  if (_id) {
    auto aborting = _store.abort_multipart_upload(_key, *_id, stop);
    auto aborted = co_await std::move(aborting);
    if (!aborted) {
      co_return aborted;
    }
  }
  auto sweeping = abort_uploads(_store, _key, _id, stop);
  auto swept = co_await std::move(sweeping);
  // Credentials that may not list are common, as are stores that cannot, and the known upload is
  // gone.
  if (!swept && _id && is_refused(swept.error())) {
    co_return engine::ok();
  }
  co_return swept;
}

task<result<void>> abort_uploads(object_store& store, object_key key,
                                 std::optional<upload_id> except, engine::stop_token stop) {
  auto listing = store.list_multipart_uploads(key.str(), stop);
  auto open = co_await std::move(listing);
  if (!open) {
    co_return std::move(open.error());
  }
  for (const listed_upload& upload : *open) {
    if (upload.key != key || (except && upload.id == *except)) {
      continue;
    }
    auto aborting = store.abort_multipart_upload(key, upload.id, stop);
    auto aborted = co_await std::move(aborting);
    if (!aborted) {
      co_return aborted;
    }
  }
  co_return engine::ok();
}

task<result<void>> end_upload(object_store& store, engine::log_sink& log, object_key key,
                              upload_id id, engine::stop_token stop) {
  auto aborting = store.abort_multipart_upload(key, id, stop);
  auto aborted = co_await std::move(aborting);
  if (aborted || !is_refused(aborted.error())) {
    co_return aborted;
  }
  log.write(
      engine::log_level::warning, "backup", "upload_left_open",
      {{"key", key.str()},
       {"error", aborted.error().text()},
       {"remedy",
        "allow s3:AbortMultipartUpload, or let a lifecycle rule end incomplete uploads: until "
        "then its parts are paid for"}});
  co_return engine::ok();
}

task<result<void>> end_uploads(object_store& store, engine::log_sink& log, object_key key,
                               std::optional<upload_id> known, engine::stop_token stop) {
  if (known) {
    auto ending = end_upload(store, log, key, *known, stop);
    auto ended = co_await std::move(ending);
    if (!ended) {
      co_return ended;
    }
  }
  auto listing = store.list_multipart_uploads(key.str(), stop);
  auto open = co_await std::move(listing);
  if (!open && is_refused(open.error())) {
    log.write(engine::log_level::debug, "s3", "open_uploads_not_listed",
              {{"key", key.str()}, {"error", open.error().message}});
    co_return engine::ok();
  }
  if (!open) {
    co_return std::move(open.error());
  }
  for (const listed_upload& upload : *open) {
    if (upload.key != key || (known && upload.id == *known)) {
      continue;
    }
    auto ending = end_upload(store, log, key, upload.id, stop);
    auto ended = co_await std::move(ending);
    if (!ended) {
      co_return ended;
    }
  }
  co_return engine::ok();
}

task<result<void>> sweep_uploads(object_store& store, engine::log_sink& log, object_key key,
                                 std::optional<upload_id> except, engine::stop_token stop) {
  const std::string name = key.str();
  auto sweeping = abort_uploads(store, std::move(key), std::move(except), stop);
  auto swept = co_await std::move(sweeping);
  if (!swept && (swept.error().what_now == disposition::cancelled ||
                 swept.error().why == reason::network || swept.error().why == reason::throttled)) {
    co_return swept;
  }
  if (!swept) {
    log.write(engine::log_level::debug, "s3", "open_uploads_not_listed",
              {{"key", name}, {"error", swept.error().message}});
  }
  co_return engine::ok();
}

}  // namespace bts3::s3
