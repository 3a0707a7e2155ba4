#include "app/survey/observer.hh"

#include "app/records/kept_copies.hh"
#include "app/store/bucket_listing.hh"
#include "app/store/manifest_state.hh"
#include "app/store/second_look.hh"
#include "app/survey/receive_refusal.hh"
#include "btrfs/host.hh"
#include "engine/for_each_at_most.hh"
#include "planner/keys.hh"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

// Subvolumes looked at concurrently: enough to hide the latency of a store far away.
constexpr std::size_t observed_at_once = 8;

// Empty when every manifest of the chain is below `root`. In a copy that is not whole, read_chain()
// may find the original's: nothing new is to rest on those.
std::string place_problem(const std::vector<chain_link>& chain, const std::string& root) {
  for (const chain_link& link : chain) {
    if (!link.key.starts_with(root)) {
      return "its manifest " + link.key + " is not below " + root;
    }
  }
  return "";
}

// Empty when every chunk of the chain is among the subvolume's own objects, with its size, and so
// are the keys of what is sealed.
std::string chunk_problem(const std::vector<chain_link>& chain,
                          const planner::object_listing& objects) {
  for (const chain_link& link : chain) {
    if (link.value.encryption) {
      const std::string keys =
          planner::place_in(objects, link.key, link.value.encryption->keys_key);
      if (!objects.contains(keys)) {
        return "keys object " + keys + " is missing from the bucket";
      }
    }
    for (const planner::chunk_record& chunk : link.value.chunks) {
      const auto compared = planner::compare_chunk(objects, link.key, chunk);
      if (!compared.as_recorded()) {
        return compared.sentence();
      }
    }
  }
  return "";
}

std::uint64_t manifest_bytes(const planner::object_listing& objects, const std::string& root) {
  std::uint64_t sum = 0;
  for (const auto& [key, object] : objects) {
    sum += planner::name_of(root, key).is == planner::object_name::what::manifest ? object.size : 0;
  }
  return sum;
}

link_summary summary_of(const chain_link& link) {
  link_summary made;
  made.key = link.key;
  made.kind = link.value.kind;
  made.when = planner::time_of(link.value, link.key);
  made.bytes = link.value.total_bytes;
  made.snapshot_name = link.value.snapshot.name;
  made.of_earlier_tool = !link.value.snapshot.uuid;
  return made;
}

// The snapshot that the state file names, as it was when it was written there.
std::optional<btrfs::known_copy> known_by_state(const subvolume_state* remembered) {
  if (remembered == nullptr || !remembered->snapshot_uuid || !remembered->snapshot_ctransid) {
    return std::nullopt;
  }
  const auto id = btrfs::uuid::parse(*remembered->snapshot_uuid);
  return id ? std::optional(btrfs::known_copy{*id, *remembered->snapshot_ctransid}) : std::nullopt;
}

// Whether it was made of `source`, when its name says. The earlier tool took the time and then made
// the snapshot, as this program does; syncing a busy disk can take a while.
bool made_of(const std::optional<btrfs::uuid>& source, const btrfs::snapshot& found) {
  constexpr std::int64_t seconds_apart_max = 60;
  const auto named = planner::timestamp::parse(found.time);
  const std::int64_t apart =
      named ? found.info.made_at - named->when().time_since_epoch().count() : -1;
  return source && found.info.parent_uuid == *source && apart >= 0 && apart <= seconds_apart_max;
}

// A snapshot that has the recorded name, of a manifest without UUIDs.
btrfs::identity_finding compare_by_name(const std::optional<btrfs::known_copy>& by_state,
                                        const btrfs::subvolume_info& found) {
  btrfs::recorded_identity recorded;
  recorded.own_uuid = by_state ? by_state->own_uuid : found.own_uuid;
  recorded.ctransid = by_state ? by_state->ctransid : std::min(found.ctransid, found.made_in);
  return btrfs::compare_identity(recorded, found);
}

