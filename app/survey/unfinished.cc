#include "app/survey/unfinished.hh"

#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "app/store/second_look.hh"
#include "engine/offload.hh"
#include "engine/told_command.hh"
#include "planner/keys.hh"
#include "planner/prune.hh"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

std::string snapshot_problem(const journal_record& record,
                             const std::vector<btrfs::snapshot>& snapshots,
                             std::optional<btrfs::snapshot>& found) {
  if (!record.snapshot) {
    return "the journal ends before its snapshot was made";
  }
  planner::snapshot_record recorded;
  recorded.name = record.intent.snapshot_name;
  recorded.path = record.intent.snapshot_path;
  recorded.uuid = record.snapshot->uuid;
  recorded.ctransid = record.snapshot->ctransid;
  parent_finding finding =
      find_parent(recorded, snapshots, nullptr, {}, std::nullopt,
                  std::filesystem::path(record.intent.snapshot_path).parent_path().string());
  found = std::move(finding.snapshot);
  return finding.problem;
}

std::string settings_problem(const services& with, const backup_intent& intent,
                             const subvolume_view& view, stream_settings settings) {
  if (intent.source != view.which.path) {
    return "its source was " + intent.source + ", and " + view.which.path + " is configured now";
  }
  if (intent.protocol != settings.protocol || intent.compressed_data != settings.compressed_data) {
    return "the send protocol or its flags have changed, which changes the stream";
  }
  if (intent.part_size != with.settings.part_size_bytes ||
      intent.chunk_size != with.settings.chunk_limit_bytes()) {
    return "s3.part_size_bytes or s3.chunk_size_bytes have changed";
  }
  return "";
}

std::string parent_problem(const backup_intent& intent, const subvolume_view& view) {
  if (!intent.parent_manifest) {
    return "";
  }
  const planner::observation& seen = view.seen;
  if (*intent.parent_manifest != seen.last_key) {
    return "the last backup is not the one that it continues";
  }
  if (!seen.chain_problem.empty() || !seen.chunk_problem.empty()) {
    return "its parent cannot be restored: " + seen.chain_problem + seen.chunk_problem;
  }
  if (seen.parent != planner::parent_state::present ||
      seen.parent_snapshot != intent.parent_snapshot) {
    return "its parent snapshot cannot be used: " + seen.parent_problem;
  }
  return "";
}

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

// Keys under which an upload may be open that the journal does not know: created and never noted,
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
    count +=
        static_cast<std::uint64_t>(with.settings.concurrency) / std::max<std::uint64_t>(parts, 1) +
        2;
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
task<result<std::optional<std::vector<s3::listed_upload>>>> look_for_uploads(
    const services& with, s3::object_store& store, std::string prefix) {
  auto listing = store.list_multipart_uploads(prefix, with.stop);
  auto found = co_await std::move(listing);
  if (found) {
    co_return std::optional<std::vector<s3::listed_upload>>(std::move(*found));
  }
  const error& failure = found.error();
  const bool refused = failure.why == reason::access || failure.why == reason::unsupported ||
                       failure.status == 404 || failure.status == 405;
  if (!refused) {
    co_return std::move(found.error());
  }
  with.log.write(log_level::debug, "s3", "open_uploads_not_listed",
                 {{"key", prefix}, {"error", failure.message}});
  co_return std::optional<std::vector<s3::listed_upload>>();
}

