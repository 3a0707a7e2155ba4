#include "app/upload/removal.hh"

#include "app/store/file_putting.hh"
#include "btrfs/host.hh"
#include "engine/offload.hh"
#include "planner/keys.hh"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

using upload_list = std::vector<s3::listed_upload>;

// What the keys of its chunks begin with; key_layout::chunk() goes on with index and ".bin".
std::string chunk_prefix(const backup_intent& intent) {
  std::string prefix = intent.keys_root + std::string(planner::to_string(intent.kind)) + "/chunk-" +
                       intent.when.compact() + "-";
  return intent.chunk_tag.empty() ? prefix : prefix + intent.chunk_tag + "-";
}

// Whether that key is of a chunk of this backup, and not of another with the same time.
bool is_chunk_of(const backup_intent& intent, const std::string& key) {
  const planner::object_name name = planner::name_of(intent.keys_root, key);
  return name.is == planner::object_name::what::chunk && name.kind == intent.kind &&
         name.when == intent.when && name.tag == intent.chunk_tag;
}

std::string chunk_key(const std::string& prefix, std::uint32_t index) {
  return prefix + std::to_string(index) + ".bin";
}

// Keys under which an upload may be open that the record does not know: created and never noted,
// or created twice as an answer was lost.
std::vector<std::string> possible_keys(const services& with, const journal_record& record,
                                       const std::string& prefix) {
  const auto& known = record.chunks;
  const bool ended = std::any_of(known.begin(), known.end(),
                                 [](const auto& chunk) { return chunk.second.size.has_value(); });
  std::uint64_t count = known.empty() ? 0 : known.rbegin()->first + std::uint64_t{1};
  if (!ended) {
    // So many chunks the parts in flight together can reach beyond the last that was noted.
    const backup_intent& intent = record.intent;
    const std::uint64_t parts = intent.chunk_size / std::max<std::uint64_t>(intent.part_size, 1);
    count += with.settings.s3.concurrency / std::max<std::uint64_t>(parts, 1) + 2;
  }
  std::vector<std::string> keys;
  for (std::uint32_t index = 0; index < count; ++index) {
    const auto chunk = known.find(index);
    if (chunk == known.end() || !chunk->second.stored) {
      keys.push_back(chunk_key(prefix, index));
    }
  }
  return keys;
}

// Nullopt where the store does not let us look, or does not know how.
task<result<std::optional<upload_list>>> look_for_uploads(const services& with,
                                                          s3::object_store& store,
                                                          std::string prefix,
                                                          engine::stop_token limit) {
  auto listing = store.list_multipart_uploads(prefix, limit);
  auto found = co_await std::move(listing);
  if (found) {
    co_return std::optional<upload_list>(std::move(*found));
  }
  const error& failure = found.error();
  const bool refused = failure.why == reason::access || failure.why == reason::unsupported ||
                       failure.status == 404 || failure.status == 405;
  if (!refused) {
    co_return std::move(found.error());
  }
  with.log.write(log_level::debug, "s3", "open_uploads_not_listed",
                 {{"key", prefix}, {"error", failure.message}});
  co_return std::optional<upload_list>();
}

// `open`, and those beside it that the record names.
upload_list with_recorded(const journal_record& record, const std::string& prefix,
                          upload_list open) {
  for (const auto& [index, chunk] : record.chunks) {
    const s3::upload_id id(chunk.upload_id);
    const bool is_listed = std::any_of(open.begin(), open.end(),
                                       [&](const s3::listed_upload& one) { return one.id == id; });
    if (!chunk.upload_id.empty() && !chunk.stored && !is_listed) {
      s3::listed_upload noted;
      noted.key = s3::object_key(chunk_key(prefix, index));
      noted.id = id;
      open.push_back(std::move(noted));
    }
  }
  return open;
}

void keep_first(result<void>& kept, result<void> next) {
  if (kept) {
    kept = std::move(next);
  }
}

}  // namespace

removal::removal(const services& with, removal_order order, engine::stop_token limit)
    : _with(with),
      _order(std::move(order)),
      _limit(limit),
      _prefix(chunk_prefix(_order.record.intent)) {}

task<result<void>> removal::objects(s3::object_store& store) {
  if (_order.reach == removal_reach::named) {
    auto removing = named_objects(store);
    co_return co_await std::move(removing);
  }
  auto removing = objects_by_keys(store);
  co_return co_await std::move(removing);
}