// The pointer, and the subvolume's objects into `objects`, the caller's: a pointer that is missing,
// or makes no sense, has to agree with the listing.
task<result<pointer_sight>> look_at_place(const services& with, s3::object_store& store,
                                          planner::key_layout keys,
                                          planner::object_listing& objects) {
  auto looking = look_at_pointer(with, store, keys.pointer(), absence::believed_at_once, with.stop);
  auto sight = co_await std::move(looking);
  if (!sight) {
    co_return std::move(sight.error());
  }
  auto listing = list_below(store, keys.root(), with.stop);
  auto found = co_await std::move(listing);
  if (!found) {
    co_return std::move(found.error());
  }
  objects = std::move(found->objects);
  const bool clear = sight->there && sight->understood();
  if (!clear && !check_by_listing(objects, keys.pointer(), sight->bytes)) {
    auto again = look_at_pointer(with, store, keys.pointer(), absence::asked_for_twice, with.stop);
    sight = co_await std::move(again);
    if (!sight) {
      co_return std::move(sight.error());
    }
    auto checked = check_by_listing(objects, keys.pointer(), sight->bytes);
    if (!checked && !(sight->there && sight->understood())) {
      co_return std::move(checked.error());
    }
  }
  co_return sight;
}

}  // namespace

host_identity this_host() {
  host_identity host;
  std::ifstream file("/etc/machine-id");
  std::getline(file, host.id);
  char name[256] = {};
  host.name = ::gethostname(name, sizeof name - 1) == 0 ? name : "";
  return host;
}

std::chrono::seconds system_time_zone::offset_at(std::chrono::sys_seconds when) const {
  const std::time_t seconds = when.time_since_epoch().count();
  std::tm local{};
  return ::localtime_r(&seconds, &local) != nullptr ? std::chrono::seconds(local.tm_gmtoff)
                                                    : std::chrono::seconds(0);
}

bool subvolume_view::time_is_taken(const std::string& time) const {
  return std::any_of(snapshots.begin(), snapshots.end(),
                     [&](const auto& one) { return one.time == time; }) ||
         std::any_of(objects.begin(), objects.end(), [&](const auto& object) {
           return object.first.find("-" + time) != std::string::npos;
         });
}

bool subvolume_view::left_by_earlier_tool(const btrfs::snapshot& one) const {
  const auto when = planner::timestamp::parse(one.time);
  if (chain.empty() || !chain.front().of_earlier_tool || !when || !made_of(source, one)) {
    return false;
  }
  const auto ours = std::find_if(chain.begin(), chain.end(),
                                 [](const link_summary& link) { return !link.of_earlier_tool; });
  return ours == chain.end() || *when < ours->when;
}

parent_finding find_parent(const planner::snapshot_record& record,
                           const std::vector<btrfs::snapshot>& snapshots,
                           const subvolume_state* remembered, std::vector<btrfs::known_copy> copies,
                           const std::optional<btrfs::uuid>& source, const std::string& base_dir) {
  btrfs::recorded_identity recorded;
  if (record.uuid) {
    recorded.own_uuid = btrfs::uuid::parse(*record.uuid);
  }
  if (record.received_uuid) {
    recorded.received_uuid = btrfs::uuid::parse(*record.received_uuid);
  }
  const std::optional<btrfs::known_copy> known = known_by_state(remembered);
  recorded.ctransid = record.ctransid;
  if (!recorded.ctransid && known && recorded.own_uuid == known->own_uuid) {
    recorded.ctransid = known->ctransid;
  }
  parent_finding found;
  found.problem = "no snapshot in " + base_dir + " has the UUID of " + record.name;
  recorded.copies = std::move(copies);
  if (known && recorded.own_uuid && known->own_uuid != *recorded.own_uuid) {
    recorded.copies.insert(recorded.copies.begin(), *known);
  }
  for (const btrfs::snapshot& snapshot : snapshots) {
    btrfs::identity_finding finding = btrfs::compare_identity(recorded, snapshot.info);
    if (finding.verdict == btrfs::identity_verdict::unknown && snapshot.name == record.name &&
        ((remembered != nullptr && snapshot.path == record.path) || made_of(source, snapshot))) {
      // The earlier tool recorded no UUIDs: the name, and our own memory or the kernel's, agree.
      finding = compare_by_name(known, snapshot.info);
      found.by_name = finding.matches();
    }
    if (finding.matches()) {
      found.snapshot = snapshot;
      found.state = planner::parent_state::present;
      found.problem.clear();
      return found;
    }
    if (snapshot.name == record.name || finding.verdict == btrfs::identity_verdict::writable ||
        finding.verdict == btrfs::identity_verdict::changed) {
      found.state = planner::parent_state::changed;
      found.problem = snapshot.path + ": " + finding.sentence;
    }
  }
  return found;
}