task<result<void>> abort_all(const services& with, s3::object_store& store,
                             std::vector<s3::listed_upload> uploads) {
  for (const s3::listed_upload& upload : uploads) {
    auto aborting = store.abort_multipart_upload(upload.key, upload.id, with.stop);
    auto aborted = co_await std::move(aborting);
    if (!aborted && aborted.error().why == reason::unsupported) {
      // No later run can do better.
      with.log.write(log_level::warning, "backup", "upload_left_open",
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

// `open`, and those beside it that the journal names.
std::vector<s3::listed_upload> journalled_uploads(const journal_record& record,
                                                  const std::string& prefix,
                                                  std::vector<s3::listed_upload> open) {
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

// Those that the journal names need no listing. The others are found by one listing for all keys,
// but not on MinIO, which takes its prefix for a key: where it finds nothing, each key is asked
// for.
task<result<void>> abort_unfinished_uploads(const services& with, s3::object_store& store,
                                            const journal_record& record, std::string prefix) {
  auto looking = look_for_uploads(with, store, prefix);
  auto listed = co_await std::move(looking);
  if (!listed) {
    co_return std::move(listed.error());
  }
  std::vector<s3::listed_upload> open;
  if (*listed) {
    open = **listed;
    std::erase_if(open,
                  [&](const auto& one) { return !is_chunk_of(record.intent, one.key.str()); });
  }
  auto aborting = abort_all(with, store, journalled_uploads(record, prefix, std::move(open)));
  auto aborted = co_await std::move(aborting);
  if (!aborted || !*listed || !(*listed)->empty()) {
    co_return aborted;
  }
  for (const std::string& key : possible_keys(with, record, prefix)) {
    auto asking = look_for_uploads(with, store, key);
    auto found = co_await std::move(asking);
    if (!found) {
      co_return std::move(found.error());
    }
    if (!*found) {
      break;
    }
    std::erase_if(**found, [&](const auto& one) { return one.key.str() != key; });
    auto ending = abort_all(with, store, std::move(**found));
    auto ended = co_await std::move(ending);
    if (!ended) {
      co_return ended;
    }
  }
  co_return engine::ok();
}

// The UUID of the snapshot that the backup is of; empty when nothing tells. A journal that could
// not be written may lack it while everything else was done.
std::string snapshot_uuid_of(const journal_record& record) {
  if (record.snapshot) {
    return record.snapshot->uuid;
  }
  auto info = btrfs::inspect_subvolume(record.intent.snapshot_path);
  return info ? info->own_uuid.text() : "";
}

// Whether a manifest at this backup's key is its own.
bool is_of(const planner::manifest& value, const journal_record& record) {
  const std::string uuid = snapshot_uuid_of(record);
  if (!uuid.empty()) {
    return value.snapshot.uuid == uuid;
  }
  return value.host_id == this_host().id && value.snapshot.path == record.intent.snapshot_path;
}

// Whether this backup's manifest is there, somebody else's, or damaged. `objects`: what a listing
// has of its keys; null: there was none.
task<result<void>> examine_manifest(const services& with, s3::object_store& store,
                                    const journal_record& record,
                                    const std::map<std::string, std::uint64_t>* objects,
                                    unfinished_finding& found) {
  const backup_intent& intent = record.intent;
  manifest_place place;
  place.subvolume = intent.subvolume;
  place.kind = intent.kind;
  place.when = intent.when;
  auto looking = look_at_manifest(with, store, intent.manifest_key, std::move(place), with.stop);
  auto manifest = co_await std::move(looking);
  if (!manifest) {
    co_return std::move(manifest.error());
  }
  if (objects != nullptr && !manifest->there) {
    auto checked = check_by_listing(*objects, intent.manifest_key, manifest->bytes);
    if (!checked) {
      co_return checked;
    }
  }
  found.facts.manifest_problem = std::move(manifest->problem);
  if (manifest->there) {
    found.facts.manifest_is_there = is_of(*manifest->there, record);
    found.facts.manifest_is_anothers = !found.facts.manifest_is_there;
  }
  if (found.facts.manifest_is_there) {
    found.manifest = std::move(manifest->there);
  }
  co_return engine::ok();
}

// Whether the chain behind the pointer has `manifest_key`, which is not known to be another's.
task<result<bool>> pointer_leads_to(const services& with, s3::object_store& store,
                                    const unfinished_finding& found, std::string manifest_key) {
  if (found.pointer->value.manifest_key == manifest_key) {
    co_return true;
  }
  std::vector<std::string> places;
  places.push_back(found.pointer->value.manifest_key);
  auto chaining = read_chain(careful_reader(with, store, with.stop), std::move(places));
  auto chain = co_await std::move(chaining);
  if (!chain) {
    const error& failure = chain.error();
    const bool broken = failure.what_now == disposition::not_found ||
                        failure.why == reason::integrity || failure.why == reason::protocol;
    if (!broken) {
      co_return std::move(chain.error());
    }
    co_return false;  // whether this backup is there, its own manifest says
  }
  co_return std::any_of(chain->begin(), chain->end(),
                        [&](const chain_link& link) { return link.key == manifest_key; });
}

}  // namespace

stream_settings stream_settings_of(const config& settings, const btrfs::capabilities& host) {
  stream_settings made;
  if (settings.send_protocol == "auto") {
    made.protocol = host.sends_protocol_2() ? 2 : 1;
  } else {
    made.protocol = settings.send_protocol == "2" ? 2 : 1;
  }
  made.compressed_data = made.protocol == 2 && settings.compressed_data != "false";
  return made;
}

result<std::set<planner::timestamp>> backups_in_the_making(const services& with) {
  auto paths = list_journals(with.settings.state_path);
  if (!paths) {
    return std::move(paths.error());
  }
  std::set<planner::timestamp> times;
  for (const std::string& path : *paths) {
    auto record = read_journal(path);
    if (!record) {
      error failure = std::move(record.error());
      failure.remedy = "run `" + engine::told_command("backup") + "` first, which settles journals";
      return failure;
    }
    if (*record) {
      times.insert((*record)->intent.when);
    }
  }
  return times;
}

std::chrono::seconds orphan_grace(const config& settings) {
  return std::max(planner::prune_policy().grace,
                  std::chrono::ceil<std::chrono::seconds>(settings.resume_for));
}

std::string place_problem(const services& with, const journal_record& record) {
  const backup_intent& intent = record.intent;
  const planner::key_layout keys(with.settings.prefix, intent.subvolume);
  if (intent.bucket != with.settings.bucket || intent.keys_root != keys.root()) {
    return "it went to s3://" + intent.bucket + "/" + intent.keys_root + ", and s3://" +
           with.settings.bucket + "/" + keys.root() + " is configured now";
  }
  const std::string endpoint = configured_endpoint(with);
  if (intent.endpoint_url != endpoint) {
    return "it went to endpoint \"" + intent.endpoint_url + "\", and \"" + endpoint +
           "\" is configured now";
  }
  return "";
}

task<result<unfinished_finding>> examine_unfinished(const services& with,
                                                    store_connection& connection,
                                                    journal_record record,
                                                    const subvolume_view* view,
                                                    stream_settings settings) {
  const backup_intent& intent = record.intent;
  unfinished_finding found;
  found.facts.began = intent.when;
  found.facts.last_progress = record.last_progress;
  found.facts.local_only = intent.local_only;
  found.facts.configured = view != nullptr;
  found.facts.place_problem = place_problem(with, record);
  if (intent.local_only) {
    co_return std::move(found);
  }
  s3::object_store& store = connection.store();
  auto looking = look_at_pointer(with, store, intent.keys_root + "current.json",
                                 absence::asked_for_twice, with.stop);
  auto pointer = co_await std::move(looking);
  if (!pointer) {
    co_return std::move(pointer.error());
  }
  const bool understood = pointer->there && pointer->understood();
  // A listing of another place says nothing of this one.
  const bool listed = view != nullptr && found.facts.place_problem.empty();
  if (listed && !understood) {
    auto checked =
        check_by_listing(view->objects, intent.keys_root + "current.json", pointer->bytes);
    if (!checked) {
      co_return std::move(checked.error());
    }
  }
  found.facts.pointer_problem = std::move(pointer->problem);
  found.pointer = std::move(pointer->there);
  // As text: a damaged one, too, is still what was there before, or is not.
  found.facts.pointer_unmoved = found.pointer.has_value() == intent.pointer_before.has_value() &&
                                (!found.pointer || found.pointer->text == *intent.pointer_before);
  auto examining = examine_manifest(with, store, record, listed ? &view->objects : nullptr, found);
  auto examined = co_await std::move(examining);
  if (!examined) {
    co_return std::move(examined.error());
  }
  if (understood && !found.facts.manifest_is_anothers) {
    auto following = pointer_leads_to(with, store, found, intent.manifest_key);
    auto leads = co_await std::move(following);
    if (!leads) {
      co_return std::move(leads.error());
    }
    found.facts.pointer_names_it = *leads;
  }
  if (view != nullptr) {
    found.facts.settings_problem = settings_problem(with, intent, *view, settings);
    found.facts.snapshot_problem = snapshot_problem(record, view->snapshots, found.snapshot);
    found.facts.parent_problem = parent_problem(intent, *view);
  }
  co_return std::move(found);
}

task<result<void>> remove_unfinished_objects(const services& with, store_connection& connection,
                                             const journal_record& record, bool second_writer) {
  s3::object_store& store = connection.store();
  const std::string prefix = chunk_prefix(record.intent);
  if (second_writer && record.intent.chunk_tag.empty()) {
    auto aborting = abort_all(with, store, journalled_uploads(record, prefix, {}));
    co_return co_await std::move(aborting);
  }
  auto ending = abort_unfinished_uploads(with, store, record, prefix);
  auto ended = co_await std::move(ending);
  if (!ended) {
    co_return ended;
  }
  auto listing = store.list_objects(s3::list_request(prefix), with.stop);
  auto objects = co_await std::move(listing);
  if (!objects) {
    co_return std::move(objects.error());
  }
  for (const s3::listed_object& object : objects->objects) {
    if (!is_chunk_of(record.intent, object.key.str())) {
      continue;
    }
    auto deleting = store.delete_object(object.key, with.stop);
    auto deleted = co_await std::move(deleting);
    if (!deleted) {
      co_return std::move(deleted.error()).within("deleting " + object.key.str());
    }
  }
  co_return engine::ok();
}

task<result<void>> remove_snapshot(const services& with, std::string path) {
  const std::filesystem::path where(path);
  for (int attempt = 0;; ++attempt) {
    std::function<result<void>()> call = [where] {
      return btrfs::delete_subvolume(where.parent_path().string(), where.filename().string());
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

task<result<void>> remove_unfinished_snapshot(const services& with, const journal_record& record) {
  const std::string path = record.intent.snapshot_path;
  std::error_code code;
  if (!std::filesystem::exists(std::filesystem::symlink_status(path, code))) {
    co_return engine::ok();
  }
  auto info = btrfs::inspect_subvolume(path);
  if (!info) {
    co_return std::move(info.error());
  }
  if (record.snapshot && info->own_uuid.text() != record.snapshot->uuid) {
    with.log.write(log_level::warning, "backup", "snapshot_left",
                   {{"path", path}, {"reason", "it is not the one that the journal recorded"}});
    co_return engine::ok();
  }
  auto removing = remove_snapshot(with, path);
  auto removed = co_await std::move(removing);
  if (removed) {
    with.log.write(log_level::info, "backup", "snapshot_removed",
                   {{"path", path}, {"reason", "its backup was never finished"}});
  }
  co_return removed;
}

}  // namespace bts3::app