task<result<void>> removal::named_objects(s3::object_store& store) {
  const backup_intent& intent = _order.record.intent;
  result<void> all = engine::ok();
  if (_order.signature) {
    // Before the manifest: one that stays is signed by the run that publishes it.
    auto deleting = delete_named(store, s3::object_key(planner::signature_of(intent.manifest_key)));
    all = co_await std::move(deleting);
  }
  if (_order.manifest) {
    auto deleting = delete_named(store, s3::object_key(intent.manifest_key));
    auto deleted = co_await std::move(deleting);
    keep_first(all, std::move(deleted));
  }
  if (_order.key_is_anothers && intent.chunk_tag.empty()) {
    co_return all;
  }
  if (_order.record.index) {
    auto ending = end_index_upload(store);
    auto ended = co_await std::move(ending);
    keep_first(all, std::move(ended));
    auto deleting = delete_named(store, s3::object_key(_order.record.index->key));
    auto deleted = co_await std::move(deleting);
    keep_first(all, std::move(deleted));
  }
  if (intent.sealing) {
    auto deleting = delete_named(store, s3::object_key(intent.sealing->keys_key));
    auto deleted = co_await std::move(deleting);
    keep_first(all, std::move(deleted));
  }
  for (const auto& [index, chunk] : _order.record.chunks) {
    const s3::object_key key(chunk_key(_prefix, index));
    if (chunk.upload_begun) {
      auto ending = end_named(store, key, chunk);
      auto ended = co_await std::move(ending);
      keep_first(all, std::move(ended));
    }
    if (chunk.stored) {
      auto deleting = delete_named(store, key);
      auto deleted = co_await std::move(deleting);
      keep_first(all, std::move(deleted));
    }
  }
  co_return all;
}

// Every open upload of that key, also one whose creation was never answered.
task<result<void>> removal::end_named(s3::object_store& store, s3::object_key key,
                                      journalled_chunk chunk) {
  s3::multipart_upload upload(_with.loop, store, _with.log, key, s3::write_options());
  result<void> ended;
  if (chunk.upload_id.empty()) {
    auto aborting = s3::abort_uploads(store, key, std::nullopt, _limit);
    ended = co_await std::move(aborting);
  } else {
    upload.resume(s3::upload_id(chunk.upload_id), chunk.checksums);
    auto aborting = upload.abort(_limit);
    ended = co_await std::move(aborting);
  }
  if (ended) {
    co_return ended;
  }
  _with.log.write(log_level::warning, "backup", "upload_left_open",
                  {{"key", key.str()}, {"error", ended.error().text()}});
  if (ended.error().why == reason::unsupported) {
    co_return engine::ok();
  }
  co_return ended;
}

// Of an index that went in parts. Nothing but storage hangs on one that the store keeps.
task<result<void>> removal::end_index_upload(s3::object_store& store) {
  const auto& index = _order.record.index;
  if (!index || !file_put_limits().in_parts(index->size)) {
    co_return engine::ok();
  }
  auto ending = s3::end_uploads(store, _with.log, s3::object_key(index->key), std::nullopt, _limit);
  co_return co_await std::move(ending);
}

task<result<void>> removal::delete_named(s3::object_store& store, s3::object_key key) {
  auto deleting = store.delete_object(key, _limit);
  auto deleted = co_await std::move(deleting);
  if (!deleted) {
    _with.log.write(log_level::warning, "backup", "object_left",
                    {{"key", key.str()}, {"error", deleted.error().text()}});
  }
  co_return deleted;
}

task<result<void>> removal::objects_by_keys(s3::object_store& store) {
  if (_order.key_is_anothers && _order.record.intent.chunk_tag.empty()) {
    auto aborting = abort_all(store, with_recorded(_order.record, _prefix, {}));
    co_return co_await std::move(aborting);
  }
  auto ending = end_by_keys(store);
  auto ended = co_await std::move(ending);
  if (!ended) {
    co_return ended;
  }
  auto deleting = delete_by_keys(store);
  co_return co_await std::move(deleting);
}

task<result<void>> removal::abort_all(s3::object_store& store, upload_list uploads) {
  for (const s3::listed_upload& upload : uploads) {
    auto aborting = store.abort_multipart_upload(upload.key, upload.id, _limit);
    auto aborted = co_await std::move(aborting);
    if (!aborted && aborted.error().why == reason::unsupported) {
      // No later run can do better.
      _with.log.write(log_level::warning, "backup", "upload_left_open",
                      {{"key", upload.key.str()},
                       {"error", aborted.error().text()},
                       {"remedy", "let a lifecycle rule end incomplete uploads"}});
      continue;
    }
    if (!aborted) {
      co_return std::move(aborted.error()).within("aborting the upload of " + upload.key.str());
    }
  }
  co_return engine::ok();
}