observer::observer(const services& with, store_connection* connection, const run_state& state,
                   host_identity host)
    : _with(with),
      _connection(connection),
      _state(state),
      _host(std::move(host)),
      _manifests(with.loop) {}

void observer::observe_parent(subvolume_view& view) const {
  if (view.which.path.empty()) {
    return;
  }
  const auto known = _state.subvolumes.find(view.which.name);
  const bool remembered =
      known != _state.subvolumes.end() && known->second.last_manifest == view.seen.last_key;
  const auto source = _with.host.subvolumes().inspect_source(view.which.path);
  parent_finding found = find_parent(
      view.seen.last->snapshot, view.snapshots, remembered ? &known->second : nullptr,
      kept_copies(_with.settings.global.state_path, view.seen.last->snapshot),
      source ? std::optional(source->own_uuid) : std::nullopt, _with.settings.snapshots.base_dir);
  if (found.by_name) {
    _with.log.write(
        log_level::info, "backup", "parent_matched_by_name",
        {{"snapshot", found.snapshot->path},
         {"reason", remembered ? "its manifest records no UUID, the state file names both"
                               : "its manifest records no UUID; it was made of this source at "
                                 "that time and not changed since"}});
  }
  view.seen.parent = found.state;
  view.seen.parent_problem = std::move(found.problem);
  view.parent = std::move(found.snapshot);
  view.seen.parent_snapshot = view.parent ? view.parent->path : "";
  observe_source(view);
}

// What cannot be looked at is an error of the backup itself, which looks first.
void observer::observe_source(subvolume_view& view) const {
  const auto source = _with.host.subvolumes().inspect_source(view.which.path);
  if (!source) {
    return;
  }
  view.source = source->own_uuid;
  const auto& recorded = view.seen.last->snapshot.parent_uuid;
  auto before = recorded ? btrfs::uuid::parse(*recorded) : std::nullopt;
  if (!recorded && view.parent) {
    before = view.parent->info.parent_uuid;  // the earlier tool recorded none; the kernel did
  }
  view.seen.source_problem = btrfs::compare_source(before, *source, view.which.path,
                                                   view.parent ? &view.parent->info : nullptr);
  if (before && *before != source->own_uuid && view.seen.source_problem.empty()) {
    _with.log.write(log_level::info, "backup", "source_made_from_the_last_snapshot",
                    {{"source", view.which.path}, {"snapshot", view.parent->path}});
  }
}

// What this host knows of the dates of the chain's first link, or of its last.
std::vector<planner::date_witness> observer::witnesses_of(const subvolume_view& view,
                                                          const chain_link& link, bool full) const {
  std::vector<planner::date_witness> all;
  const auto known = _state.subvolumes.find(view.which.name);
  const bool remembered =
      known != _state.subvolumes.end() && known->second.last_manifest == view.seen.last_key;
  if (remembered && full) {
    all.push_back({"the state file", planner::timestamp::parse(known->second.last_full_at)});
  }
  if (link.key == view.seen.last_key) {
    if (remembered) {
      all.push_back({"the state file", planner::timestamp::parse(known->second.last_backup_at)});
    }
    if (view.parent) {
      all.push_back({"its snapshot here", planner::timestamp::parse(view.parent->time)});
    }
  }
  return all;
}

task<result<subvolume_view>> observer::observe(subvolume_config which) {
  subvolume_view view;
  view.which = std::move(which);
  view.seen.subvolume = view.which.name;
  view.seen.own_host_id = _host.id;
  if (!view.which.path.empty()) {
    auto snapshots =
        _with.host.snapshots().list(_with.settings.snapshots.base_dir, view.which.name);
    if (!snapshots) {
      co_return std::move(snapshots.error());
    }
    view.snapshots = std::move(*snapshots);
  }
  const auto known = _state.subvolumes.find(view.which.name);
  if (known != _state.subvolumes.end()) {
    view.seen.remembered_manifest = known->second.last_manifest;
  }
  view.seen.last_run = planner::timestamp::parse(_state.last_run_at);
  if (_connection != nullptr) {
    auto observing = observe_bucket(view);
    auto observed = co_await std::move(observing);
    if (!observed) {
      co_return std::move(observed.error());
    }
    if (const auto store = _connection->store_time()) {
      view.seen.store_ahead = std::chrono::round<std::chrono::seconds>(*store - _with.clock.now());
    }
  }
  co_return std::move(view);
}

