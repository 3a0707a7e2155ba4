#include "app/survey/unfinished.hh"

#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "app/store/manifest_state.hh"
#include "app/store/second_look.hh"
#include "btrfs/host.hh"
#include "engine/told_command.hh"
#include "planner/keys.hh"
#include "planner/prune.hh"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::error;
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
  if (intent.part_size != with.settings.s3.part_size_bytes ||
      intent.chunk_size != with.settings.chunk_limit_bytes()) {
    return "s3.part_size_bytes or s3.chunk_size_bytes have changed";
  }
  if ((intent.sealing ? intent.sealing->recipients : std::vector<std::string>()) !=
      settings.sealed_for) {
    return "those for whom backups are sealed have changed";
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

// The UUID of the snapshot that the backup is of; empty when nothing tells. A journal that could
// not be written may lack it while everything else was done.
std::string snapshot_uuid_of(const services& with, const journal_record& record) {
  if (record.snapshot) {
    return record.snapshot->uuid;
  }
  auto info = with.host.subvolumes().inspect(record.intent.snapshot_path);
  return info ? info->own_uuid.text() : "";
}

// Whether a manifest at this backup's key is its own.
bool is_of(const services& with, const planner::manifest& value, const journal_record& record) {
  const std::string uuid = snapshot_uuid_of(with, record);
  if (!uuid.empty()) {
    return value.snapshot.uuid == uuid;
  }
  if (value.host_id != this_host().id) {
    return false;
  }
  // A sealed one does not tell paths.
  return value.encryption ? value.snapshot.name == record.intent.snapshot_name
                          : value.snapshot.path == record.intent.snapshot_path;
}

// Whether this backup's manifest is there, somebody else's, or damaged. `objects`: what a listing
// has of its keys; null: there was none.
task<result<void>> examine_manifest(const services& with, s3::object_store& store,
                                    const journal_record& record,
                                    const planner::object_listing* objects,
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
    found.facts.manifest_is_there = is_of(with, *manifest->there, record);
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
    if (!is_broken_chain(chain.error())) {
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
  made.protocol = settings.btrfs.send_protocol.value_or(host.sends_protocol_2() ? 2 : 1);
  made.compressed_data = made.protocol == 2 && settings.btrfs.compressed_data.value_or(true);
  return made;
}

result<std::set<planner::timestamp>> backups_in_the_making(const services& with) {
  auto paths = list_journals(with.settings.global.state_path);
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
                  std::chrono::ceil<std::chrono::seconds>(settings.s3.resume_for));
}

std::string place_problem(const services& with, const journal_record& record) {
  const backup_intent& intent = record.intent;
  const planner::key_layout keys(with.settings.s3.prefix, intent.subvolume);
  if (intent.bucket != with.settings.s3.bucket || intent.keys_root != keys.root()) {
    return "it went to s3://" + intent.bucket + "/" + intent.keys_root + ", and s3://" +
           with.settings.s3.bucket + "/" + keys.root() + " is configured now";
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

}  // namespace bts3::app