// Those that the record names need no listing. The others are found by one listing for all keys,
// but not on MinIO, which takes its prefix for a key: where it finds nothing, each key is asked
// for.
task<result<void>> removal::end_by_keys(s3::object_store& store) {
  auto looking = look_for_uploads(_with, store, _prefix, _limit);
  auto listed = co_await std::move(looking);
  if (!listed) {
    co_return std::move(listed.error());
  }
  upload_list open;
  if (*listed) {
    open = **listed;
    std::erase_if(
        open, [&](const auto& one) { return !is_chunk_of(_order.record.intent, one.key.str()); });
  }
  auto aborting = abort_all(store, with_recorded(_order.record, _prefix, std::move(open)));
  auto aborted = co_await std::move(aborting);
  if (!aborted || !*listed || !(*listed)->empty()) {
    co_return aborted;
  }
  for (const std::string& key : possible_keys(_with, _order.record, _prefix)) {
    auto asking = look_for_uploads(_with, store, key, _limit);
    auto found = co_await std::move(asking);
    if (!found) {
      co_return std::move(found.error());
    }
    if (!*found) {
      break;
    }
    std::erase_if(**found, [&](const auto& one) { return one.key.str() != key; });
    auto ending = abort_all(store, std::move(**found));
    auto ended = co_await std::move(ending);
    if (!ended) {
      co_return ended;
    }
  }
  co_return engine::ok();
}

task<result<void>> removal::delete_by_keys(s3::object_store& store) {
  auto listing = store.list_objects(s3::list_request(_prefix), _limit);
  auto objects = co_await std::move(listing);
  if (!objects) {
    co_return std::move(objects.error());
  }
  for (const s3::listed_object& object : objects->objects) {
    if (!is_chunk_of(_order.record.intent, object.key.str())) {
      continue;
    }
    auto deleting = store.delete_object(object.key, _limit);
    auto deleted = co_await std::move(deleting);
    if (!deleted) {
      co_return std::move(deleted.error()).within("deleting " + object.key.str());
    }
  }
  auto ending = end_index_upload(store);
  auto ended = co_await std::move(ending);
  if (!ended) {
    co_return ended;
  }
  // Their keys have the tag, so they are nobody else's; one that is not there is deleted.
  std::vector<std::string> beside;
  if (const auto& index = _order.record.index) {
    beside.push_back(index->key);
  }
  if (const auto& sealing = _order.record.intent.sealing) {
    beside.push_back(sealing->keys_key);
  }
  for (const std::string& key : beside) {
    auto deleting = store.delete_object(s3::object_key(key), _limit);
    auto deleted = co_await std::move(deleting);
    if (!deleted && deleted.error().what_now != engine::disposition::not_found) {
      co_return std::move(deleted.error()).within("deleting " + key);
    }
  }
  co_return engine::ok();
}

task<result<bool>> removal::snapshot() {
  const std::string& path = _order.record.intent.snapshot_path;
  std::error_code code;
  if (!std::filesystem::exists(std::filesystem::symlink_status(path, code))) {
    co_return false;
  }
  auto info = _with.host.subvolumes().inspect(path);
  if (!info) {
    co_return std::move(info.error());
  }
  const std::optional<snapshot_identity>& recorded = _order.record.snapshot;
  if (recorded && info->own_uuid.text() != recorded->uuid) {
    _with.log.write(log_level::warning, "backup", "snapshot_left",
                    {{"path", path}, {"reason", "it is not the one that the journal recorded"}});
    co_return false;
  }
  auto removing = remove_snapshot(_with, path);
  auto removed = co_await std::move(removing);
  if (!removed) {
    co_return std::move(removed.error());
  }
  co_return true;
}

task<result<void>> remove_snapshot(const services& with, std::string path) {
  const std::filesystem::path where(path);
  for (int attempt = 0;; ++attempt) {
    std::function<result<void>()> call = [&with, where] {
      return with.host.snapshots().remove_any(where.parent_path().string(),
                                              where.filename().string());
    };
    auto removing = engine::offload(with.loop, std::move(call));
    auto removed = co_await std::move(removing);
    if (removed || removed.error().status != EPERM || attempt == 20) {
      co_return removed;
    }
    auto waiting = with.loop.sleep_for(std::chrono::milliseconds(100));
    (void)co_await std::move(waiting);
  }
}

}  // namespace bts3::app