// Its failure is that subvolume's alone.
task<result<void>> observer::observe_into(observed& one) {
  auto observing = observe(one.which);
  one.view = co_await std::move(observing);
  one.when = std::chrono::steady_clock::now();
  co_return engine::ok();
}

task<std::vector<observed>> observer::observe_all(std::vector<subvolume_config> all) {
  std::vector<observed> seen;
  seen.reserve(all.size());
  for (subvolume_config& one : all) {
    seen.push_back(observed{std::move(one), engine::cancelled_error(), {}});
  }
  auto observing = engine::for_each_at_most(
      _with.loop, observed_at_once, seen.size(),
      [this, &seen](std::size_t index) { return observe_into(seen[index]); }, _with.stop);
  // Where it was stopped, the views say so.
  (void)co_await std::move(observing);
  co_return seen;
}

task<result<void>> observer::observe_bucket(subvolume_view& view) {
  const planner::key_layout keys(_with.settings.s3.prefix, view.which.name);
  s3::object_store& store = _connection->store();
  auto looking = look_at_place(_with, store, keys, view.objects);
  auto sight = co_await std::move(looking);
  if (!sight) {
    co_return std::move(sight.error());
  }
  view.pointer = std::move(sight->there);
  if (!view.pointer) {
    co_return engine::ok();
  }
  planner::observation& seen = view.seen;
  seen.pointer_exists = true;
  if (!sight->understood()) {
    // A full will replace it, on the condition that it is still the one that was seen.
    seen.pointer_problem = std::move(sight->problem);
    co_return engine::ok();
  }
  seen.last_key = view.pointer->value.manifest_key;
  const std::vector<std::string> places =
      planner::places_of(keys.root() + "full/manifest", seen.last_key);
  // Beside the chains of other subvolumes; this one's has no more than all manifests together.
  auto waiting = _manifests.acquire(manifest_bytes(view.objects, keys.root()), _with.stop);
  const auto turn = co_await std::move(waiting);
  if (!turn) {
    co_return turn.error();
  }
  const manifest_reader reader =
      listed_reader(careful_reader(_with, store, _with.stop), view.objects, store, _with.stop);
  auto chaining = read_chain(reader, places);
  auto chain = co_await std::move(chaining);
  if (chain) {
    seen.last = chain->back().value;
    seen.last_key = chain->back().key;
    seen.chain_problem = place_problem(*chain, keys.root());
    seen.chunk_problem = chunk_problem(*chain, view.objects);
    observe_parent(view);
    std::vector<std::string> keys_of_chain;
    for (const chain_link& link : *chain) {
      view.chain.push_back(summary_of(link));
      planner::backup_date date = planner::date_of(
          link.value, link.key, witnesses_of(view, link, &link == &chain->front()));
      view.chain.back().when = date.when;
      seen.chain_times.push_back(date.when);
      if (!date.problem.empty()) {
        seen.date_problems.push_back(std::move(date.problem));
      }
      keys_of_chain.push_back(link.key);
    }
    seen.refused_problem = remembered_refusal(_with, view.which.name, keys_of_chain);
    co_return engine::ok();
  }
  const error& failure = chain.error();
  if (!is_broken_chain(failure)) {
    co_return std::move(chain.error());
  }
  // The link itself, or one of its parents?
  auto again = read_link(reader, places);
  auto last = co_await std::move(again);
  if (last) {
    seen.last = std::move(last->value);
    seen.last_key = std::move(last->key);
    seen.chain_problem = failure.text();
    observe_parent(view);
  } else {
    seen.pointer_problem = failure.text();
  }
  co_return engine::ok();
}

}  // namespace bts3::app
